import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { median } from './measure.js';

/** The daemon's figure divided by a peer's, or by its own at another size, once per round of the same run. */
export interface Ratio {
  readonly what: string;
  readonly better: 'more' | 'less';
  readonly rounds: readonly number[];
}

export interface Section {
  readonly name: string;
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  readonly ratios: readonly Ratio[];
}

export interface Results {
  readonly at: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly sections: readonly Section[];
}

export function show(title: string, rows: Section['rows']): void {
  console.log(`\n${title}`);
  console.table(rows);
}

export function showRatios(sections: readonly Section[]): void {
  const rows = sections.flatMap(({ ratios }) =>
    ratios.map(({ what, better, rounds }) => ({
      ratio: what,
      median: rounded(median(rounds)),
      lowest: rounded(Math.min(...rounds)),
      highest: rounded(Math.max(...rounds)),
      better,
    })),
  );
  show("the daemon's figures as ratios of one run", rows);
}

/** Sections that were not measured this time are kept as they were. */
export function save(file: string, sections: readonly Section[]): void {
  const before = load(file)?.sections ?? [];
  const names = new Set(sections.map(({ name }) => name));
  const results: Results = {
    at: new Date().toISOString(),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    machine: {
      node: process.version,
      cpu: cpus()[0]?.model ?? '',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 1024 ** 3),
      kernel: readFileSync('/proc/version', 'utf8').trim(),
    },
    sections: [...before.filter(({ name }) => !names.has(name)), ...sections],
  };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
  console.log(`\nwritten to ${file}`);
}

export function load(file: string): Results | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results) : undefined;
}

/**
 * What is worse than it was, by ratios: worse than the kept median by more than the noise, which is the spread of the
 * rounds of both runs, and no less than a tenth.
 */
export function regressions(kept: Results, sections: readonly Section[]): string[] {
  const before = new Map(kept.sections.flatMap(({ ratios }) => ratios.map((ratio) => [ratio.what, ratio])));
  return sections
    .flatMap(({ ratios }) => ratios)
    .flatMap((now) => {
      const then = before.get(now.what);
      if (then === undefined) return [];
      const noise = Math.max(0.1, spread(then.rounds), spread(now.rounds));
      const change = median(now.rounds) / median(then.rounds);
      const worse = now.better === 'more' ? change < 1 - noise : change > 1 + noise;
      if (!worse) return [];
      const [was, is] = [rounded(median(then.rounds)), rounded(median(now.rounds))];
      return [`${now.what}: ${was} has become ${is} (${now.better} is better; noise ${rounded(noise)})`];
    });
}

function spread(rounds: readonly number[]): number {
  return (Math.max(...rounds) - Math.min(...rounds)) / median(rounds);
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
