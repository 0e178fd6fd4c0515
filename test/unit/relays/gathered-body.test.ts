import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { GatheredBody } from '../../../src/relays/gathered-body.js';

const SLAB = 256 * 1024;

interface Write {
  /** What was to be written, as it stood in memory when it was accepted. */
  readonly text: string;
  /** The client's side has taken it. */
  done(error?: Error): void;
}

/** A client's response: what is written is under way until the test says that it is done. */
class SlowResponse {
  readonly writes: Write[] = [];
  writableLength = 0;
  writableNeedDrain = false;
  destroyed = false;
  writableEnded = false;

  write(data: Buffer | string, last?: BufferEncoding | ((error?: Error) => void)): boolean {
    const callback = typeof last === 'function' ? last : undefined;
    const bytes = typeof data === 'string' ? Buffer.from(data, last as BufferEncoding) : data;
    this.writableLength += bytes.length;
    const write: Write = {
      get text() {
        return bytes.toString('latin1');
      },
      done: (error) => {
        this.writableLength -= bytes.length;
        callback?.(error);
      },
    };
    this.writes.push(write);
    return false;
  }

  /** Takes the oldest write that is still under way. */
  take(): string {
    const write = this.writes.shift();
    const text = write?.text ?? '';
    write?.done();
    return text;
  }
}

function scene(): { response: SlowResponse; body: GatheredBody; lend: (text: string) => boolean } {
  const response = new SlowResponse();
  const body = new GatheredBody(response as unknown as ServerResponse);
  const lend = (text: string): boolean => {
    const lent = Buffer.from(text, 'latin1');
    const more = body.write([lent]);
    lent.fill('!');
    return more;
  };
  return { response, body, lend };
}

t.test('a small piece goes at once, and is none of the lent memory', async (t) => {
  const { response, lend } = scene();
  lend('hello');
  t.equal(response.take(), 'hello');
  lend('again');
  t.equal(response.take(), 'again');
  const everyByte = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte));
  lend(everyByte);
  t.equal(response.take(), everyByte, 'nothing of it is read as text');
});

t.test('what is read in one turn of the event loop is one write', async (t) => {
  const { response, lend } = scene();
  const pieces = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(16 * 1024));
  for (const piece of pieces) t.ok(lend(piece));
  t.equal(response.writes.length, 0);
  await setImmediate();
  t.equal(response.writes.length, 1);
  t.equal(response.take(), pieces.join(''));
});

t.test('what comes while a write is under way, small or large, follows it in its order', async (t) => {
  const { response, lend } = scene();
  const large = (letter: string): string => letter.repeat(10_000);
  lend('first');
  lend(large('2'));
  await setImmediate();
  t.equal(response.writes.length, 2, 'a small piece tells nobody that it is done');
  lend('third');
  lend(large('4'));
  await setImmediate();
  t.equal(response.writes.length, 2);
  t.equal(response.take(), 'first');
  t.equal(response.take(), large('2'));
  t.equal(response.writes.length, 1, 'at once, when the slab before it is done');
  t.equal(response.take(), `third${large('4')}`);
  lend('fifth');
  t.equal(response.take(), 'fifth', 'nothing is under way: small pieces go at once again');
});

t.test('a slow client stops the body when a slab is under way and another one waits', async (t) => {
  const { response, lend } = scene();
  const piece = 'x'.repeat(SLAB / 2);
  t.ok(lend(piece));
  t.ok(lend(piece), 'a slab is full, and on its way');
  t.equal(response.writes.length, 1);
  t.ok(lend(piece), 'the next one is filled meanwhile');
  t.notOk(lend(piece), 'and waits');
  t.equal(response.writes.length, 2);
  t.notOk(lend('what was read already'), 'is kept too');
  await setImmediate();
  t.equal(response.writes.length, 2);
  t.equal(response.take().length, SLAB);
  t.equal(response.writes.length, 1, 'the rest waits for all that stands before it');
  t.equal(response.take().length, SLAB);
  t.equal(response.take(), 'what was read already');
});

t.test('a piece that is larger than what is left of a slab, or than any slab, is split', async (t) => {
  const { response, lend } = scene();
  const text = Array.from({ length: 3 * SLAB }, (_, i) => String.fromCharCode(97 + (i % 26))).join('');
  lend(text.slice(0, 100_000));
  lend(text.slice(100_000));
  t.strictSame(
    response.writes.map((write) => write.text.length),
    [SLAB, SLAB, SLAB],
  );
  t.equal([response.take(), response.take(), response.take()].join(''), text);
});

t.test('a flush writes what there is, once', async (t) => {
  const { response, body, lend } = scene();
  body.flush();
  t.equal(response.writes.length, 0);
  lend('z'.repeat(10_000));
  body.flush();
  await setImmediate();
  t.equal(response.writes.length, 1);
  t.equal(response.take().length, 10_000);
});

t.test('a slab is used again only when nobody reads it any more', async (t) => {
  const first = scene();
  const second = scene();
  first.lend('a'.repeat(SLAB));
  second.lend('b'.repeat(SLAB));
  t.match(first.response.writes[0]?.text, /^a+$/);
  t.equal(first.response.take().length, SLAB);
  second.lend('c'.repeat(SLAB));
  t.match(second.response.writes[0]?.text, /^b+$/);
  t.match(second.response.writes[1]?.text, /^c+$/);
  // Broken off: it is not known who still reads it.
  const broken = second.response.writes.pop();
  broken?.done(new Error('the client is gone'));
  first.lend('d'.repeat(SLAB));
  t.match(broken?.text, /^c+$/);
});

t.test('nothing is written to a client that has left, or been told the end', async (t) => {
  for (const over of [{ destroyed: true }, { writableEnded: true }]) {
    const { response, body, lend } = scene();
    lend('x'.repeat(10_000));
    Object.assign(response, over);
    body.flush();
    await setImmediate();
    t.equal(response.writes.length, 0);
  }
});

t.test('small pieces that come together are one write, and large ones one slab', async (t) => {
  const { response, body } = scene();
  body.write(['one, ', 'two, ', 'three'].map((text) => Buffer.from(text)));
  t.equal(response.writes.length, 1);
  t.equal(response.take(), 'one, two, three');
  const lines = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`);
  body.write(lines.map((line) => Buffer.from(line)));
  await setImmediate();
  t.equal(response.writes.length, 1);
  t.equal(response.take(), lines.join(''));
});

t.test('where nothing has come, a full client stays full', async (t) => {
  const { response, body } = scene();
  t.ok(body.write([]));
  response.writableNeedDrain = true;
  t.notOk(body.write([]));
  t.notOk(body.write([Buffer.alloc(0)]));
  t.equal(response.writes.length, 0);
});
