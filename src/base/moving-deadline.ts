import type { Clock } from './clock.js';

/**
 * Calls `onDue` when its time has come, which is set anew again and again: the timer is left as it is for a later time, and
 * looks when it fires. For what happens thousands of times a second and hardly ever comes to its deadline.
 */
export class MovingDeadline {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  #dueAt = Number.POSITIVE_INFINITY;
  #firesAt = Number.POSITIVE_INFINITY;
  #cancel = (): void => {};

  constructor(options: { clock: Clock; onDue: () => void }) {
    this.#clock = options.clock;
    this.#onDue = options.onDue;
  }

  /** In `ms` from now, in place of any other time. */
  set(ms: number): void {
    this.#dueAt = this.#clock.monotonic() + ms;
    if (this.#dueAt < this.#firesAt) this.#arm(ms);
  }

  /** Not until it is set again. The timer may stay. */
  clear(): void {
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  /** As `clear`, and no timer is left. */
  end(): void {
    this.clear();
    this.#cancel();
    this.#firesAt = Number.POSITIVE_INFINITY;
  }

  #arm(ms: number): void {
    this.#cancel();
    this.#firesAt = this.#clock.monotonic() + ms;
    this.#cancel = this.#clock.after(ms, () => {
      this.#firesAt = Number.POSITIVE_INFINITY;
      this.#look();
    });
  }

  #look(): void {
    if (this.#dueAt === Number.POSITIVE_INFINITY) return;
    const leftMs = this.#dueAt - this.#clock.monotonic();
    if (leftMs > 0) {
      this.#arm(leftMs);
      return;
    }
    this.clear();
    this.#onDue();
  }
}
