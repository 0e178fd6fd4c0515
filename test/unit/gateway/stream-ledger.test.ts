import t from 'tap';
import { StreamLedger, type StreamRequest } from '../../../src/gateway/stream-ledger.js';
import { FakeClock } from '../../support/fake-clock.js';

const project = { project: '123456789012', projectId: 'demo-project' };

function scene(limit: number): {
  clock: FakeClock;
  ledger: StreamLedger;
  ask: (id: string, more?: Partial<StreamRequest>) => ReturnType<StreamLedger['acquire']>;
} {
  const clock = new FakeClock();
  const ledger = new StreamLedger({ clock, limit, queueMs: 30_000 });
  const ask = (id: string, more: Partial<StreamRequest> = {}): ReturnType<StreamLedger['acquire']> =>
    ledger.acquire({
      project,
      holder: () => ({ sessions: [id], kind: 'exec', target: `default/pod-${id}` }),
      signal: new AbortController().signal,
      ...more,
    });
  return { clock, ledger, ask };
}

t.test('one too many waits, gets in when another ends, and is refused with the holders when none does', async (t) => {
  const { clock, ledger, ask } = scene(2);
  const first = await ask('a');
  clock.advance(65_000);
  await ask('b');
  const third = ask('c');
  const fourth = ask('d');
  t.match(ledger.use(project.project), { active: 2, waiting: 2, limit: 2 });
  first.release();
  first.release();
  await third;
  t.match(ledger.use(project.project), { active: 2, waiting: 1 }, 'a lease is given back once');
  clock.advance(30_000);
  await t.rejects(fourth, {
    code: 'streams-exhausted',
    answer: { status: 429, reason: 'TooManyRequests', retryAfterSeconds: undefined },
    message:
      /^connect-gateway-proxy: all 2 streams of fleet host project demo-project are in use, and none ended within 30s\. They are held by the sessions b \(exec default\/pod-b, 30s\), c \(exec default\/pod-c, 30s\)\. End one with: connect-gateway-proxy sessions kill b$/,
  });
  t.match(ledger.use(project.project), { active: 2, waiting: 0 });
});

t.test('sessions that go on after a cut come before new ones, in their order', async (t) => {
  const { ask } = scene(1);
  const holder = await ask('holder');
  const order: string[] = [];
  const waits = (['new', 'resumed 1', 'resumed 2'] as const).map((id) =>
    ask(id, { resuming: id !== 'new' }).then((lease) => {
      order.push(id);
      lease.release();
    }),
  );
  holder.release();
  await Promise.all(waits);
  t.strictSame(order, ['resumed 1', 'resumed 2', 'new']);
});

t.test('who leaves the line makes room; nobody overtakes by trying', async (t) => {
  const { ledger, ask } = scene(1);
  const holder = await ask('holder');
  const leaving = new AbortController();
  const left = ask('left', { signal: leaving.signal });
  const stays = ask('stays');
  leaving.abort(new Error('the client is gone'));
  await t.rejects(left, { message: 'the client is gone' });
  t.equal(ledger.tryAcquire({ project, holder: () => ({ sessions: [], kind: '', target: '' }) }), undefined);
  holder.release();
  await stays;
  await t.rejects(ask('late', { signal: AbortSignal.abort(new Error('gone before')) }), { message: 'gone before' });
  t.equal(ledger.use(project.project).active, 1);
});
