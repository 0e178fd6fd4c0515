import t from 'tap';
import { MovingDeadline } from '../../../src/base/moving-deadline.js';
import { FakeClock } from '../../support/fake-clock.js';

function scene(): { clock: FakeClock; deadline: MovingDeadline; dueAt: number[] } {
  const clock = new FakeClock();
  const dueAt: number[] = [];
  const deadline = new MovingDeadline({ clock, onDue: () => dueAt.push(clock.monotonic()) });
  return { clock, deadline, dueAt };
}

t.test('it is due once, when its time has come', async (t) => {
  const { clock, deadline, dueAt } = scene();
  deadline.set(50);
  clock.advance(49);
  t.strictSame(dueAt, []);
  clock.advance(1);
  t.strictSame(dueAt, [50]);
  clock.advance(1000);
  t.strictSame(dueAt, [50]);
  t.equal(clock.pendingTimers, 0);
});

t.test('one that is moved again and again has one timer, and is due when it was last set to be', async (t) => {
  const { clock, deadline, dueAt } = scene();
  for (let i = 0; i < 30; i++) {
    deadline.set(50);
    t.equal(clock.pendingTimers, 1);
    clock.advance(40);
  }
  t.strictSame(dueAt, []);
  clock.advance(9);
  t.strictSame(dueAt, []);
  clock.advance(1);
  t.strictSame(dueAt, [29 * 40 + 50]);
});

t.test('an earlier time than before counts', async (t) => {
  const { clock, deadline, dueAt } = scene();
  deadline.set(1000);
  clock.advance(100);
  deadline.set(50);
  clock.advance(50);
  t.strictSame(dueAt, [150]);
  clock.advance(2000);
  t.strictSame(dueAt, [150]);
});

t.test('what is cleared is not due, until it is set again', async (t) => {
  const { clock, deadline, dueAt } = scene();
  deadline.set(50);
  deadline.clear();
  clock.advance(1000);
  t.strictSame(dueAt, []);
  deadline.set(50);
  clock.advance(10);
  deadline.clear();
  deadline.set(100);
  clock.advance(99);
  t.strictSame(dueAt, []);
  clock.advance(1);
  t.strictSame(dueAt, [1110]);
});

t.test('it may be set anew when it is due', async (t) => {
  const clock = new FakeClock();
  let times = 0;
  const deadline: MovingDeadline = new MovingDeadline({
    clock,
    onDue: () => {
      if (++times < 3) deadline.set(10);
    },
  });
  deadline.set(10);
  clock.advance(100);
  t.equal(times, 3);
});

t.test('a clock that was late does not make it late twice', async (t) => {
  const { clock, deadline, dueAt } = scene();
  deadline.set(50);
  clock.advance(30);
  deadline.set(50);
  clock.advanceLate(500);
  t.strictSame(dueAt, [530]);
});

t.test('what has ended leaves no timer', async (t) => {
  const { clock, deadline, dueAt } = scene();
  deadline.set(50);
  deadline.clear();
  t.equal(clock.pendingTimers, 1, 'it stays, for the next');
  deadline.end();
  t.equal(clock.pendingTimers, 0);
  deadline.end();
  deadline.set(20);
  clock.advance(20);
  t.strictSame(dueAt, [20]);
});
