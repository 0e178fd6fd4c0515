/** Standard output and error are stamped apart from each other, so that neighbouring lines may be out of order. */
const SLACK_MS = 1000;
/** A line that is older than its predecessors by more than this says that the node's clock was set back. */
const SET_BACK_MS = 60_000;

/**
 * The lines that a client has, as far as they come again after a cut.
 *
 * The server cuts `sinceTime` to whole seconds, and runtimes give one timestamp to several lines. A log only grows at its
 * end, so that what comes again is, in the same order, what was sent before: it is known by the sequence of its
 * timestamps.
 */
export class LogWindow {
  readonly #beginsInside: boolean;
  readonly #tailLines: number | undefined;
  /** In the order of the log, in ns since `#baseMs`. */
  #stamps: number[] = [];
  #baseMs = 0;
  #newestSecondMs: number | undefined;
  #newest = 0;
  /** How much of `#stamps` has come again on the present connection; all of it before the first cut. */
  #again = 0;
  #lines = 0;
  /** `#stamps` begins with the client's first line, which came as its own request began. */
  #fromFirst = true;
  #resumed = false;
  #broughtNew = false;
  #mayHaveMissed = false;

  constructor(options: { beginsInside?: boolean; tailLines?: number }) {
    this.#beginsInside = options.beginsInside ?? false;
    this.#tailLines = options.tailLines;
  }

  /** From when on the log has to be asked for after a cut. */
  get sinceMs(): number | undefined {
    return this.#newestSecondMs === undefined ? undefined : this.#newestSecondMs - SLACK_MS;
  }

  get newestMs(): number | undefined {
    return this.#newestSecondMs === undefined ? undefined : this.#baseMs + Math.floor(this.#newest / 1e6);
  }

  get broughtNew(): boolean {
    return this.#broughtNew;
  }

  get mayHaveMissed(): boolean {
    return this.#mayHaveMissed;
  }

  cut(): void {
    this.#resumed = true;
    this.#again = 0;
    this.#broughtNew = false;
  }

  /**
   * Where the next line of the present connection belongs. `newest-again` is the last one that the client has;
   * `before` was there before the client's first one.
   */
  place(secondMs: number, nanos: number): 'new' | 'again' | 'newest-again' | 'before' {
    if (this.#lines === 0) {
      this.#baseMs = secondMs;
      // After a cut it is asked for from a time, and no line is before that.
      this.#fromFirst = !this.#resumed;
    }
    const stamp = (secondMs - this.#baseMs) * 1e6 + nanos;
    if (this.#again < this.#stamps.length) {
      const known = this.#find(stamp);
      if (known !== undefined) return known;
    } else if (this.#isBefore(stamp)) return 'before';
    this.#add(stamp, secondMs);
    return 'new';
  }

  #find(stamp: number): 'again' | 'newest-again' | 'before' | undefined {
    const stamps = this.#stamps;
    if (stamps[this.#again] !== stamp) {
      if (this.#isBefore(stamp)) return 'before';
      const found = stamps.indexOf(stamp, this.#again);
      if (found === -1) {
        // The log has been rotated in between: its file begins later than what the client has.
        this.#mayHaveMissed = true;
        this.#again = stamps.length;
        return undefined;
      }
      this.#again = found;
    }
    this.#again++;
    return this.#again === stamps.length ? 'newest-again' : 'again';
  }

  /** Of a log that was asked for from somewhere inside, the lines before its first one come as well. */
  #isBefore(stamp: number): boolean {
    const [first] = this.#stamps;
    if (!this.#resumed || !this.#beginsInside || !this.#fromFirst || first === undefined) return false;
    if (this.#again === 0) return stamp !== first && stamp <= this.#newest;
    // The tail may have begun in the middle of several lines of one timestamp; none is added to them later.
    return stamp === first && this.#tailLines !== undefined && this.#lines >= this.#tailLines;
  }

  #add(stamp: number, secondMs: number): void {
    this.#lines++;
    this.#broughtNew = true;
    const newest = this.#newestSecondMs;
    if (newest === undefined || secondMs > newest || secondMs < newest - SET_BACK_MS) {
      this.#newestSecondMs = secondMs;
      this.#newest = stamp;
      this.#dropBefore((secondMs - SLACK_MS - this.#baseMs) * 1e6, newest !== undefined && secondMs < newest);
    }
    this.#newest = Math.max(this.#newest, stamp);
    this.#stamps.push(stamp);
    this.#again = this.#stamps.length;
  }

  #dropBefore(limit: number, all: boolean): void {
    const kept = all ? [] : this.#stamps.filter((stamp) => stamp >= limit);
    if (kept.length < this.#stamps.length) this.#fromFirst = false;
    this.#stamps = kept;
  }
}
