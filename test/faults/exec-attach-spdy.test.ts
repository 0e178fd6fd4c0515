import { once } from 'node:events';
import t, { type Test } from 'tap';
import {
  podWith,
  RemoteCommandScene,
  type UpstreamEnd,
  WEBSOCKET_CUTS,
  type WebSocketCut,
} from '../support/remote-command-scene.js';
import type { SpdyClientEnd, SpdyClientOptions } from '../support/spdy-command-client.js';
import { untilStalled } from '../support/until-stalled.js';

const FORMS = Object.keys(WEBSOCKET_CUTS) as WebSocketCut[];
const ATTACH = 'attach?container=main&stdin=true&stdout=true&stderr=true';
const SHELL = 'exec?command=%2Fbin%2Fbash&command=-l&container=main&stdin=true&stdout=true&tty=true';
const EXEC = 'exec?command=sh&command=-c&command=cat&container=main&stdin=true&stdout=true&stderr=true';
const UPLOAD =
  'exec?command=tar&command=-xmf&command=-&command=-C&command=tmp&container=main&stdin=true&stderr=true&stdout=true';
const DOWNLOAD = 'exec?command=tar&command=cf&command=-&command=f&container=main&stderr=true&stdout=true';
const SUCCESS = '{"metadata":{},"status":"Success"}';
const SIZE = '{"Width":101,"Height":32}\n';

/** A story whose every upstream connection is announced. */
function story(name: string, tell: (t: Test, scene: RemoteCommandScene) => Promise<void>): void {
  t.test(name, async (t) => {
    const scene = await RemoteCommandScene.open();
    t.teardown(() => scene.at.close());
    await tell(t, scene);
    t.equal(scene.unannounced, 0, 'no connection to the gateway but the announced ones');
  });
}

/** Both sides, once they have spoken to each other. */
async function begin(
  scene: RemoteCommandScene,
  query: string,
  o: SpdyClientOptions = {},
): Promise<{ client: SpdyClientEnd; up: UpstreamEnd }> {
  const [client, up] = await Promise.all([scene.spdyClient(query, o), scene.upstream()]);
  up.say(1, '');
  up.say(1, 'first');
  await client.inbox.next();
  client.say(4, SIZE);
  client.say(0, 'hello');
  while ((await up.inbox.next()).text !== 'hello');
  return { client, up };
}

async function goOn(scene: RemoteCommandScene, text: string): Promise<UpstreamEnd> {
  const up = await scene.upstream();
  up.say(1, '');
  up.say(1, text);
  return up;
}

async function waitFor(client: SpdyClientEnd, pattern: RegExp): Promise<void> {
  while (!client.inbox.all.some(({ text }) => pattern.test(text))) await client.inbox.next();
}

async function endWell(t: Test, client: SpdyClientEnd, up: UpstreamEnd): Promise<void> {
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.match(await client.status(), { status: 'Success' });
  t.strictSame(client.inbox.of(3), [SUCCESS], 'one Status and no other');
}

