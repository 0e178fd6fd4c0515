import type { Clock } from './clock.js';

/** The machine has slept, or the network is another: connections from before may be dead without a word. */
export interface Wake {
  readonly reason: string;
  /** Monotonic: connections that were opened before may be dead. */
  readonly doubtfulBefore: number;
}

/** Tells whoever holds connections, or waits before the next attempt, that the world has changed. */
export class Wakes {
  readonly #listeners = new Set<(wake: Wake) => void>();

  /** Answers the way to stop listening. */
  onWake(listener: (wake: Wake) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(wake: Wake): void {
    for (const listener of [...this.#listeners]) listener(wake);
  }
}

/** As `sleep`, but a wake ends it early. Answers whether one did. */
export function sleepUntilWake(options: {
  clock: Clock;
  ms: number;
  wakes: Wakes;
  signal: AbortSignal;
}): Promise<boolean> {
  const { clock, ms, wakes, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const settled = (): void => {
      cancel();
      stop();
      signal.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      settled();
      reject(signal.reason);
    };
    const cancel = clock.after(ms, () => {
      settled();
      resolve(false);
    });
    const stop = wakes.onWake(() => {
      settled();
      resolve(true);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
