import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type WebSocket from 'ws';
import type { QuotaUse } from '../../src/daemon/daemon.js';
import type { SessionReport } from '../../src/daemon/session-report.js';
import { DaemonClient } from '../support/daemon-client.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { FakeClock } from '../support/fake-clock.js';

const LIMIT = 10;
const POD = '/api/v1/namespaces/default/pods/box';
const SLEEP = `${POD}/exec?command=sleep&command=1000&stdout=true`;

const folder = mkdtempSync(join(tmpdir(), 'cgp-streams-'));
/** The daemon's own: nobody is refused before it is told to. */
const clock = new FakeClock(Date.now());
let demo: DemoDaemon;
let client: DaemonClient;

t.before(async () => {
  demo = await startDemoDaemon({ folder, clock });
  client = new DaemonClient(demo.kubeconfig, 'edge-store');
});
t.teardown(async () => {
  await demo.close();
  rmSync(folder, { recursive: true, force: true });
});

async function use(): Promise<QuotaUse['streams']> {
  const { body } = await client.askHub(demo.daemon.hubUrl, '/-/quota', 'GET');
  const { projects } = JSON.parse(body) as { projects: QuotaUse[] };
  return projects[0]?.streams ?? { limit: LIMIT, active: 0, waiting: 0, holders: [] };
}

async function until(what: (streams: QuotaUse['streams']) => boolean): Promise<void> {
  while (!what(await use()));
}

async function sessions(): Promise<SessionReport['live']> {
  return (JSON.parse((await client.askHub(demo.daemon.hubUrl, '/-/sessions', 'GET')).body) as SessionReport).live;
}

/** Its end, whichever: let in, or refused with this. */
function outcome(
  socket: WebSocket,
): Promise<'open' | { status: number; headers: IncomingMessage['headers']; body: string }> {
  const refused = once(socket, 'unexpected-response').then(async ([, answer]) => {
    const response = answer as IncomingMessage;
    let body = '';
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode ?? 0, headers: response.headers, body };
  });
  return Promise.race([once(socket, 'open').then(() => 'open' as const), refused]);
}

t.test(
  '12 streams and a limit of 10: two wait, one gets in when another ends, the other is told who has them',
  async (t) => {
    const held = Array.from({ length: LIMIT }, () => client.webSocket(SLEEP));
    await Promise.all(held.map((socket) => once(socket, 'open')));
    t.match(await use(), { active: LIMIT, waiting: 0 });
    const eleventh = client.webSocket(SLEEP);
    const eleventhOutcome = outcome(eleventh);
    await until(({ waiting }) => waiting === 1);
    const twelfth = outcome(client.webSocket(SLEEP));
    await until(({ waiting }) => waiting === 2);
    t.equal(demo.emulator.activeStreams(), LIMIT, 'Google is asked for no more');

    held[0]?.terminate();
    t.equal(await eleventhOutcome, 'open', 'the first in line');
    t.match(await use(), { active: LIMIT, waiting: 1 });

    // Pings are answered meanwhile.
    for (let second = 0; second < 30; second++) {
      clock.advance(1000);
      await use();
    }
    const told = await twelfth;
    if (told === 'open') throw new Error('it was let in');
    t.equal(told.status, 429);
    t.equal(told.headers['retry-after'], undefined, 'kubectl would wait ten times as long in silence');
    const status = JSON.parse(told.body) as {
      reason: string;
      message: string;
      details: { causes: { reason: string }[] };
    };
    t.match(status, { kind: 'Status', code: 429, reason: 'TooManyRequests' });
    t.equal(status.details.causes[0]?.reason, 'streams-exhausted');
    t.match(status.message, /^connect-gateway-proxy: all 10 streams of fleet host project demo-project are in use/);
    const live = await sessions();
    t.equal(live.length, LIMIT);
    for (const { id } of live) t.match(status.message, `${id} (exec default/box, 30s)`);
    t.match(status.message, /End one with: connect-gateway-proxy sessions kill \S+$/);

    for (const socket of [...held, eleventh]) socket.terminate();
    await until(({ active }) => active === 0);
    t.equal((await sessions()).length, 0);
  },
);

