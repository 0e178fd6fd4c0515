import * as v from 'valibot';
import { CutoffEstimate } from '../gateway/cutoff.js';

const REMEMBERED = v.record(v.string(), v.array(v.number()));

/** What has been learned of each fleet's cutoff, kept over restarts. A fleet is known by its host project. */
export class CutoffBook {
  readonly #assumedMs: number;
  readonly #fleets: Map<string, CutoffEstimate>;
  readonly #save: (ages: Record<string, readonly number[]>) => void;

  constructor(options: {
    assumedMs: number;
    /** As `save` was given it. */
    remembered: unknown;
    save: (ages: Record<string, readonly number[]>) => void;
  }) {
    this.#assumedMs = options.assumedMs;
    this.#save = options.save;
    const parsed = v.safeParse(REMEMBERED, options.remembered);
    const known = parsed.success ? Object.entries(parsed.output) : [];
    this.#fleets = new Map(known.map(([project, remembered]) => [project, this.#estimate(remembered)]));
  }

  expectedMs(project: string): number {
    return this.#fleets.get(project)?.expectedMs ?? this.#assumedMs;
  }

  /** The age at which a connection should be replaced: `beforeMs` before the cutoff, but not before half the time. */
  rotateAfterMs(project: string, beforeMs: number): number {
    const expected = this.expectedMs(project);
    return Math.max(expected / 2, expected - beforeMs);
  }

  cutAt(project: string, ageMs: number): void {
    const fleet = this.#fleets.get(project) ?? this.#estimate([]);
    this.#fleets.set(project, fleet);
    if (!fleet.cutAt(ageMs)) return;
    this.#save(Object.fromEntries([...this.#fleets].map(([name, { ages }]) => [name, ages])));
  }

  #estimate(remembered: readonly number[]): CutoffEstimate {
    return new CutoffEstimate({ assumedMs: this.#assumedMs, remembered });
  }
}
