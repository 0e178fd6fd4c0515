/** What may still leave of a body that is to end after an exact number of bytes. */
export class BodyMeter {
  #left = Number.POSITIVE_INFINITY;
  #onSpent: (() => void) | undefined;
  #cut = false;

  /** Nothing leaves any more. */
  get isCut(): boolean {
    return this.#cut;
  }

  /** Calls `onSpent` once, when exactly `bytes` of the body are with the system and more would follow. */
  limit(bytes: number, onSpent: () => void): void {
    this.#left = bytes;
    this.#onSpent = onSpent;
  }

  cut(): void {
    this.#cut = true;
  }

  /** The part that may leave where `bytes` reach the limit, which is their last; undefined where all of them may. */
  lastPart(bytes: Buffer, o: { isEnd: boolean }): Buffer | undefined {
    const within = o.isEnd ? bytes.length <= this.#left : bytes.length < this.#left;
    if (within) {
      this.#left -= bytes.length;
      return undefined;
    }
    this.#cut = true;
    return bytes.subarray(0, this.#left);
  }

  spent(): void {
    this.#onSpent?.();
  }
}