t.test('one that leaves the line takes no stream', async () => {
  const held = Array.from({ length: LIMIT }, () => client.webSocket(SLEEP));
  await Promise.all(held.map((socket) => once(socket, 'open')));
  const leaves = client.webSocket(SLEEP);
  await until(({ waiting }) => waiting === 1);
  leaves.terminate();
  await until(({ waiting }) => waiting === 0);
  for (const socket of held) socket.terminate();
  await until(({ active }) => active === 0);
});

t.test('clients that share a tunnel count once, under all their names', async (t) => {
  const target = `${POD}/portforward`;
  const forwards = [1, 2, 3].map(() => client.webSocket(`${target}?ports=8080`, 'v4.channel.k8s.io'));
  await Promise.all(forwards.map((socket) => once(socket, 'open')));
  await until(({ holders }) => holders[0]?.sessions.length === 3);
  const streams = await use();
  t.match(streams, { active: 1, waiting: 0, holders: [{ kind: 'port-forward', target: /default\/box/ }] });
  t.strictSame([...(streams.holders[0]?.sessions ?? [])].sort(), (await sessions()).map(({ id }) => id).sort());
  for (const socket of forwards) socket.terminate();
});

/** Lets time pass until `promise` is settled. */
async function passUntil<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  while (!settled) {
    clock.advance(100);
    await use();
  }
  return await watched;
}

t.test('one that Google still counts as in use is asked for again, in every form', async (t) => {
  await until(({ active }) => active === 0);
  for (const [what, target, protocol] of [
    ['exec', SLEEP, 'v5.channel.k8s.io'],
    ['port-forward', `${POD}/portforward?ports=8080`, 'v4.channel.k8s.io'],
    ['a WebSocket of a workload', '/api/v1/namespaces/default/services/hello/proxy/', 'chat'],
  ] as const) {
    const before = demo.emulator.requests.length;
    demo.emulator.faults.add({ answer: 'stream-quota', match: 'upgrade', times: 2 });
    const socket = client.webSocket(target, protocol);
    const told = await passUntil(outcome(socket));
    if (told !== 'open') t.notMatch(told.body, /active_streams/, `${what}: the workload has spoken`);
    const upgrades = demo.emulator.requests.slice(before).filter(({ kind }) => kind === 'upgrade');
    t.strictSame(
      upgrades.map(({ status }) => status).slice(0, 2),
      [429, 429],
      `${what}: two refusals that nobody was told of`,
    );
    t.equal(upgrades.length, 3, what);
    socket.terminate();
  }
  await until(({ active }) => active === 0);
});

t.test('what Google goes on to refuse is told with the streams that this machine has', async (t) => {
  const held = [client.webSocket(SLEEP), client.webSocket(SLEEP)];
  await Promise.all(held.map((socket) => once(socket, 'open')));
  const ids = (await sessions()).map(({ id }) => id);
  demo.emulator.faults.add({ answer: 'stream-quota', match: 'upgrade' });
  const from = clock.monotonic();
  const refused = await passUntil(outcome(client.webSocket(SLEEP)));
  if (refused === 'open') throw new Error('it was let in');
  t.ok(clock.monotonic() - from <= 8000, 'soon');
  const { message, details } = JSON.parse(refused.body) as {
    message: string;
    details: { causes: { reason: string }[] };
  };
  t.equal(details.causes[0]?.reason, 'stream-quota');
  t.match(message, /this machine holds 2 of them: \S+ \(exec default\/box, \d+s\), \S+ \(exec default\/box, \d+s\);/);
  for (const id of ids) t.match(message, id);
  t.match(message, /connect-gateway-proxy sessions kill \S+ ends the oldest\. To be fixed by you: /);
  for (const socket of held) socket.terminate();
  await until(({ active }) => active === 0);
  const alone = await passUntil(outcome(client.webSocket(SLEEP)));
  demo.emulator.faults.clear();
  if (alone === 'open') throw new Error('it was let in');
  const { ended } = JSON.parse((await client.askHub(demo.daemon.hubUrl, '/-/sessions', 'GET')).body) as SessionReport;
  t.equal(ended[0]?.reason, 'refused: stream-quota', 'which sessions --ended shows');
  t.match(alone.body, /none of them is held by this machine\. To be fixed by you: /);
});
