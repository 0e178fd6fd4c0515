/** Pauses before the attempts to go on after a cut. Pure: a random number comes in, ms come out. */
export class Redial {
  readonly #random: () => number;
  #attempts = 0;

  /** `random` answers from 0 to 1. */
  constructor(options: { random: () => number }) {
    this.#random = options.random;
  }

  /** Attempts since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * The first attempt follows within a quarter of a second, spread so that hundreds of streams that were cut together do
   * not come back in the same instant; later ones double from 250 ms to 15 s, half of it random.
   */
  nextPauseMs(): number {
    const attempt = this.#attempts++;
    if (attempt === 0) return this.#random() * FIRST_SPREAD_MS;
    const longest = Math.min(LONGEST_MS, FIRST_BACK_OFF_MS * 2 ** (attempt - 1));
    return longest * (0.5 + this.#random() / 2);
  }

  succeeded(): void {
    this.#attempts = 0;
  }
}

const FIRST_SPREAD_MS = 250;
const FIRST_BACK_OFF_MS = 250;
/** An agent that is back should not be waited for longer than a person would. */
const LONGEST_MS = 15_000;
