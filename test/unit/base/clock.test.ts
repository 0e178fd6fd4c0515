import t from 'tap';
import { systemClock } from '../../../src/base/clock.js';

const DAY_MS = 86_400_000;

t.test('what is 60 days away, more than a timer of Node holds, is neither due at once nor lost', (t) => {
  const timers: { fn: () => void; ms: number; cancelled: boolean }[] = [];
  t.intercept(globalThis, 'setTimeout', {
    value: (fn: () => void, ms: number) => {
      const timer = { fn, ms, cancelled: false, unref: () => {} };
      timers.push(timer);
      return timer;
    },
  });
  const clearTimeout = (timer: { cancelled: boolean }): void => {
    timer.cancelled = true;
  };
  t.intercept(globalThis, 'clearTimeout', { value: clearTimeout });
  let calls = 0;
  const cancel = systemClock.after(60 * DAY_MS, () => void calls++);
  for (const due of [0, 0, 1]) {
    t.ok((timers.at(-1)?.ms ?? Infinity) < 2 ** 31);
    timers.at(-1)?.fn();
    t.equal(calls, due);
  }
  t.equal(timers.length, 3);
  t.equal(
    timers.reduce((sum, { ms }) => sum + ms, 0),
    60 * DAY_MS,
  );

  const another = systemClock.after(60 * DAY_MS, () => void calls++);
  timers.at(-1)?.fn();
  another();
  t.ok(timers.at(-1)?.cancelled, 'the timer that waits now is the one that is cancelled');
  cancel();
  t.end();
});

t.test('what is a moment away comes once', async (t) => {
  let calls = 0;
  const kept = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(kept));
  await new Promise<void>((resolve) => {
    const cancelled = systemClock.after(0, () => t.fail('was cancelled'));
    cancelled();
    systemClock.after(1, () => {
      calls++;
      resolve();
    });
  });
  t.equal(calls, 1);
});
