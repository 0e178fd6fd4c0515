import t from 'tap';
import { CodedError } from '../../../../src/base/errors.js';
import {
  type Check,
  type CheckId,
  combined,
  type Finding,
  fail,
  notChecked,
  ok,
  warn,
} from '../../../../src/commands/doctor/check.js';
import type { Context } from '../../../../src/commands/doctor/context.js';
import { type Outcome, runChecks } from '../../../../src/commands/doctor/run-checks.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** None of these checks looks at it. */
const NO_CONTEXT = {} as Context;

function check(id: CheckId, needs: CheckId[], run: () => Finding | Promise<Finding>): Check {
  return { id, title: `the ${id}`, needs, run: async () => await run() };
}

function run(
  checks: readonly Check[],
  more: { onOutcome?: (outcome: Outcome) => void; clock?: FakeClock } = {},
): Promise<Outcome[]> {
  return runChecks(checks, { context: NO_CONTEXT, clock: new FakeClock(), ...more });
}

const told = (outcomes: readonly Outcome[]): string[] => outcomes.map(({ status, message }) => `${status}: ${message}`);

t.test('what needs a failed check is not made, nor what needs that; what needs neither is', async (t) => {
  let made = 0;
  const never = (): Finding => {
    made++;
    return ok('');
  };
  const outcomes = await run([
    check('configuration', [], () => ok('read')),
    check('clock', [], () => fail('an hour ahead', 'set it')),
    check('endpoints', ['configuration', 'clock'], never),
    check('identity', ['endpoints'], never),
    check('kubectl', ['configuration'], () => warn('old')),
  ]);
  t.strictSame(told(outcomes), [
    'ok: read',
    'fail: an hour ahead',
    'skip: not checked: needs the clock',
    'skip: not checked: needs the clock',
    'warn: old',
  ]);
  t.equal(made, 0);
});

t.test('a warning, a skip of its own, and a failure that stops nothing stop nothing', async (t) => {
  const outcomes = await run([
    check('clock', [], () => notChecked('nobody tells the time')),
    check('proxy', [], () => warn('odd')),
    check('daemon', [], () => fail('down', 'run', { goesOn: true })),
    check('endpoints', ['clock', 'proxy', 'daemon'], () => ok('reached')),
  ]);
  t.equal(outcomes.at(-1)?.status, 'ok');
});

t.test('side by side, told in order, each as soon as all before it are', async (t) => {
  let release = (): void => {};
  const slow = new Promise<void>((resolve) => {
    release = resolve;
  });
  const seen: string[] = [];
  const outcomes = run(
    [
      check('configuration', [], () => ok('1')),
      check('state', [], async () => {
        await slow;
        return ok('2');
      }),
      check('port', [], () => {
        release();
        return ok('3, which the second waits for');
      }),
    ],
    { onOutcome: ({ id }) => seen.push(id) },
  );
  await outcomes;
  t.strictSame(seen, ['configuration', 'state', 'port']);
});

t.test('one that never ends is given up, one that throws is a failure with its code and its command', async (t) => {
  const clock = new FakeClock();
  const outcomes = run(
    [
      check('configuration', [], () => new Promise<Finding>(() => {})),
      check('state', [], () => {
        throw new CodedError({ code: 'credentials-missing', message: 'there is no login; run: gcloud auth login' });
      }),
      check('port', [], () => {
        throw new TypeError('of ours');
      }),
    ],
    { clock },
  );
  // The others have ended by then.
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(40_000);
  t.match(await outcomes, [
    { status: 'fail', message: 'it was not found out within 40 s' },
    { status: 'fail', message: 'there is no login', next: 'gcloud auth login', code: 'credentials-missing' },
    { status: 'fail', message: 'it could not be found out: of ours' },
  ]);
});

t.test('the next command is told as it is to be typed here', async (t) => {
  const found: Finding = { ...fail('x', 'act'), memberships: [{ membership: 'prod', ...fail('y', 'act') }] };
  const [outcome] = await runChecks([check('agent', [], () => found)], {
    context: NO_CONTEXT,
    clock: new FakeClock(),
    typed: (next) => `${next} here`,
  });
  t.match(outcome, { next: 'act here', memberships: [{ next: 'act here' }] });
});

t.test('several findings in one line: the worst first', async (t) => {
  t.equal(combined([]), undefined);
  t.match(combined([ok('a'), ok('b')]), { status: 'ok', message: 'a; b' });
  t.match(combined([ok('a'), warn('b', 'do b'), fail('c', 'do c', { goesOn: true })]), {
    status: 'fail',
    message: 'c; also: b',
    next: 'do c',
    goesOn: true,
  });
  t.equal(combined([fail('a', 'x', { goesOn: true }), fail('b')])?.goesOn, undefined, 'one that stops is enough');
});
