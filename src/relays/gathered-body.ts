import type { ServerResponse } from 'node:http';

/** Sixteen full records of TLS: few calls, and what a slow client leaves in our memory is three of them at most. */
const SLAB_BYTES = 256 * 1024;
/** What is smaller than half a record gains nothing by waiting for more. */
const AT_ONCE_BYTES = 8 * 1024;
/** Kept for the next body; together 1 MiB. */
const MAX_SPARE = 4;

const spare: Buffer[] = [];

/** A copy of one piece is a string: Node sends it together with the head, and has no memory to make for it. */
function writeCopy(response: ServerResponse, pieces: readonly Buffer[], length: number): boolean {
  const [piece] = pieces;
  if (pieces.length === 1 && piece !== undefined) return response.write(piece.toString('latin1'), 'latin1');
  return response.write(Buffer.concat(pieces, length));
}

/**
 * Writes a body whose bytes are lent: each is copied, small ones into memory of their own, and large bodies into a few slabs
 * that are used again and again, each written as one. A slab holds what comes while the one before it is being written.
 */
export class GatheredBody {
  readonly #response: ServerResponse;
  #slab: Buffer | undefined;
  #filled = 0;
  #slabsUnderWay = 0;
  #flushesSoon = false;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  /** Answers whether more may come now; otherwise the response's `drain` says when. */
  write(pieces: readonly Buffer[]): boolean {
    const response = this.#response;
    let length = 0;
    for (const piece of pieces) length += piece.length;
    const gathers = this.#slab !== undefined || this.#slabsUnderWay > 0;
    if (!gathers && length < AT_ONCE_BYTES) {
      return length === 0 ? !response.writableNeedDrain : writeCopy(response, pieces, length);
    }
    for (const piece of pieces) this.#gather(piece);
    this.#flushSoon();
    return response.writableLength <= SLAB_BYTES;
  }

  /** Writes what has been gathered. */
  flush(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    const bytes = slab.subarray(0, this.#filled);
    this.#slab = undefined;
    this.#filled = 0;
    if (this.#response.destroyed || this.#response.writableEnded) return;
    this.#slabsUnderWay++;
    this.#response.write(bytes, (error) => {
      this.#slabsUnderWay--;
      // Of one that was not written it is not known who still reads it.
      if (error) return;
      if (spare.length < MAX_SPARE) spare.push(slab);
      if (this.#slabsUnderWay === 0) this.flush();
    });
  }

  #gather(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      this.#slab ??= spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
      const copied = bytes.copy(this.#slab, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled === SLAB_BYTES) this.flush();
    }
  }

  /** All that is read in this turn of the event loop goes together; while a slab is being written, it goes after that. */
  #flushSoon(): void {
    if (this.#flushesSoon || this.#slab === undefined || this.#slabsUnderWay > 0) return;
    this.#flushesSoon = true;
    setImmediate(() => {
      this.#flushesSoon = false;
      if (this.#slabsUnderWay === 0) this.flush();
    });
  }
}
