import { EventEmitter, once } from 'node:events';
import t, { type Test } from 'tap';
import { FakeClock } from '../support/fake-clock.js';
import {
  type PodConnection,
  type PodEnd,
  PortForwardScene,
  type SpdyClientEnd,
  TUNNEL_CUTS,
  type TunnelCut,
} from '../support/port-forward-scene.js';
import { untilStalled } from '../support/until-stalled.js';

const CUTS = Object.keys(TUNNEL_CUTS) as TunnelCut[];
const ROTATE_AFTER_MS = 60_000;

interface Scene {
  readonly scene: PortForwardScene;
  readonly clock: FakeClock;
  readonly cutAges: number[];
  readonly client: SpdyClientEnd;
  readonly pod: PodEnd;
}

/** A client with its tunnel, by a clock of the test's own. */
function story(name: string, tell: (t: Test, scene: Scene) => Promise<void>): void {
  t.test(name, async (t) => {
    const clock = new FakeClock();
    const cutAges: number[] = [];
    const scene = await PortForwardScene.open({
      clock,
      rotateAfterMs: ROTATE_AFTER_MS,
      onCut: (age) => cutAges.push(age),
    });
    t.teardown(() => scene.at.close());
    const [client, pod] = await Promise.all([scene.webSocketClient(), scene.podEnd()]);
    await tell(t, { scene, clock, cutAges, client, pod });
    t.equal(scene.knocks.waiting, 0, 'nothing was asked upstream but what was announced');
  });
}

async function roundTrip(t: Test, client: SpdyClientEnd, pod: PodEnd, word: string): Promise<void> {
  const [local, remote] = await Promise.all([client.open(8080), pod.connection()]);
  t.equal(remote.port, '8080');
  local.data.say(`ask ${word}`);
  await remote.data.hears(`ask ${word}`);
  remote.data.say(`answer ${word}`);
  await local.data.hears(`answer ${word}`);
  local.data.stream.end();
  await remote.data.ended();
  remote.data.stream.end();
  remote.error.stream.end();
  await Promise.all([local.data.ended(), local.error.ended()]);
  t.strictSame([local.data.end, local.error.end, local.error.text], ['fin', 'fin', '']);
}

for (const form of CUTS) {
  for (const inMidFrame of [false, true]) {
    story(
      `${form}${inMidFrame ? ' in the middle of a frame' : ''}, twice: open connections are reset, the session goes on`,
      async (t, { scene, clock, cutAges, client, pod }) => {
        let present = pod;
        for (const age of [5000, 7000]) {
          const [local, remote] = await Promise.all([client.open(8080), present.connection()]);
          const idle = await Promise.all([client.open(9090), present.connection()]);
          local.data.say('request');
          await remote.data.hears('request');
          remote.data.say('half an ans');
          await local.data.hears('half an ans');
          clock.advance(age);
          present.cut(form, { inMidFrame });
          for (const each of [local, idle[0]]) {
            await Promise.all([each.data.ended(), each.error.ended()]);
            t.equal(each.data.end, 'reset', 'not left hanging');
            t.strictSame(
              [each.error.end, each.error.text],
              ['fin', ''],
              'bytes or a reset here would make kubectl quit',
            );
          }
          // Opened in the gap: it waits.
          const waiting = client.open(8080);
          present = await clock.passUntil(scene.podEnd());
          const [after, answered] = await Promise.all([waiting, present.connection()]);
          after.data.say('after the cut');
          await answered.data.hears('after the cut');
          answered.data.stream.reset(5);
          answered.error.stream.end();
          await after.data.ended();
          await roundTrip(t, client, present, 'again');
        }
        t.equal(cutAges.length, 2);
        t.equal(scene.at.sessions.live()[0]?.resumes, 2);
        t.equal(scene.at.sessions.live()[0]?.sharing, 1);
      },
    );
  }
}

story(
  'a cut while redialling: refusals, lost connections, then a tunnel',
  async (_t, { scene, clock, client, pod }) => {
    pod.cut('a TCP reset');
    await pod.closed;
    const waiting = client.open(8080);
    (await clock.passUntil(scene.knock())).refuse();
    (await clock.passUntil(scene.knock())).refuse(503, 'ServiceUnavailable');
    (await clock.passUntil(scene.knock())).accept().cut('a TCP reset');
    const next = await clock.passUntil(scene.podEnd());
    const [local, remote] = await Promise.all([waiting, next.connection()]);
    remote.data.say('there at last');
    await local.data.hears('there at last');
  },
);

story('new connections wait 30 s, then are reset; the session waits on', async (t, { scene, clock, client, pod }) => {
  pod.cut('close 1011');
  await pod.closed;
  const first = await clock.passUntil(scene.knock());
  const before = clock.monotonic();
  const { data, error } = await client.open(8080);
  await clock.passUntil(Promise.all([data.ended(), error.ended()]));
  t.ok(clock.monotonic() - before >= 30_000, 'not sooner');
  t.strictSame([data.end, error.end, error.text], ['reset', 'fin', '']);
  first.refuse();
  const next = await clock.passUntil(scene.podEnd());
  await roundTrip(t, client, next, 'late');
});

