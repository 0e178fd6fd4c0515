import type { ServerResponse } from 'node:http';

/** Answers whether more may come now; otherwise the response's `drain` says when. */
export function writeAll(
  response: ServerResponse,
  pieces: readonly Buffer[],
  onBytes: (count: number) => void,
): boolean {
  let more = !response.writableNeedDrain;
  for (const piece of pieces) {
    onBytes(piece.length);
    more = response.write(piece);
  }
  return more;
}
