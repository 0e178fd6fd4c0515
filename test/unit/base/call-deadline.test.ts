import { getEventListeners } from 'node:events';
import t from 'tap';
import { callDeadline } from '../../../src/base/deadline.js';
import { FakeClock } from '../../support/fake-clock.js';

t.test('a call ends with its caller, or when its time is over, and leaves nothing behind', async (t) => {
  const clock = new FakeClock();
  const caller = new AbortController();
  const late = callDeadline({ clock, ms: 1000, signal: caller.signal });
  const given = callDeadline({ clock, ms: 3000, signal: caller.signal });
  const done = callDeadline({ clock, ms: 3000, signal: caller.signal });
  clock.advance(1000);
  t.ok(late.isOver && late.signal.aborted);
  t.equal(late.signal.reason.name, 'TimeoutError');
  t.notOk(given.signal.aborted);
  late.end();
  done.end();
  t.equal(getEventListeners(caller.signal, 'abort').length, 1);
  t.equal(clock.pendingTimers, 1);
  caller.abort(new Error('enough'));
  t.match(given.signal.reason, { message: 'enough' });
  t.notOk(given.isOver || done.signal.aborted);
  t.match(callDeadline({ clock, ms: 1, signal: caller.signal }).signal.reason, { message: 'enough' });
});
