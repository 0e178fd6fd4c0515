import type { Clock } from '../../base/clock.js';

/** An estimate that has moved by less than this while the timer ran is the same. */
const SAME_MS = 1000;

export interface CutoffWarningOptions {
  readonly clock: Clock;
  /** 0: never. */
  readonly warnBeforeMs: number;
  /** The age at which the gateway is expected to cut, as far as it is known now. */
  readonly cutoffMs: () => number;
  readonly tell: (leftMs: number) => void;
}

/** Tells somebody at a terminal, once for each upstream, that the gateway's cutoff comes near (`exec.warnBefore`). */
export class CutoffWarning {
  readonly #o: CutoffWarningOptions;
  #openedAt = 0;
  #cancel: (() => void) | undefined;

  constructor(options: CutoffWarningOptions) {
    this.#o = options;
  }

  /** An upstream has been opened. */
  begin(): void {
    this.stop();
    if (this.#o.warnBeforeMs <= 0) return;
    this.#openedAt = this.#o.clock.monotonic();
    this.#schedule();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #schedule(): void {
    const { clock, warnBeforeMs, tell } = this.#o;
    this.#cancel = clock.after(Math.max(0, this.#leftMs() - warnBeforeMs), () => {
      const leftMs = this.#leftMs();
      // What other sessions have met meanwhile has changed the estimate.
      if (leftMs > warnBeforeMs + SAME_MS) this.#schedule();
      else if (leftMs > 0) tell(leftMs);
    });
  }

  #leftMs(): number {
    return this.#o.cutoffMs() - (this.#o.clock.monotonic() - this.#openedAt);
  }
}
