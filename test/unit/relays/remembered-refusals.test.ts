import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { WebSocket } from 'ws';
import type { Refusal } from '../../../src/relays/failure-answer.js';
import { RememberedRefusals } from '../../../src/relays/remembered-refusals.js';
import { FakeClock } from '../../support/fake-clock.js';
import { RemoteCommandScene } from '../../support/remote-command-scene.js';

const EXEC = 'exec?command=cat&container=main&stdin=true&stdout=true&stderr=true';
const REFUSAL: Refusal = { status: 403, statusText: 'Forbidden', headers: [], body: Buffer.from('no') };

const call = (upgrade: string, o: { session?: string; target?: string; membership?: string } = {}) => ({
  membership: o.membership ?? 'prod',
  target: o.target ?? '/exec',
  headers: ['Upgrade', upgrade, 'Kubectl-Session', o.session ?? 'one'],
});

t.test('a refusal is told to its own second try, once and for a moment', (t) => {
  const clock = new FakeClock();
  const refusals = new RememberedRefusals({ clock });
  refusals.remember(call('websocket'), REFUSAL);
  t.equal(refusals.recall(call('websocket')), undefined, 'WebSocket is a first try again');
  t.equal(refusals.recall(call('SPDY/3.1', { session: 'two' })), undefined);
  t.equal(refusals.recall(call('SPDY/3.1', { target: '/attach' })), undefined);
  t.equal(refusals.recall(call('SPDY/3.1', { membership: 'edge' })), undefined);
  t.equal(refusals.recall({ ...call('SPDY/3.1'), headers: ['Upgrade', 'SPDY/3.1'] }), undefined);
  t.equal(refusals.recall(call('SPDY/3.1')), REFUSAL);
  t.equal(refusals.recall(call('SPDY/3.1')), undefined, 'only once');
  refusals.remember(call('SPDY/3.1'), REFUSAL);
  t.equal(refusals.recall(call('SPDY/3.1')), undefined, 'a SPDY refusal has no second try');
  refusals.remember(call('websocket'), REFUSAL);
  clock.advance(5000);
  t.equal(refusals.recall(call('SPDY/3.1')), undefined, 'too late');
  t.end();
});

t.test('no more than a few are kept', (t) => {
  const refusals = new RememberedRefusals({ clock: new FakeClock() });
  for (let i = 0; i < 150; i++) refusals.remember(call('websocket', { session: `${i}` }), REFUSAL);
  const kept = Array.from({ length: 150 }, (_, i) => refusals.recall(call('SPDY/3.1', { session: `${i}` })));
  t.equal(kept.filter((refusal) => refusal !== undefined).length, 100);
  t.equal(kept[49], undefined);
  t.equal(kept[50], REFUSAL);
  t.end();
});

t.test('what kubectl prints is the answer to its first try, and nothing is dialled for the second', async (t) => {
  const scene = await RemoteCommandScene.open();
  t.teardown(() => scene.at.close());
  const headers = { 'Kubectl-Session': '6c580f5e' };
  for (const [status, body] of [
    [
      '403 Forbidden',
      { kind: 'Status', apiVersion: 'v1', status: 'Failure', message: 'cannot get pods/exec', code: 403 },
    ],
    ['404 Not Found', { error: { code: 404, status: 'NOT_FOUND', message: 'cannot connect to agent' } }],
  ] as const) {
    const first = new WebSocket(
      `wss://127.0.0.1:${scene.at.port}/api/v1/namespaces/default/pods/box/${EXEC}`,
      ['v5.channel.k8s.io'],
      { ca: scene.at.ca, headers: { ...headers, authorization: `Bearer ${scene.at.localToken}` } },
    );
    first.on('error', () => {});
    const answered = once(first, 'unexpected-response');
    (await scene.knock()).refuse(status, body);
    const [, response] = (await answered) as [unknown, IncomingMessage];
    const text = (await response.toArray()).join('');
    const second = await scene.spdyClient(EXEC, { headers });
    t.equal(second.body, text);
    t.match(second.head, new RegExp(`^HTTP/1.1 ${response.statusCode} `));
  }
  t.equal(scene.unannounced, 0);
  const later = scene.spdyClient(EXEC, { headers });
  (await scene.knock()).refuse('403 Forbidden', { kind: 'Status', message: 'now asked' });
  t.match((await later).body, 'now asked', 'a third try is asked upstream');
});
