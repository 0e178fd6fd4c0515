import { once } from 'node:events';
import t, { type Test } from 'tap';
import { FakeClock } from '../support/fake-clock.js';
import { type Arrival, Client, story } from '../support/fault-scene.js';
import { PortForwardScene } from '../support/port-forward-scene.js';
import { RemoteCommandScene } from '../support/remote-command-scene.js';

/** What a person's machine does to a daemon: the other ends are gone, and nobody has said so. */
const WAKE = 'the machine has slept';

const event = (version: number): Buffer =>
  Buffer.from(`{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"${version}"}}}\n`);

function showPod({ response }: Arrival): void {
  const state = { running: { startedAt: '2020-01-01T00:00:00Z' } };
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Pod', status: { containerStatuses: [{ name: 'main', state }] } }));
}

{
  const clock = new FakeClock();
  story(
    'a watch and a followed log from before are asked for anew at once, one from after is left alone',
    async (t, { at, upstream }) => {
      const watch = new Client(at, '/api/v1/pods?watch=true&resourceVersion=1');
      const before = await upstream.answer('application/json', event(2));
      const log = new Client(at, '/api/v1/namespaces/default/pods/box/log?follow=true&container=main');
      const line = Buffer.from('2026-11-24T10:00:00Z one\n');
      await upstream.answer('text/plain', line);
      await Promise.all([watch.has(1), log.has(1)]);
      clock.advance(1000);
      const young = new Client(at, '/api/v1/nodes?watch=true&resourceVersion=1');
      const after = await upstream.answer('application/json', event(5));
      await young.has(1);
      at.wakes.tell({ reason: WAKE, doubtfulBefore: clock.monotonic() - 500 });
      await once(before.response, 'close');
      const again: Arrival[] = [];
      while (again.length < 2) {
        const arrival = await clock.passUntil(upstream.next());
        if (arrival.url.pathname.endsWith('/pods/box')) showPod(arrival);
        else again.push(arrival);
      }
      const asked = again.map(
        ({ url }) => url.searchParams.get('resourceVersion') ?? url.searchParams.get('sinceTime'),
      );
      t.strictSame(asked.sort(), ['2', '2026-11-24T09:59:59Z']);
      t.notOk(after.response.closed);
      for (const client of [watch, log, young]) client.leave();
      await Promise.all([...again, after].map(({ response }) => response.closed || once(response, 'close')));
    },
    { clock },
  );
}

{
  const clock = new FakeClock();
  story(
    'a pause before the next attempt ends with the sleep',
    async (t, { at, upstream }) => {
      const client = new Client(at, '/api/v1/pods?watch=true&resourceVersion=1');
      const first = await upstream.answer('application/json', event(2));
      await client.has(1);
      first.response.destroy();
      for (let round = 0; round < 8; round++) {
        (await clock.passUntil(upstream.next())).request.socket.destroy();
      }
      // The pauses are long by now; time stands still from here on.
      let came = false;
      const next = upstream.answer('application/json', event(3)).finally(() => {
        came = true;
      });
      for (let turn = 0; !came; turn++) {
        // Not in every turn, or no pause would come to its end; more than once, for it may not have begun yet.
        if (turn % 50 === 0) at.wakes.tell({ reason: WAKE, doubtfulBefore: clock.monotonic() });
        clock.advance(0);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { response } = await next;
      t.equal((await client.has(event(2).length + 1)).indexOf('"3"') > 0, true);
      client.leave();
      await once(response, 'close');
    },
    { clock },
  );
}

async function forSeconds(clock: FakeClock, seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed++) {
    clock.advance(1000);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

t.test('attach: a gateway that does not answer a ping is gone after 5 s, one that does stays', async (t: Test) => {
  const clock = new FakeClock();
  const scene = await RemoteCommandScene.open({ clock });
  t.teardown(() => scene.at.close());
  const query = 'attach?container=main&stdin=true&stdout=true&stderr=true';
  const [client, other] = [scene.client(query), scene.client(query)];
  const [dead, alive] = [await scene.upstream(), await scene.upstream()];
  await Promise.all([client, other].map(({ webSocket }) => webSocket.readyState === 1 || once(webSocket, 'open')));
  clock.advance(1);
  dead.webSocket.pause();
  const pinged = once(alive.webSocket, 'ping');
  scene.at.wakes.tell({ reason: WAKE, doubtfulBefore: clock.monotonic() });
  await pinged;
  await forSeconds(clock, 6);
  const again = await clock.passUntil(scene.upstream());
  again.say(1, 'here again');
  t.match(
    (await Promise.race([client, other].map(({ inbox }) => inbox.next()))).text,
    /attached to the same container/,
  );
  t.equal(alive.webSocket.readyState, alive.webSocket.OPEN, 'whoever answers is not disturbed');
  for (const { webSocket } of [client, other]) webSocket.terminate();
});

t.test('port-forward: a tunnel that does not answer a ping is replaced after 5 s', async (t: Test) => {
  const clock = new FakeClock();
  const scene = await PortForwardScene.open({ clock });
  t.teardown(() => scene.at.close());
  const [client, pod] = await Promise.all([scene.webSocketClient(), scene.podEnd()]);
  const [open, connected] = await Promise.all([client.open(8080), pod.connection()]);
  connected.data.say('all is said');
  await open.data.hears('all is said');
  clock.advance(1);
  pod.webSocket.pause();
  scene.at.wakes.tell({ reason: WAKE, doubtfulBefore: clock.monotonic() });
  await forSeconds(clock, 6);
  t.equal((await open.data.ended()).end, 'reset');
  const next = await clock.passUntil(scene.podEnd());
  const [after, remote] = await Promise.all([client.open(8080), next.connection()]);
  remote.data.say('on the new one');
  await after.data.hears('on the new one');
});

t.test('a process that was busy does not take its gateway for dead', async (t: Test) => {
  const clock = new FakeClock();
  const scene = await PortForwardScene.open({ clock });
  t.teardown(() => scene.at.close());
  const [client, pod] = await Promise.all([scene.webSocketClient(), scene.podEnd()]);
  // Timers that are late by seconds, again and again: no pong could be read in between.
  for (let round = 0; round < 5; round++) clock.advanceLate(15_000);
  const [open, remote] = await Promise.all([client.open(8080), pod.connection()]);
  remote.data.say('alive');
  await open.data.hears('alive');
});
