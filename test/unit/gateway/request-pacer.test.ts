import t from 'tap';
import { type QuotaProject, RequestPacer, type Turn } from '../../../src/gateway/request-pacer.js';
import { FakeClock } from '../../support/fake-clock.js';

const PROJECT: QuotaProject = { project: '123456789012', projectId: 'demo-project' };

class Line {
  readonly clock = new FakeClock();
  readonly pacer: RequestPacer;
  readonly left: string[] = [];

  constructor(perMinute: number) {
    this.pacer = new RequestPacer({ clock: this.clock, perMinute });
  }

  enter(name: string, turn: Partial<Turn> = {}): () => void {
    return this.pacer.enter({ project: PROJECT, urgent: true, client: {}, ...turn }, () => void this.left.push(name));
  }

  get waiting(): number {
    return this.pacer.use(PROJECT.project).waiting;
  }
}

t.test('a burst leaves at once, the rest below the quota: in no minute more than 95 % of it', async (t) => {
  const line = new Line(2400);
  for (let i = 0; i < 3000; i++) {
    // A minute's worth may wait.
    if (line.waiting < 2400) line.enter(String(i));
  }
  t.equal(line.left.length, 600, 'a quarter of a minute');
  let most = 0;
  const atSecond: number[] = [];
  for (let second = 0; second < 180; second++) {
    atSecond.push(line.left.length);
    most = Math.max(most, line.left.length - (atSecond[second - 59] ?? 0));
    line.clock.advance(1000);
    while (line.waiting < 100) line.enter('more');
  }
  t.ok(most <= 2400 * 0.95 + 1, `${most} in the busiest minute`);
  t.ok(most > 2400 * 0.9, 'and it is used');
  t.equal(line.pacer.use(PROJECT.project).lastMinute <= 2400 * 0.95, true);
});

t.test('the urgent first; of those the client that has had least; every fourth turn is the oldest’s', async (t) => {
  const line = new Line(4);
  const busy = {};
  line.enter('a', { client: busy });
  for (const name of ['background 1', 'background 2']) line.enter(name, { urgent: false });
  for (const name of ['busy 1', 'busy 2', 'busy 3']) line.enter(name, { client: busy });
  line.enter('calm');
  line.clock.advance(10 * 60_000);
  t.strictSame(line.left, ['a', 'calm', 'busy 1', 'busy 2', 'background 1', 'busy 3', 'background 2']);
});

t.test(
  'Google has refused: nothing leaves for a while, longer each time, and once for all that left together',
  async (t) => {
    const line = new Line(2400);
    for (let i = 0; i < 5; i++) line.pacer.refused(PROJECT);
    line.enter('a');
    line.clock.advance(999);
    t.equal(line.left.length, 0);
    line.clock.advance(60);
    t.strictSame(line.left, ['a']);
    line.pacer.refused(PROJECT);
    line.enter('b');
    line.clock.advance(1900);
    t.strictSame(line.left, ['a'], 'two seconds now');
    line.clock.advance(200);
    t.strictSame(line.left, ['a', 'b']);
    t.equal(line.pacer.use(PROJECT.project).refused, 6);
    line.clock.advance(61_000);
    line.pacer.refused(PROJECT);
    line.enter('c');
    line.clock.advance(1100);
    t.equal(line.left.at(-1), 'c', 'after a quiet minute one second again');
  },
);

t.test('who leaves the line takes no turn; other projects have lines of their own', async (t) => {
  const line = new Line(4);
  line.enter('a');
  const leave = line.enter('gone');
  line.enter('b');
  leave();
  const other = { project: '2' };
  line.pacer.enter({ project: other, urgent: false, client: {} }, () => void line.left.push('other'));
  t.strictSame(line.left, ['a', 'other']);
  line.clock.advance(60_000);
  t.strictSame(line.left, ['a', 'other', 'b']);
  t.strictSame(line.pacer.projects(), [PROJECT, { project: '2' }]);
});

t.test('a flood in the background is refused, a write beside it is not', async (t) => {
  const line = new Line(200);
  for (let i = 0; i < 50; i++) line.enter('burst');
  for (let i = 0; i < 200; i++) line.enter('background', { urgent: false });
  t.throws(() => line.enter('one more', { urgent: false }), {
    code: 'request-line-full',
    answer: { status: 429, reason: 'TooManyRequests', retryAfterSeconds: 10 },
    message: /200 requests to fleet host project demo-project wait already for its quota of 200 a minute/,
  });
  line.enter('write');
  line.clock.advance(1000);
  t.equal(line.left.filter((name) => name === 'write').length, 1, 'and it is the next');
  for (let i = 0; i < 200; i++) line.enter('urgent');
  t.throws(() => line.enter('another'), { code: 'request-line-full' }, 'a line has an end');
});
