import type { Clock } from '../../src/base/clock.js';

/** Time stands still until a test moves it. */
export class FakeClock implements Clock {
  #now: number;
  #monotonic = 0;
  #timers: { at: number; fn: () => void }[] = [];

  constructor(now = Date.UTC(2026, 10, 24)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#monotonic + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Runs what falls due on the way, in order. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#step(Math.max(0, next.at - this.#monotonic));
      next.fn();
    }
    this.#step(end - this.#monotonic);
  }

  /** As a process that was busy, or a machine whose monotonic clock goes on in sleep: all that is due runs at the end. */
  advanceLate(ms: number): void {
    this.#step(ms);
    this.advance(0);
  }

  /** Time goes by in small steps until it has happened. */
  async passUntil<T>(what: Promise<T>): Promise<T> {
    let over = false;
    const done = what.finally(() => {
      over = true;
    });
    while (!over) {
      this.advance(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return done;
  }

  /** As a machine that wakes up: the wall clock jumps, the monotonic one does not. */
  sleepMachine(ms: number): void {
    this.#now += ms;
  }

  #step(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
  }
}
