import type { Clock } from '../../base/clock.js';

/** A container may have been replaced by then. */
const REMEMBERED_MS = 10 * 60_000;
const MOST = 1000;

/** Containers in which nothing can be held, so that the next exec there is not asked in vain. */
export class PlainContainers {
  readonly #clock: Clock;
  readonly #until = new Map<string, { readonly at: number; readonly reason: string }>();

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  remember(container: string, reason: string): void {
    this.#until.delete(container);
    this.#until.set(container, { at: this.#clock.monotonic() + REMEMBERED_MS, reason });
    const [oldest] = this.#until.keys();
    if (this.#until.size > MOST && oldest !== undefined) this.#until.delete(oldest);
  }

  /** Why; undefined for any other container. */
  recall(container: string): string | undefined {
    const found = this.#until.get(container);
    if (found === undefined) return undefined;
    if (found.at > this.#clock.monotonic()) return found.reason;
    this.#until.delete(container);
    return undefined;
  }
}
