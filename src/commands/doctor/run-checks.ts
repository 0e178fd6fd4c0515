import type { Clock } from '../../base/clock.js';
import { failOf } from './advice.js';
import { type Check, type CheckId, type Finding, fail, notChecked } from './check.js';
import type { Context } from './context.js';

/** What a check asks has deadlines of its own; this is for what forgets them. */
const DEADLINE_MS = 40_000;

/** A finding with the check that has it. */
export interface Outcome extends Finding {
  readonly id: CheckId;
  readonly title: string;
  readonly ms: number;
}

interface Ended extends Outcome {
  /** Of a failure, or of a check that waited for one: those that could not be relied on. */
  readonly stoppedBy: readonly string[];
}

/**
 * Runs each check as soon as what it needs has ended, side by side where nothing is needed. `onOutcome` is told in the
 * checks' order, each as soon as all before it have been.
 */
export async function runChecks(
  checks: readonly Check[],
  o: {
    context: Context;
    clock: Clock;
    onOutcome?: (outcome: Outcome) => void;
    /** As the next command is to be typed here. */
    typed?: (next: string) => string;
  },
): Promise<Outcome[]> {
  const { context, clock, onOutcome = () => {}, typed = (next) => next } = o;
  const running = new Map<CheckId, Promise<Ended>>();
  for (const check of checks) {
    const needs = check.needs.flatMap((id) => running.get(id) ?? []);
    running.set(check.id, runOne(check, { needs, context, clock }));
  }
  const outcomes: Outcome[] = [];
  for (const ending of running.values()) {
    const { stoppedBy: _stoppedBy, ...ended } = await ending;
    const outcome = {
      ...withTyped(ended, typed),
      ...(ended.memberships === undefined
        ? {}
        : { memberships: ended.memberships.map((one) => withTyped(one, typed)) }),
    };
    outcomes.push(outcome);
    onOutcome(outcome);
  }
  return outcomes;
}

function withTyped<T extends Finding>(finding: T, typed: (next: string) => string): T {
  return finding.next === undefined ? finding : { ...finding, next: typed(finding.next) };
}

async function runOne(
  check: Check,
  { needs, context, clock }: { needs: readonly Promise<Ended>[]; context: Context; clock: Clock },
): Promise<Ended> {
  const { id, title } = check;
  const stoppedBy = [...new Set((await Promise.all(needs)).flatMap((ended) => ended.stoppedBy))];
  if (stoppedBy.length > 0) {
    return { id, title, ms: 0, stoppedBy, ...notChecked(`needs ${stoppedBy.join(' and ')}`) };
  }
  const began = clock.monotonic();
  const finding = await withDeadline(check, context, clock);
  const ms = Math.round(clock.monotonic() - began);
  const stops = finding.status === 'fail' && finding.goesOn !== true;
  return { id, title, ms, stoppedBy: stops ? [title] : [], ...finding };
}

/** Never rejects. */
async function withDeadline(check: Check, context: Context, clock: Clock): Promise<Finding> {
  const { deadlineMs = DEADLINE_MS } = check;
  let cancel = (): void => {};
  const late = new Promise<Finding>((resolve) => {
    cancel = clock.after(deadlineMs, () => resolve(fail(`it was not found out within ${deadlineMs / 1000} s`)));
  });
  try {
    return await Promise.race([check.run(context), late]);
  } catch (error) {
    return failOf(error);
  } finally {
    cancel();
  }
}
