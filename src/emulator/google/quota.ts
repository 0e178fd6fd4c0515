import type { Clock } from '../../base/clock.js';

const MINUTE_MS = 60_000;

/** The two quotas that the gateway counts per fleet host project. */
export class Quota {
  readonly #clock: Clock;
  readonly #activeStreams: number;
  readonly #requestsPerMinute: number;
  readonly #streams = new Map<string, number>();
  readonly #minutes = new Map<string, { startedAt: number; count: number }>();

  constructor(o: { clock: Clock; activeStreams: number; requestsPerMinute: number }) {
    this.#clock = o.clock;
    this.#activeStreams = o.activeStreams;
    this.#requestsPerMinute = o.requestsPerMinute;
  }

  /** Counts a request of the project; false when its minute is used up. */
  takeRequest(project: string): boolean {
    const now = this.#clock.monotonic();
    const minute = this.#minutes.get(project);
    if (minute === undefined || now - minute.startedAt >= MINUTE_MS) {
      this.#minutes.set(project, { startedAt: now, count: 1 });
      return this.#requestsPerMinute >= 1;
    }
    if (minute.count >= this.#requestsPerMinute) return false;
    minute.count++;
    return true;
  }

  /** Takes a stream of the project; the answer gives it back (once), undefined when all are in use. */
  takeStream(project: string): (() => void) | undefined {
    const used = this.#streams.get(project) ?? 0;
    if (used >= this.#activeStreams) return undefined;
    this.#streams.set(project, used + 1);
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.#streams.set(project, (this.#streams.get(project) ?? 1) - 1);
    };
  }

  activeStreams(): number {
    return [...this.#streams.values()].reduce((sum, count) => sum + count, 0);
  }
}
