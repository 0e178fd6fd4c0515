import { once } from 'node:events';
import * as https from 'node:https';
import t from 'tap';
import { CutoffBook } from '../../../src/daemon/cutoff-book.js';
import { parseApiRequest } from '../../../src/kubernetes/api-request.js';
import { type SessionEvent, SessionRegistry } from '../../../src/relays/sessions.js';
import { FakeClock } from '../../support/fake-clock.js';
import { openTestFrontDoor } from '../../support/front-door.js';

const start = (id: string, target: string, bytes = { up: 0, down: 0 }) => ({
  id,
  api: parseApiRequest(target),
  membership: 'prod',
  identity: 'default',
  userAgent: 'kubectl/v1.33',
  bytes: () => bytes,
});

t.test('a session is listed from its start to its end, with its gaps and bytes', async (t) => {
  const clock = new FakeClock();
  const sessions = new SessionRegistry({ clock });
  const events: SessionEvent[] = [];
  const stop = sessions.onEvent((event) => events.push(event));
  const bytes = { up: 1, down: 2 };
  const session = sessions.open(start('a', '/api/v1/namespaces/default/pods/box/exec?command=sh', bytes));
  clock.advance(5000);
  session.resumed(120.4);
  clock.advance(1000);
  bytes.down = 7;
  t.match(sessions.live(), [
    {
      id: 'a',
      kind: 'exec',
      target: 'default/box',
      ageMs: 6000,
      connectionAgeMs: 1000,
      resumes: 1,
      gapsMs: [120],
      bytesUp: 1,
      bytesDown: 7,
    },
  ]);
  session.end('complete');
  session.end('again');
  t.strictSame(sessions.live(), []);
  t.match(sessions.ended(), [{ id: 'a', reason: 'complete', bytesMayBeMissing: false }]);
  t.strictSame(
    events.map(({ type }) => type),
    ['started', 'resumed', 'ended'],
  );
  stop();
  sessions.open(start('b', '/api/v1/pods?watch=1'));
  t.equal(events.length, 3);
});

t.test('targets are told as people name them, and the history is bounded, newest first', async (t) => {
  const sessions = new SessionRegistry({ clock: new FakeClock() });
  for (const target of [
    '/api/v1/pods?watch=1',
    '/apis/apps/v1/namespaces/n/deployments?watch=1',
    '/api/v1/namespaces/n/configmaps/c?watch=1',
  ]) {
    sessions.open(start(target, target));
  }
  t.strictSame(
    sessions.live().map(({ target }) => target),
    ['pods', 'deployments.apps -n n', 'configmaps/c -n n'],
  );
  for (let i = 0; i < 150; i++) sessions.open(start(`e${i}`, '/api/v1/pods?watch=1')).end('complete');
  t.equal(sessions.ended().length, 100);
  t.equal(sessions.ended()[0]?.id, 'e149');
});

t.test('a fleet’s cutoff is learned for itself and kept', async (t) => {
  const saved: unknown[] = [];
  const book = new CutoffBook({ assumedMs: 1_200_000, remembered: 'rubbish', save: (ages) => saved.push(ages) });
  book.cutAt('123', 1000);
  t.strictSame(saved, [], 'what teaches nothing is not written');
  book.cutAt('123', 600_000);
  book.cutAt('123', 600_500);
  t.equal(book.expectedMs('123'), 600_000);
  t.equal(book.expectedMs('456'), 1_200_000);
  t.equal(new CutoffBook({ assumedMs: 1, remembered: saved.at(-1), save: () => {} }).expectedMs('123'), 600_000);
});

t.test('events reach a listener as they happen, and the listener is forgotten when it leaves', async (t) => {
  let tell: (event: { type: string }) => void = () => {};
  let listening = 0;
  const at = await openTestFrontDoor({
    own: {
      sessions: async () => ({ live: [{ id: 'x' }], ended: [] }),
      onSessionEvent: (listener) => {
        listening++;
        tell = listener;
        return () => {
          listening--;
        };
      },
    },
  });
  t.teardown(() => at.close());
  const request = https.get({
    host: '127.0.0.1',
    port: at.hubPort,
    path: '/-/events',
    ca: at.ca,
    agent: false,
    headers: { Authorization: 'Bearer hub-token' },
  });
  request.on('error', () => {});
  const [response] = await once(request, 'response');
  t.match(response.headers, { 'content-type': 'text/event-stream' });
  tell({ type: 'started' });
  const [chunk] = await once(response, 'data');
  t.equal(String(chunk), 'event: started\ndata: {"type":"started"}\n\n');
  response.on('error', () => {});
  request.destroy();
  while (listening > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(listening, 0);
});