for (const [what, code, reason, times] of [
  ['the pod is gone', 404, 'NotFound', 1],
  ['it is not allowed any more', 403, 'Forbidden', 3],
] as const) {
  story(`${what}: the session ends with the reason`, async (t, { scene, clock, client, pod, cutAges }) => {
    const open = await Promise.all([client.open(8080), pod.connection()]);
    pod.cut('close 1000');
    await open[0].data.ended();
    for (let n = 0; n < times; n++) (await clock.passUntil(scene.knock())).refuse(code, reason);
    t.equal(await client.closed, 1001);
    const [ended] = scene.at.sessions.ended();
    t.match(ended?.reason, `the cluster says ${code}`);
    t.strictSame(cutAges, [], 'the cut says nothing about the gateway');
  });
}

story('an API server that has just started forbids it for a moment only', async (t, { scene, clock, client, pod }) => {
  pod.cut('close 1000');
  await pod.closed;
  for (const _ of [1, 2]) (await clock.passUntil(scene.knock())).refuse(403, 'Forbidden');
  await roundTrip(t, client, await clock.passUntil(scene.podEnd()), 'allowed again');
});

story(
  'tunnels that are cut as soon as they are open are dialled at a growing distance',
  async (t, { scene, clock, client, pod }) => {
    pod.cut('a TCP reset');
    await pod.closed;
    const times: number[] = [];
    for (let round = 0; round < 7; round++) {
      (await clock.passUntil(scene.podEnd())).cut('a TCP reset');
      times.push(clock.monotonic());
    }
    const last = (times.at(-1) ?? 0) - (times.at(-2) ?? 0);
    t.ok(last > 2000, `the last pause was ${last} ms`);
    await roundTrip(t, client, await clock.passUntil(scene.podEnd()), 'well again');
  },
);

story('the pod has ended: asked where the refusal does not say', async (_t, { scene, clock, client, pod }) => {
  scene.pod = { status: { phase: 'Succeeded' } };
  pod.cut('close 1000');
  await pod.closed;
  (await clock.passUntil(scene.knock())).refuse(500, 'InternalError');
  await client.closed;
  _t.match(scene.at.sessions.ended()[0]?.reason, 'the pod has ended (Succeeded)');
});

story('rotation: another tunnel before the cutoff, the old one drains', async (t, { scene, clock, client, pod }) => {
  const [old, oldRemote] = await Promise.all([client.open(8080), pod.connection()]);
  const next = await clock.passUntil(scene.podEnd());
  t.ok(pod.webSocket.readyState === pod.webSocket.OPEN, 'not cut');
  while (scene.at.sessions.live()[0]?.resumes === 0) await new Promise((resolve) => setImmediate(resolve));
  const [answered, remote] = await Promise.all([client.open(8080), next.connection()]);
  remote.data.say('on the new one');
  await answered.data.hears('on the new one');
  t.equal(scene.at.sessions.live()[0]?.resumes, 1);
  oldRemote.data.say('still here');
  await old.data.hears('still here');
  old.data.stream.end();
  await oldRemote.data.ended();
  oldRemote.data.stream.end();
  oldRemote.error.stream.end();
  await old.data.ended();
});

story('a rotation that is refused leaves the old tunnel in use', async (t, { scene, clock, client, pod }) => {
  (await clock.passUntil(scene.knock())).refuse(404, 'NotFound');
  await roundTrip(t, client, pod, 'as before');
  const next = await clock.passUntil(scene.podEnd());
  await pod.closed;
  await roundTrip(t, client, next, 'rotated');
});

story('the pod says goaway: new connections go to another tunnel', async (t, { scene, client, pod }) => {
  const [open, remote] = await Promise.all([client.open(8080), pod.connection()]);
  pod.session.goAway();
  const next = await scene.podEnd();
  await roundTrip(t, client, next, 'new');
  remote.data.say('old');
  await open.data.hears('old');
});

story('a dead upstream is found within 30 s', async (t, { scene, clock, client, pod }) => {
  const [open] = await Promise.all([client.open(8080), pod.connection()]);
  pod.webSocket.pause();
  for (let ms = 0; ms < 30_000; ms += 1000) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await open.data.ended();
  t.equal(open.data.end, 'reset');
  await roundTrip(t, client, await clock.passUntil(scene.podEnd()), 'alive');
});

story('a slow client: memory is bounded, and a cut finds it', async (t, { client, clock, pod, scene }) => {
  const [local, remote] = await Promise.all([client.open(8080), pod.connection()]);
  client.pause();
  const chunk = 'x'.repeat(64 * 1024);
  let written = 0;
  await untilStalled(() => {
    for (; pod.webSocket.bufferedAmount < 512 * 1024; written += chunk.length) remote.data.say(chunk);
    return written;
  });
  t.ok(written < 64 * 1024 * 1024, `${written} bytes were taken on the way to a client that reads nothing`);
  pod.cut('a TCP reset');
  client.resume();
  await local.data.ended();
  t.equal(local.data.end, 'reset');
  t.ok(local.data.bytes <= written);
  await roundTrip(t, client, await clock.passUntil(scene.podEnd()), 'after');
});

