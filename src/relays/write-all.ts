import type { ServerResponse } from 'node:http';

/**
 * Answers whether more may come now; otherwise the response's `drain` says when. Pieces that stand side by side in the
 * memory of one chunk are written as one: each write is a chunk of HTTP's own, with its two lines.
 */
export function writeAll(
  response: ServerResponse,
  pieces: readonly Buffer[],
  onBytes: (count: number) => void,
): boolean {
  let more = !response.writableNeedDrain;
  for (const piece of joinNeighbours(pieces)) {
    onBytes(piece.length);
    more = response.write(piece);
  }
  return more;
}

function* joinNeighbours(pieces: readonly Buffer[]): Generator<Buffer> {
  let joined: Buffer | undefined;
  for (const piece of pieces) {
    if (joined === undefined) {
      joined = piece;
    } else if (piece.buffer === joined.buffer && piece.byteOffset === joined.byteOffset + joined.length) {
      joined = Buffer.from(joined.buffer, joined.byteOffset, joined.length + piece.length);
    } else {
      yield joined;
      joined = piece;
    }
  }
  if (joined !== undefined) yield joined;
}
