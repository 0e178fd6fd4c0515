/** Follows a stream of WebSocket frames far enough to know where each ends. */
export class FrameBoundaries {
  readonly #header: number[] = [];
  #payloadLeft = 0;

  /** True where a frame of one's own may be slipped in. */
  get between(): boolean {
    return this.#header.length === 0 && this.#payloadLeft === 0;
  }

  /** Reads `chunk` up to the first frame end at or after `from`, or all of it; answers how many bytes it read. */
  read(chunk: Uint8Array, from = Number.POSITIVE_INFINITY): number {
    let at = 0;
    while (at < chunk.length) {
      if (at >= from && this.between) return at;
      if (this.#payloadLeft > 0) {
        const step = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= step;
        at += step;
        continue;
      }
      this.#header.push(chunk[at] ?? 0);
      at++;
      const length = payloadLength(this.#header);
      if (length === undefined) continue;
      this.#payloadLeft = length;
      this.#header.length = 0;
    }
    return at;
  }
}

/** The length that a whole frame header announces; undefined while bytes of it are missing. */
function payloadLength(header: readonly number[]): number | undefined {
  const [, second] = header;
  if (second === undefined) return undefined;
  const short = second & 0x7f;
  const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
  const maskBytes = (second & 0x80) === 0 ? 0 : 4;
  if (header.length < 2 + lengthBytes + maskBytes) return undefined;
  if (lengthBytes === 0) return short;
  return header.slice(2, 2 + lengthBytes).reduce((value, byte) => value * 256 + byte, 0);
}

/** A close frame as a server sends it; without a code its payload is empty. */
export function closeFrame(code?: number, reason = ''): Buffer {
  if (code === undefined) return Buffer.from([0x88, 0]);
  const text = Buffer.from(reason).subarray(0, 123);
  const frame = Buffer.alloc(4 + text.length);
  frame[0] = 0x88;
  frame[1] = 2 + text.length;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}