story('a slow client does not hold up others for ever', async (t, { scene, client: slow, clock, pod }) => {
  const other = await scene.webSocketClient();
  t.equal(scene.at.sessions.live()[0]?.sharing, 2);
  const [mine, mineRemote] = await Promise.all([slow.open(8080), pod.connection()]);
  const [theirs, theirsRemote] = await Promise.all([other.open(8080), pod.connection()]);
  slow.pause();
  const chunk = 'x'.repeat(64 * 1024);
  let written = 0;
  await untilStalled(() => {
    for (; pod.webSocket.bufferedAmount < 512 * 1024; written += chunk.length) mineRemote.data.say(chunk);
    return written;
  });
  theirsRemote.data.say('held up');
  const next = scene.podEnd();
  clock.advance(5000);
  await roundTrip(t, other, await next, 'new connections go to another tunnel');
  clock.advance(26_000);
  await theirs.data.hears('held up');
  t.equal((await mineRemote.data.ended()).end, 'reset');
  slow.resume();
  t.equal((await mine.data.ended()).end, 'reset');
  t.strictSame([mine.error.text, (await mine.error.ended()).end], ['', 'fin']);
});

story('who switches accounts gets a tunnel of their own', async (t, { scene, client, pod }) => {
  scene.at.tokens.principal = { ...scene.at.tokens.principal, account: 'ops@example.com' };
  const [other, otherPod] = await Promise.all([scene.webSocketClient(), scene.podEnd()]);
  t.equal(scene.at.sessions.live()[0]?.sharing, 1);
  await roundTrip(t, client, pod, 'as before');
  await roundTrip(t, other, otherPod, 'as somebody else');
});

story('the daemon stops: sessions end with the reason', async (t, { scene, client, pod }) => {
  await Promise.all([client.open(8080), pod.connection()]);
  scene.at.door.destroy();
  await Promise.all([client.closed, pod.closed]);
  t.match(scene.at.sessions.ended()[0]?.reason, 'the daemon is stopping');
});

for (const [how, words, ends] of [
  ['with words', 'error forwarding port 81 to pod box: connection refused', 1000],
  ['without a word', '', 1011],
] as const) {
  t.test(`numbered channels: one port is reset by the pod ${how}, the other goes on`, async (t) => {
    const scene = await PortForwardScene.open();
    t.teardown(() => scene.at.close());
    const client = scene.dialWebSocket({ 'Sec-WebSocket-Protocol': 'v4.channel.k8s.io' }, '?ports=80&ports=81');
    const told = ['', '', '', ''];
    const news = new EventEmitter();
    client.on('message', (message: Buffer) => {
      told[message[0] ?? 0] += message.subarray(1).toString('latin1');
      news.emit('told');
    });
    const hears = async (channel: number, text: string): Promise<void> => {
      while (told[channel]?.endsWith(text) !== true) await once(news, 'told');
    };
    const closed = once(client, 'close');
    const pod = await scene.podEnd();
    const byPort = new Map<string, PodConnection>();
    for (const connection of [await pod.connection(), await pod.connection()]) byPort.set(connection.port, connection);
    const [kept, refused] = [byPort.get('80'), byPort.get('81')];
    if (kept === undefined || refused === undefined) return t.fail('both ports are connected');
    // As a kubelet of 1.36 does where its runtime leaves the stream open.
    refused.error.say(words);
    refused.data.stream.reset(5);
    refused.error.stream.reset(5);
    await hears(3, `Q\0${words}`);
    client.send(Buffer.from('\0to one that has no more', 'latin1'));
    client.send(Buffer.from('\x02to nobody', 'latin1'));
    await kept.data.hears('to one that has no more');
    kept.data.say('and back');
    await hears(0, 'and back');
    kept.data.stream.end();
    kept.error.stream.end();
    const [code, reason] = (await closed) as [number, Buffer];
    t.equal(code, ends);
    t.equal(reason.toString(), ends === 1000 ? '' : 'the pod has reset the connection to port 81');
    t.strictSame(told, ['P\0and back', 'P\0', 'Q\0', `Q\0${words}`]);
  });
}

t.test('numbered channels end with 1011 at a cut', async (t) => {
  const scene = await PortForwardScene.open();
  t.teardown(() => scene.at.close());
  const client = scene.dialWebSocket({ 'Sec-WebSocket-Protocol': 'v4.channel.k8s.io' }, '?ports=80');
  const pod = await scene.podEnd();
  const remote = await pod.connection();
  pod.cut('a TCP reset');
  const [code] = await once(client, 'close');
  t.equal(code, 1011);
  t.equal(remote.port, '80');
});
