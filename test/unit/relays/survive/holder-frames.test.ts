import t from 'tap';
import { HolderDecoder, type HolderFrame } from '../../../../src/relays/survive/holder-frames.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Frames with their bytes as text, those of output put together. */
function told(frames: readonly HolderFrame[]): unknown[] {
  const list: { kind: string; stream?: string; text?: string }[] = [];
  for (const frame of frames) {
    const last = list.at(-1);
    if (frame.kind !== 'output') list.push(frame);
    else if (last?.kind === 'output' && last.stream === frame.stream) last.text += frame.bytes.toString('latin1');
    else list.push({ kind: 'output', stream: frame.stream, text: frame.bytes.toString('latin1') });
  }
  return list;
}

t.test('Perl and Python: words and output by stdout, in pieces of any size', (t) => {
  const said = bytes('begun\nhold perl 3 7 0\nout 7 4\na\nb\nerr 0 1\nxin 12\nexit 5 11 1\n');
  for (const size of [1, 2, 5, said.length]) {
    const decoder = new HolderDecoder();
    const frames: HolderFrame[] = [];
    for (let at = 0; at < said.length; at += size) frames.push(...decoder.stdout(said.subarray(at, at + size)));
    t.strictSame(told(frames), [
      { kind: 'begun' },
      { kind: 'hold', program: 'perl', taken: 3, from: { out: 7, err: 0 } },
      { kind: 'output', stream: 'out', text: 'a\nb\n' },
      { kind: 'output', stream: 'err', text: 'x' },
      { kind: 'written', input: 12 },
      { kind: 'exit', code: 5, end: { out: 11, err: 1 } },
    ]);
    t.strictSame(decoder.stderr(bytes('warning: exit 1 2 3\n')), [], 'what comes by stderr is nobody’s');
  }
  t.end();
});

t.test('a shell: what follows its hold is the command’s, whatever it looks like', (t) => {
  const said = bytes('begun\nhold sh 0 100 0\nexit 0 0 0\nout 5 2\n\n\x00\xff');
  for (const size of [1, 3, said.length]) {
    const decoder = new HolderDecoder();
    const frames: HolderFrame[] = [];
    for (let at = 0; at < said.length; at += size) frames.push(...decoder.stdout(said.subarray(at, at + size)));
    t.strictSame(told(frames).slice(2), [{ kind: 'output', stream: 'out', text: 'exit 0 0 0\nout 5 2\n\n\x00\xff' }]);
    let offset = 100;
    for (const frame of frames) {
      if (frame.kind !== 'output') continue;
      t.equal(frame.offset, offset);
      offset += frame.bytes.length;
    }
  }
  t.end();
});

t.test('a shell: its words come by stderr, and may be quicker than what was said before them', (t) => {
  const decoder = new HolderDecoder();
  t.strictSame(decoder.stderr(bytes('in 4\nerr 0 2\nab')), [], 'nobody has said hold');
  const hold = decoder.stdout(bytes('hold sh 0 0 0\nxy'));
  t.strictSame(told(hold).slice(1), [
    { kind: 'output', stream: 'out', text: 'xy' },
    { kind: 'written', input: 4 },
    { kind: 'output', stream: 'err', text: 'ab' },
  ]);
  t.strictSame(decoder.stderr(bytes('exit 3 5 2\n')), [], 'three bytes are on their way yet');
  t.strictSame(told(decoder.stdout(bytes('z'))), [{ kind: 'output', stream: 'out', text: 'z' }]);
  t.strictSame(told(decoder.stdout(bytes('12'))), [
    { kind: 'output', stream: 'out', text: '12' },
    { kind: 'exit', code: 3, end: { out: 5, err: 2 } },
  ]);
  t.end();
});

t.test('who is no holder', (t) => {
  t.throws(() => new HolderDecoder().stdout(bytes('hello\n')), { code: 'holder-unreadable' });
  t.throws(() => new HolderDecoder().stdout(bytes('hold ruby 0 0 0\n')), { code: 'holder-unreadable' });
  t.throws(() => new HolderDecoder().stdout(bytes('out 0 99999999\n')), { code: 'holder-unreadable' });
  t.throws(() => new HolderDecoder().stdout(bytes('x'.repeat(200))), { code: 'holder-unreadable' });
  const shell = new HolderDecoder();
  shell.stdout(bytes('hold sh 0 0 0\n'));
  t.throws(() => shell.stderr(bytes('sh: out of memory\n')), { code: 'holder-unreadable' });
  const silent = new HolderDecoder();
  for (let i = 0; i < 100; i++) t.strictSame(silent.stderr(Buffer.alloc(65_536)), []);
  t.end();
});
