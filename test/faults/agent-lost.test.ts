import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { errorAnswer } from '../../src/emulator/google/error-catalogue.js';
import { FakeClock } from '../support/fake-clock.js';
import { type Arrival, Client, Upstream } from '../support/fault-scene.js';
import { openTestFrontDoor } from '../support/front-door.js';
import { podWith, RemoteCommandScene } from '../support/remote-command-scene.js';

const FIVE_MINUTES_MS = 5 * 60_000;
/** An agent that is back is not waited for any longer. */
const LONGEST_PAUSE_MS = 15_000;

const AGENT_LOST = errorAnswer('agent-lost', {
  projectNumber: '123456789012',
  projectId: 'demo-fleet',
  location: 'global',
  membership: 'prod',
  user: 'dev@example.com',
  target: '/',
});

function event(type: string, resourceVersion: number): string {
  return `${JSON.stringify({ type, object: { kind: 'Pod', metadata: { resourceVersion: String(resourceVersion) } } })}\n`;
}

function refuse({ response }: Arrival): void {
  response.writeHead(AGENT_LOST.status, { 'Content-Type': AGENT_LOST.contentType }).end(AGENT_LOST.body);
}

/** Lets time pass until `promise` is settled; the answer says how much it took. */
async function passUntil<T>(clock: FakeClock, promise: Promise<T>): Promise<{ value: T; ms: number }> {
  const from = clock.monotonic();
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  // Sockets take real time, of which a step of the clock must not be made too many.
  while (!settled) {
    clock.advance(100);
    for (let i = 0; i < 20 && !settled; i++) await setImmediate();
  }
  return { value: await watched, ms: clock.monotonic() - from };
}

/** Answers every attempt with a lost agent, for five minutes. */
async function agentIsLost(t: Test, clock: FakeClock, attempt: () => Promise<void>): Promise<void> {
  const until = clock.monotonic() + FIVE_MINUTES_MS;
  let attempts = 0;
  let longest = 0;
  while (clock.monotonic() < until) {
    const { ms } = await passUntil(clock, attempt());
    attempts++;
    longest = Math.max(longest, ms);
  }
  t.ok(attempts > 15, `${attempts} attempts`);
  t.ok(attempts < 80, `${attempts} attempts: with back-off`);
  // On a loaded machine an answer takes a few more steps of the clock.
  t.comment(`the longest pause was ${longest} ms`);
}

async function scene(t: Test): Promise<{ clock: FakeClock; upstream: Upstream; client: (target: string) => Client }> {
  const clock = new FakeClock();
  const at = await openTestFrontDoor({ clock });
  t.teardown(() => at.close());
  return { clock, upstream: new Upstream(at), client: (target) => new Client(at, target) };
}

t.test('a watcher whose agent is lost for five minutes sees nothing but a pause', async (t) => {
  const { clock, upstream, client } = await scene(t);
  const watcher = client('/api/v1/pods?watch=true&resourceVersion=100');
  const first = await upstream.answer('application/json', Buffer.from(event('ADDED', 101)));
  await watcher.has(event('ADDED', 101).length);
  let ended = false;
  void watcher.ended.then(() => {
    ended = true;
  });
  first.response.socket?.resetAndDestroy();
  await agentIsLost(t, clock, async () => refuse(await upstream.next()));
  t.notOk(ended, 'the watch is still open');
  const { value: again, ms } = await passUntil(
    clock,
    upstream.answer('application/json', Buffer.from(event('MODIFIED', 102))),
  );
  t.ok(ms <= 2 * LONGEST_PAUSE_MS, `back after ${ms} ms`);
  t.equal(again.url.searchParams.get('resourceVersion'), '101', 'it goes on where it stood');
  const expected = event('ADDED', 101) + event('MODIFIED', 102);
  t.equal((await watcher.has(expected.length)).toString(), expected, 'both events and not a byte besides');
  t.notOk(ended);
  watcher.leave();
  await once(again.response, 'close');
  t.equal(upstream.unannounced, 0);
});

t.test('so does a reader of logs -f', async (t) => {
  const { clock, upstream, client } = await scene(t);
  const reader = client('/api/v1/namespaces/default/pods/box/log?follow=true');
  const line = (n: number): string => `2026-11-24T00:00:0${n}.000000000Z line ${n}\n`;
  const first = await upstream.answer('text/plain', Buffer.from(line(1)));
  await reader.has('line 1\n'.length);
  first.response.socket?.resetAndDestroy();
  await agentIsLost(t, clock, async () => refuse(await upstream.next()));
  const answered = async (): Promise<Arrival> => {
    for (;;) {
      const arrival = await upstream.next();
      if (arrival.url.pathname.endsWith('/log')) return arrival;
      const pod = podWith({ running: { startedAt: '2020-01-01T00:00:00Z' } });
      arrival.response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(pod));
    }
  };
  const { value: again } = await passUntil(clock, answered());
  again.response.writeHead(200, { 'Content-Type': 'text/plain' });
  again.response.write(line(1) + line(2));
  t.equal((await reader.has('line 1\nline 2\n'.length)).toString(), 'line 1\nline 2\n');
  reader.leave();
  await once(again.response, 'close');
});

t.test('and whoever is attached is told of the gap, in one line', async (t) => {
  const clock = new FakeClock();
  const scene = await RemoteCommandScene.open({ clock });
  t.teardown(() => scene.at.close());
  const client = scene.client('attach?stdout=true&stderr=true');
  const up = await scene.upstream();
  up.say(1, 'first');
  while (client.inbox.of(1).length === 0) await client.inbox.next();
  let closed = false;
  void client.closed.then(() => {
    closed = true;
  });
  const { pod } = scene;
  scene.pod = { ...(JSON.parse(AGENT_LOST.body) as object), code: AGENT_LOST.status };
  up.cut('a TCP reset');
  await passUntil(
    clock,
    (async () => {
      const from = clock.monotonic();
      while (clock.monotonic() - from < FIVE_MINUTES_MS) await setImmediate();
    })(),
  );
  t.ok(scene.looks.length > 15, `${scene.looks.length} looks`);
  t.equal(scene.unannounced, 0, 'nothing is dialled while the agent is away');
  t.notOk(closed, 'the session is still open');
  scene.pod = pod;
  const { value: again } = await passUntil(clock, scene.upstream());
  again.say(1, 'second');
  while (!client.inbox.of(1).includes('second')) await client.inbox.next();
  const told = client.inbox.of(2).filter((text) => text !== '');
  t.equal(told.length, 1);
  t.match(told[0], /attached to the same container again \(gap 5 min/);
  client.webSocket.terminate();
});
