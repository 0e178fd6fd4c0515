/**
 * Four records of TLS: most events that do not come at once are no larger. Small ones have no less: a server writes whole
 * events, so that none of its watches rests in the midst of one.
 */
const SHARED_BYTES = 64 * 1024;
/** Kept for the next event; together 512 KiB. */
const MAX_SPARE = 8;
const NOTHING = Buffer.alloc(0);

const spare: Buffer[] = [];

/**
 * What has come of an event that is not whole yet, in one piece: copies of what was lent, in memory that is used again,
 * because V8 collects its whole heap for a few hundred pieces that have memory of their own.
 */
export class BegunEvent {
  #memory: Buffer = NOTHING;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Valid until `release`, and after it until another event is begun. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  add(part: Buffer): void {
    if (part.length === 0) return;
    const length = this.#length + part.length;
    if (length > this.#memory.length) this.#moveTo(memoryFor(length));
    part.copy(this.#memory, this.#length);
    this.#length = length;
  }

  /** It is whole, and nobody will ask for it any more. */
  release(): void {
    this.#length = 0;
    this.#moveTo(NOTHING);
  }

  #moveTo(memory: Buffer): void {
    const before = this.#memory;
    before.copy(memory, 0, 0, this.#length);
    this.#memory = memory;
    if (before.length === SHARED_BYTES && spare.length < MAX_SPARE) spare.push(before);
  }
}

function memoryFor(length: number): Buffer {
  if (length <= SHARED_BYTES) return spare.pop() ?? Buffer.allocUnsafeSlow(SHARED_BYTES);
  return Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(length)));
}
