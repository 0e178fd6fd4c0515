import { type Clock, systemClock } from '../../src/base/clock.js';

/** A clock that runs faster than the system's, and much faster for a while: pauses of minutes pass in seconds. */
export class HastyClock implements Clock {
  readonly #usual: number;
  #speed: number;
  #since = systemClock.monotonic();
  #passed = 0;
  readonly #begun = systemClock.now();

  constructor(usualSpeed: number) {
    this.#usual = usualSpeed;
    this.#speed = usualSpeed;
  }

  /** What was begun before keeps its pace. */
  async faster<T>(speed: number, act: () => Promise<T>): Promise<T> {
    this.#turn(speed);
    try {
      return await act();
    } finally {
      this.#turn(this.#usual);
    }
  }

  now(): number {
    return this.#begun + this.monotonic();
  }

  monotonic(): number {
    return this.#passed + (systemClock.monotonic() - this.#since) * this.#speed;
  }

  after(ms: number, fn: () => void): () => void {
    return systemClock.after(ms / this.#speed, fn);
  }

  #turn(speed: number): void {
    this.#passed = this.monotonic();
    this.#since = systemClock.monotonic();
    this.#speed = speed;
  }
}