for (const form of FORMS) {
  for (const inMidFrame of [false, true]) {
    const when = `${form}${inMidFrame ? ' in mid-frame' : ''}`;
    for (const [name, query, words] of [
      ['a command that reads', EXEC, /may go on in the container without its reader.*stdin has ended.*may be short/],
      ['an upload of cp', UPLOAD, /copy into the container is incomplete.*kubectl cp --retries/],
      ['a download of cp', DOWNLOAD, /the copy is incomplete.*kubectl cp --retries/],
    ] as const) {
      story(`exec of ${name} over SPDY, ${when}: a Failure, never run again`, async (t, scene) => {
        const stdin = query.includes('stdin=true');
        const [client, up] = await Promise.all([scene.spdyClient(query), scene.upstream()]);
        up.say(1, 'first');
        await client.inbox.next();
        if (stdin) {
          client.say(0, 'hello');
          await up.inbox.next();
        }
        up.cut(form, { inMidFrame });
        const status = await client.status();
        t.equal(status.status, 'Failure');
        t.match(status.message, /the gateway cut this session after \d+ s \(close \d+/);
        t.match(status.message, words);
        t.equal(client.inbox.of(3).length, 1);
        t.strictSame(client.inbox.of(1), ['first']);
        t.ok(
          ['error', 'stdout', 'stderr'].every((type) => client.ended.has(type)),
          'all streams end',
        );
        t.equal(scene.looks.length, 1, 'the cluster is asked once why');
      });
    }

    story(`attach over SPDY, ${when}: it goes on`, async (t, scene) => {
      const { client, up } = await begin(scene, ATTACH);
      up.cut(form, { inMidFrame });
      const again = await goOn(scene, 'again');
      await waitFor(client, /again$/);
      client.say(0, 'typed after');
      t.strictSame(await again.inbox.next(), { channel: 0, text: 'typed after' });
      await endWell(t, client, again);
      t.match(client.inbox.of(2).join(''), /^[^\n]*attached to the same container again[^\n]*missing\n$/);
      t.equal(client.inbox.of(1).join('|'), 'first|again', 'every whole message once, no part of one');
    });

    story(`a bare shell over SPDY, ${when}: a new one, which is told`, async (t, scene) => {
      const { client, up } = await begin(scene, SHELL);
      up.cut(form, { inMidFrame });
      const again = await scene.upstream();
      t.strictSame(await again.inbox.next(), { channel: 4, text: SIZE }, 'the size is restored');
      again.say(1, 'again');
      await waitFor(client, /again$/);
      client.say(0, 'ls\r');
      t.strictSame(await again.inbox.next(), { channel: 0, text: 'ls\r' });
      await endWell(t, client, again);
      t.match(client.inbox.of(1).join(''), /^first\r\n[^\r\n]* after \d+ s; this is a NEW shell [^\r\n]*\r\nagain$/);
    });
  }
}

for (const [protocol, words] of [
  ['v5.channel.k8s.io', /^\{.*"status":"Failure".*the gateway cut this session/],
  ['v4.channel.k8s.io', /^\{.*"status":"Failure".*the gateway cut this session/],
  ['v3.channel.k8s.io', /^connect-gateway-proxy: the gateway cut this session/],
  ['v2.channel.k8s.io', /^connect-gateway-proxy: the gateway cut this session/],
  ['channel.k8s.io', /^connect-gateway-proxy: the gateway cut this session/],
] as const) {
  story(`${protocol} over SPDY: the Status of a cut has its form`, async (t, scene) => {
    const { client, up } = await begin(scene, EXEC, { protocols: [protocol] });
    t.equal(client.protocol, protocol);
    up.cut('close 1000');
    await client.closed;
    t.match(client.inbox.of(3).join(''), words);
  });
}

story('what is sent during a gap is held in order, and the end of stdin is said again', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  client.say(0, 'typed in the gap');
  client.endStdin();
  const next = knock.accept();
  const said: string[] = [];
  while (said.at(-1) !== '255 \0') {
    const { channel, text } = await next.inbox.next();
    said.push(`${channel} ${text}`);
  }
  t.equal(said.filter((line) => line.startsWith('0 ')).join(), '0 typed in the gap');
  next.say(1, 'x');
  await endWell(t, client, next);
});

story('input during a gap waits at the client once there is more than a little', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  const total = 600;
  for (let i = 0; i < total; i++) client.say(0, `${String(i).padStart(4, '0')}${'x'.repeat(32_000)}`);
  const waiting = await untilStalled(() => client.socket.writableLength);
  t.ok(waiting > 5_000_000, `${waiting} of 19 MB wait at the client`);
  const next = knock.accept();
  next.say(1, 'again');
  let text = '';
  while (text.length < total * 32_004) {
    const { channel, text: more } = await next.inbox.next();
    if (channel === 0) text += more;
  }
  const numbers = [...text.matchAll(/(\d{4})x{32000}/g)].map(([, number]) => Number(number));
  t.strictSame(
    numbers,
    Array.from({ length: total }, (_, index) => index),
  );
  await endWell(t, client, next);
});

story('the container has ended during the gap: its exit code is told', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  const state = {
    terminated: { exitCode: 3, startedAt: '2020-01-01T00:00:00Z', finishedAt: '2040-01-01T00:00:00Z' },
  };
  scene.pod = podWith(state);
  up.cut('a FIN');
  t.match(await client.status(), { reason: 'NonZeroExitCode', details: { causes: [{ message: '3' }] } });
  t.match(client.inbox.of(2).join(''), /the container has ended since/);
});

story('the client leaves during the gap: nothing is dialled any more', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  client.socket.destroy();
  await new Promise((resolve) => knock.request.socket.resume().once('end', resolve));
  knock.refuse();
  t.pass('the connection under way is given up');
});

for (const gap of [false, true]) {
  story(`the daemon stops ${gap ? 'during a gap' : 'while it is well'}: the client hears why`, async (t, scene) => {
    const { client, up } = await begin(scene, ATTACH);
    if (gap) {
      up.cut('a TCP reset');
      await scene.knock();
    }
    const drained = scene.at.door.drain(AbortSignal.abort());
    t.match(await client.status(), { status: 'Failure', message: /the daemon is stopping/ });
    client.socket.destroy();
    await drained;
  });
}

story('a client that breaks SPDY ends its session alone', async (t, scene) => {
  const { client, up } = await begin(scene, EXEC);
  // A control frame of SPDY 2.
  client.socket.write(Buffer.from([0x80, 0x02, 0, 1, 0, 0, 0, 0]));
  await up.closed;
  await client.closed;
  client.socket.destroy();
  const other = await begin(scene, EXEC);
  await endWell(t, other.client, other.up);
  t.pass('the daemon goes on');
  if (!client.socket.destroyed) await once(client.socket, 'close');
});
