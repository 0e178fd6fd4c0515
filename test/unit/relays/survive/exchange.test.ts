import t from 'tap';
import { HolderExchange } from '../../../../src/relays/survive/exchange.js';
import { type HolderProgram, paceOf } from '../../../../src/relays/survive/holder-frames.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

function hold(program: HolderProgram, taken = 0, out = 0, err = 0) {
  return { kind: 'hold', program, taken, from: { out, err } } as const;
}

function said(exchange: HolderExchange): string {
  return Buffer.concat(exchange.words()).toString('latin1');
}

t.test('input is said once, and again from where the next holder has it', (t) => {
  const exchange = new HolderExchange({ joins: false });
  exchange.input(bytes('hello'));
  t.equal(said(exchange), '', 'to nobody, nothing');
  exchange.opened(hold('perl'));
  t.equal(said(exchange), 'in 0 5\nhello\n');
  exchange.receive({ kind: 'written', input: 2 });
  t.equal(said(exchange), '');
  exchange.cut();
  exchange.input(bytes(' you'));
  exchange.endInput();
  exchange.opened(hold('perl', 3));
  t.equal(said(exchange), 'in 3 6\nlo you\neof 9\n');
  exchange.cut();
  exchange.opened(hold('perl', 9));
  t.equal(said(exchange), 'eof 9\n', 'the end is said to every one');
  t.end();
});

t.test('to a shell a few bytes are typed, and what comes meanwhile waits for the answer', (t) => {
  const exchange = new HolderExchange({ joins: false });
  exchange.opened(hold('sh'));
  exchange.input(bytes('a\n'));
  t.equal(said(exchange), 'type 0 2 \\141\\012\n');
  exchange.input(bytes('b'));
  exchange.input(bytes('c'));
  t.equal(said(exchange), '');
  exchange.receive({ kind: 'written', input: 2 });
  t.equal(said(exchange), 'type 2 2 \\142\\143\n');
  const { inputPieceBytes, inputWindowBytes } = paceOf('sh');
  exchange.input(Buffer.alloc(inputPieceBytes, 'x'));
  t.match(said(exchange), new RegExp(`^in 4 ${inputPieceBytes}\nx+\n$`), 'a whole piece does not wait');
  t.equal(exchange.isFull, false);
  exchange.input(Buffer.alloc(inputWindowBytes - inputPieceBytes, 'y'));
  t.equal(exchange.isFull, true);
  t.end();
});

t.test('output that comes twice is dropped, and what is missing is told', (t) => {
  const exchange = new HolderExchange({ joins: false });
  exchange.opened(hold('perl'));
  const output = (offset: number, text: string) =>
    exchange.receive({ kind: 'output', stream: 'out', offset, bytes: bytes(text) });
  t.match(output(0, 'abc'), { bytes: bytes('abc') });
  t.equal(output(0, 'abc'), undefined);
  t.match(output(1, 'bcde'), { bytes: bytes('de') });
  t.strictSame(exchange.received, { out: 5, err: 0 });
  t.throws(() => output(7, 'x'), { code: 'holder-lost-bytes' });
  t.throws(() => exchange.receive({ kind: 'exit', code: 0, end: { out: 6, err: 0 } }), { code: 'holder-lost-bytes' });
  t.strictSame(exchange.receive({ kind: 'exit', code: 4, end: { out: 5, err: 0 } }), { kind: 'exit', code: 4 });
  t.throws(() => exchange.receive({ kind: 'written', input: 1 }), { code: 'holder-lost-bytes' });
  t.end();
});

t.test('acknowledged is what has come since the last time, in steps that suit the holder', (t) => {
  for (const [program, step] of [
    ['perl', 64 * 1024],
    ['sh', 1024 * 1024],
  ] as const) {
    const exchange = new HolderExchange({ joins: false });
    exchange.opened(hold(program));
    t.equal(exchange.acknowledge(), undefined);
    exchange.receive({ kind: 'output', stream: 'out', offset: 0, bytes: Buffer.alloc(step - 1) });
    t.equal(exchange.acknowledgementIsDue, false);
    exchange.receive({ kind: 'output', stream: 'out', offset: step - 1, bytes: Buffer.alloc(1) });
    t.equal(exchange.acknowledgementIsDue, true);
    t.equal(exchange.acknowledge()?.toString(), `got ${step} 0\n`);
    t.equal(exchange.acknowledgementIsDue, false);
    for (let i = 0; i < 4; i++) exchange.receive({ kind: 'output', stream: 'err', offset: i, bytes: bytes('e') });
    t.equal(exchange.acknowledgementIsDue, true, 'few pieces of stderr');
    exchange.cut();
    t.equal(exchange.acknowledge(), undefined, 'who joins again says it by that');
  }
  t.end();
});

t.test('the size is said to every holder, and first', (t) => {
  const exchange = new HolderExchange({ joins: false });
  exchange.resize({ columns: 80, rows: 24 });
  exchange.resize({ columns: 101, rows: 32 });
  exchange.input(bytes('x'));
  exchange.opened(hold('perl'));
  t.equal(said(exchange), 'size 101 32\nin 0 1\nx\n');
  exchange.cut();
  exchange.opened(hold('perl', 1));
  t.equal(said(exchange), 'size 101 32\n');
  t.end();
});

t.test('where a start was cut, every holder is told to refuse it for a minute after the end', (t) => {
  const exchange = new HolderExchange({ joins: false, startMayBeLate: true });
  exchange.opened(hold('perl'));
  t.equal(said(exchange), 'refuse 60\n');
  exchange.input(bytes('x'));
  t.equal(said(exchange), 'in 0 1\nx\n');
  exchange.cut();
  exchange.opened(hold('perl', 1));
  t.equal(said(exchange), 'refuse 60\n');
  t.end();
});

t.test('who rejoins begins where the holder stands', (t) => {
  const exchange = new HolderExchange({ joins: true });
  t.strictSame(exchange.received, { out: -1, err: -1 });
  exchange.input(bytes('new'));
  exchange.opened(hold('python', 100, 2000, 7));
  t.equal(said(exchange), 'in 100 3\nnew\n');
  t.strictSame(exchange.received, { out: 2000, err: 7 });
  t.throws(() => exchange.opened(hold('python', 200)), { code: 'holder-lost-bytes' });
  t.end();
});
