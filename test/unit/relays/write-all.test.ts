import type { ServerResponse } from 'node:http';
import t from 'tap';
import { writeAll } from '../../../src/relays/write-all.js';

function clientThat(answers: boolean): { response: ServerResponse; writes: string[] } {
  const writes: string[] = [];
  const response = {
    writableNeedDrain: false,
    write: (piece: Buffer): boolean => {
      writes.push(piece.toString());
      return answers;
    },
  } as unknown as ServerResponse;
  return { response, writes };
}

function carry(pieces: readonly Buffer[], answers = true): { writes: string[]; bytes: number; more: boolean } {
  const { response, writes } = clientThat(answers);
  let bytes = 0;
  const more = writeAll(response, pieces, (count) => {
    bytes += count;
  });
  return { writes, bytes, more };
}

t.test('pieces that are neighbours in one chunk are one write', async (t) => {
  const chunk = Buffer.from('onetwothree');
  const pieces = [chunk.subarray(0, 3), chunk.subarray(3, 6), chunk.subarray(6)];
  t.strictSame(carry(pieces), { writes: ['onetwothree'], bytes: 11, more: true });
});

t.test('what stood between two pieces and is left out is not written', async (t) => {
  const chunk = Buffer.from('onetwothree');
  t.strictSame(carry([chunk.subarray(0, 3), chunk.subarray(6)]).writes, ['one', 'three']);
});

t.test('pieces in another order than in the chunk keep their order', async (t) => {
  const chunk = Buffer.from('onetwo');
  t.strictSame(carry([chunk.subarray(3), chunk.subarray(0, 3)]).writes, ['two', 'one']);
});

t.test('pieces of two chunks are two writes, also where both begin at the same place of their memory', async (t) => {
  const [first, second] = [Buffer.alloc(3, 'a'), Buffer.from(new ArrayBuffer(8), 3, 3).fill('b')];
  t.strictSame(carry([first, second]).writes, ['aaa', 'bbb']);
});

t.test('a client that is full says so after the last piece; nothing to write leaves it as it was', async (t) => {
  t.equal(carry([Buffer.from('a')], false).more, false);
  t.strictSame(carry([]), { writes: [], bytes: 0, more: true });
});
