/**
 * Learns at which age a fleet's gateway cuts streams, from real cuts. Pure.
 *
 * A cut by the gateway's own limit comes again at nearly the same age; one by a lost network does not. So an age counts
 * once two cuts agree on it, and the shortest such age is expected. A stream that has lived longer than the estimate
 * proves it wrong.
 */
export class CutoffEstimate {
  readonly #assumedMs: number;
  #ages: number[];

  constructor(options: { assumedMs: number; remembered?: readonly number[] }) {
    this.#assumedMs = options.assumedMs;
    this.#ages = (options.remembered ?? []).filter((age) => age >= SHORTEST_MS).slice(-REMEMBERED);
  }

  /** The age in ms at which a stream is expected to be cut. */
  get expectedMs(): number {
    const agreed = this.#ages.filter((age, index) =>
      this.#ages.some((other, at) => at !== index && Math.abs(other - age) <= age * AGREEMENT),
    );
    return agreed.length === 0 ? this.#assumedMs : Math.min(...agreed);
  }

  /** For the state folder. */
  get ages(): readonly number[] {
    return this.#ages;
  }

  /** A connection to the gateway was cut at this age, and nobody had asked for it. Answers whether that was taken in. */
  cutAt(ageMs: number): boolean {
    this.livedFor(ageMs);
    if (ageMs < SHORTEST_MS) return false;
    this.#ages.push(Math.round(ageMs));
    if (this.#ages.length > REMEMBERED) this.#ages.shift();
    return true;
  }

  /** A connection has reached this age: shorter limits are none, or none any more. */
  livedFor(ageMs: number): void {
    this.#ages = this.#ages.filter((age) => age >= ageMs * (1 - AGREEMENT));
  }
}

/** No gateway has a limit below it; cuts that come sooner say something about the network. */
const SHORTEST_MS = 60_000;
const REMEMBERED = 16;
/** Ages that differ by less are the same limit: Google's is cut within a few seconds of itself. */
const AGREEMENT = 0.05;
