import { styleText } from 'node:util';
import { formatDuration } from '../../daemon/duration.js';
import type { CheckStatus } from './check.js';
import type { Outcome } from './run-checks.js';

/** JSON of `doctor -o json`: scripts read it, so fields are only ever added. */
export interface DoctorReport {
  /** Of the package. */
  readonly version: string;
  /** RFC 3339. */
  readonly time: string;
  readonly ms: number;
  /** The membership that was named. */
  readonly membership?: string;
  /** Whether no check has failed: the exit code is 0. */
  readonly healthy: boolean;
  /** The first failure, or the first warning where none has failed. */
  readonly first?: Pick<Outcome, 'id' | 'status' | 'message' | 'next' | 'code'>;
  readonly counts: Readonly<Record<CheckStatus, number>>;
  readonly checks: readonly Outcome[];
}

export function reportOf(
  outcomes: readonly Outcome[],
  about: { version: string; now: number; ms: number; membership?: string | undefined },
): DoctorReport {
  const counts = { ok: 0, warn: 0, fail: 0, skip: 0 };
  for (const { status } of outcomes) counts[status]++;
  const first = outcomes.find(({ status }) => status === 'fail') ?? outcomes.find(({ status }) => status === 'warn');
  return {
    version: about.version,
    time: new Date(about.now).toISOString(),
    ms: Math.round(about.ms),
    ...(about.membership === undefined ? {} : { membership: about.membership }),
    healthy: counts.fail === 0,
    ...(first === undefined ? {} : { first: pick(first) }),
    counts,
    checks: outcomes.map(({ goesOn: _goesOn, ...outcome }) => outcome),
  };
}

const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red', skip: 'gray' } as const;
const STATUS_WIDTH = 4;

/** One line: `fail  identity  CAUSE; next: COMMAND`. */
export function lineOf(outcome: Outcome, o: { titleWidth: number; colour: boolean }): string {
  const { status, title, message, next } = outcome;
  const label = status.padEnd(STATUS_WIDTH);
  const told = o.colour ? styleText(COLOURS[status], label, { validateStream: false }) : label;
  return `${told}  ${title.padEnd(o.titleWidth)}  ${message}${next === undefined ? '' : `; next: ${next}`}\n`;
}

/** The last line: the first cause first. */
export function summaryOf({ first, counts, checks, ms }: DoctorReport): string {
  const total = [
    ...(counts.fail === 0 ? [] : [`${counts.fail} failed`]),
    ...(counts.warn === 0 ? [] : [counts.warn === 1 ? '1 warning' : `${counts.warn} warnings`]),
    ...(counts.skip === 0 ? [] : [`${counts.skip} not checked`]),
  ];
  const after = `${total.length === 0 ? '' : `${total.join(', ')}, `}${checks.length} checks in ${formatDuration(ms)}`;
  if (first === undefined) return `\nAll is well (${after})\n`;
  const { title } = checks.find(({ id }) => id === first.id) ?? { title: first.id };
  const kind = first.status === 'fail' ? 'First cause' : 'Nothing has failed. First warning';
  const next = first.next === undefined ? '' : `\nNext: ${first.next}`;
  return `\n${kind}: ${title}: ${first.message} (${after})${next}\n`;
}

function pick({ id, status, message, next, code }: Outcome): NonNullable<DoctorReport['first']> {
  return { id, status, message, ...(next === undefined ? {} : { next }), ...(code === undefined ? {} : { code }) };
}
