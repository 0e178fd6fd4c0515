import { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';

/** A long fat pipe holds this much on its way before the writer has to wait. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/** A stream that hands on every chunk `ms` after it came, in order: one direction of a distant connection. */
export class DelayLine extends Duplex {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #queue: { readonly chunk: Buffer | null; readonly due: number }[] = [];
  #bytes = 0;
  #wanted = false;
  #resume: (() => void) | undefined;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, ms: number) {
    super({ allowHalfOpen: true });
    this.#clock = clock;
    this.#ms = ms;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#bytes += chunk.length;
    this.#enqueue(chunk);
    if (this.#bytes <= LIMIT_BYTES) done();
    else this.#resume = done;
  }

  override _final(done: () => void): void {
    this.#enqueue(null);
    done();
  }

  override _read(): void {
    this.#wanted = true;
    this.#schedule();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#cancel?.();
    this.#queue.length = 0;
    done(error);
  }

  #enqueue(chunk: Buffer | null): void {
    this.#queue.push({ chunk, due: this.#clock.monotonic() + this.#ms });
    this.#schedule();
  }

  #schedule(): void {
    const [first] = this.#queue;
    if (first === undefined || !this.#wanted || this.#cancel !== undefined) return;
    this.#cancel = this.#clock.after(Math.max(0, first.due - this.#clock.monotonic()), () => {
      this.#cancel = undefined;
      this.#deliver();
    });
  }

  #deliver(): void {
    const now = this.#clock.monotonic();
    while (this.#wanted && !this.destroyed) {
      const [first] = this.#queue;
      if (first === undefined || first.due > now) break;
      this.#queue.shift();
      this.#bytes -= first.chunk?.length ?? 0;
      this.#wanted = this.push(first.chunk);
    }
    if (this.#bytes <= LIMIT_BYTES) {
      const resume = this.#resume;
      this.#resume = undefined;
      resume?.();
    }
    this.#schedule();
  }
}
