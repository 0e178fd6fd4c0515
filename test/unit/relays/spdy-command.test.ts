import { once } from 'node:events';
import { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { parseRemoteSession } from '../../../src/kubernetes/remote-session.js';
import { protocolOf } from '../../../src/relays/remote-command/client.js';
import { SpdyCommandClient, STREAM_CREATION_TIMEOUT_MS } from '../../../src/relays/remote-command/spdy-client.js';
import { SpdySession } from '../../../src/spdy/session.js';
import { FakeClock } from '../../support/fake-clock.js';
import { GATEWAY_PREFIX } from '../../support/front-door.js';
import { pairsOf } from '../../support/raw-http.js';
import { RemoteCommandScene, type UpstreamEnd } from '../../support/remote-command-scene.js';
import type { SpdyClientEnd, SpdyClientOptions } from '../../support/spdy-command-client.js';
import { untilStalled } from '../../support/until-stalled.js';

const EXEC = 'exec?command=cat&container=main&stdin=true&stdout=true&stderr=true';
const TTY = 'exec?command=top&container=main&stdin=true&stdout=true&tty=true';
const SIZE = '{"Width":101,"Height":32}\n';
const SUCCESS = '{"metadata":{},"status":"Success"}';
const EXIT_3 =
  '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}';

function story(name: string, tell: (t: Test, scene: RemoteCommandScene) => Promise<void>): void {
  t.test(name, async (t) => {
    const scene = await RemoteCommandScene.open();
    t.teardown(() => scene.at.close());
    await tell(t, scene);
    t.equal(scene.unannounced, 0, 'no connection to the gateway but the announced ones');
  });
}

async function both(
  scene: RemoteCommandScene,
  query: string,
  o: SpdyClientOptions = {},
): Promise<{ client: SpdyClientEnd; up: UpstreamEnd }> {
  const [client, up] = await Promise.all([scene.spdyClient(query, o), scene.upstream()]);
  return { client, up };
}

for (const method of ['POST', 'GET'] as const) {
  story(
    `${method}: upstream is asked first, over WebSocket, in the client's words but those of SPDY`,
    async (t, scene) => {
      const knocked = scene.knock();
      const answered = scene.spdyClient(EXEC, {
        method,
        headers: { 'Kubectl-Session': 's', 'Impersonate-User': 'ann' },
      });
      const knock = await knocked;
      t.equal(await Promise.race([answered.then(() => 'answered'), Promise.resolve('waits')]), 'waits');
      t.equal(knock.request.method, 'GET');
      t.equal(knock.request.url, `${GATEWAY_PREFIX}/api/v1/namespaces/default/pods/box/${EXEC}`);
      t.match(knock.request.headers, {
        upgrade: 'websocket',
        'sec-websocket-protocol': 'v5.channel.k8s.io,v4.channel.k8s.io',
        'kubectl-session': 's',
        'impersonate-user': 'ann',
        authorization: 'Bearer google-token-1',
      });
      const names = pairsOf(knock.request.rawHeaders).map(([name]) => name.toLowerCase());
      t.notOk(names.includes('x-stream-protocol-version') || names.includes('content-length'));
      const up = knock.accept();
      const client = await answered;
      t.match(client.head, /^HTTP\/1\.1 101 [^\r]*\r\nConnection: Upgrade\r\nUpgrade: SPDY\/3\.1\r\n/);
      up.say(3, SUCCESS);
      up.webSocket.close(1000);
      t.match(await client.status(), { status: 'Success' });
    },
  );
}

for (const [offer, chosen] of [
  [['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v3.channel.k8s.io'], 'v5.channel.k8s.io'],
  [['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'], 'v4.channel.k8s.io'],
  [['v9.channel.k8s.io, v3.channel.k8s.io,v2.channel.k8s.io', 'channel.k8s.io'], 'v3.channel.k8s.io'],
  [['v2.channel.k8s.io'], 'v2.channel.k8s.io'],
  [['channel.k8s.io,v4.channel.k8s.io'], 'channel.k8s.io'],
] as const) {
  story(`of ${offer.join(' + ')} ${chosen} is taken, and Status has its form`, async (t, scene) => {
    const json = /^v[45]/.test(chosen);
    for (const status of [SUCCESS, EXIT_3]) {
      const { client, up } = await both(scene, EXEC, { protocols: offer });
      t.equal(client.protocol, chosen);
      up.say(1, 'out');
      up.say(2, 'err');
      up.say(3, status);
      up.webSocket.close(1000);
      await client.closed;
      t.strictSame([client.inbox.of(1), client.inbox.of(2)], [['out'], ['err']]);
      const plain = status === SUCCESS ? '' : 'command terminated with non-zero exit code: exit code 3';
      t.equal(client.inbox.of(3).join(''), json ? status : plain);
      t.ok(
        ['error', 'stdin', 'stdout', 'stderr'].every((type) => client.ended.has(type)),
        'every stream ends',
      );
    }
  });
}

story('what is not known is refused as an API server refuses it', async (t, scene) => {
  const unknown = await scene.spdyClient(EXEC, { protocols: ['v9.channel.k8s.io', 'portforward.k8s.io'] });
  t.match(unknown.head, /^HTTP\/1\.1 403 /);
  t.strictSame(
    [...unknown.head.matchAll(/X-Accepted-Stream-Protocol-Versions: (\S+)/g)].map(([, name]) => name),
    ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'],
  );
  t.match(unknown.body, /unable to negotiate protocol: client supports \[v9.channel.k8s.io portforward.k8s.io\]/);
  const silent = await scene.spdyClient(EXEC, { protocols: [] });
  t.match(silent.head, /^HTTP\/1\.1 400 /);
  t.match(silent.body, 'X-Stream-Protocol-Version is required');
});

story('a refusal of upstream reaches the client as a Status', async (t, scene) => {
  for (const [status, body, words] of [
    [
      '403 Forbidden',
      { kind: 'Status', status: 'Failure', message: 'pods "box" is forbidden' },
      'pods "box" is forbidden',
    ],
    [
      '404 Not Found',
      { error: { code: 404, status: 'NOT_FOUND', message: 'cannot connect to agent' } },
      '"kind":"Status"',
    ],
  ] as const) {
    const answered = scene.spdyClient(EXEC);
    (await scene.knock()).refuse(status, body);
    const client = await answered;
    t.notOk(client.accepted);
    t.match(client.body, JSON.parse(client.body).message.includes('box') ? JSON.stringify(words).slice(1, -1) : words);
  }
});

story('streams are channels in both directions, and stdin ends alone', async (t, scene) => {
  const { client, up } = await both(scene, TTY);
  const size = '{"Width":80,"Height":24}\n';
  client.say(4, size);
  t.strictSame(await up.inbox.next(), { channel: 4, text: size });
  client.say(0, 'ls\r');
  t.strictSame(await up.inbox.next(), { channel: 0, text: 'ls\r' });
  client.endStdin();
  t.strictSame(await up.inbox.next(), { channel: 0xff, text: '\0' }, 'CLOSE of stdin');
  up.say(1, '');
  up.say(1, 'listing');
  t.strictSame(await client.inbox.next(), { channel: 1, text: 'listing' }, 'a greeting of nothing is nothing');
  up.say(2, 'nobody asked for this');
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.match(await client.status(), { status: 'Success' });
  t.strictSame(client.inbox.of(2), []);
});

story('a cluster that only has v4: all goes on but the end of stdin, which it cannot be told', async (t, scene) => {
  scene.speaks = ['v4.channel.k8s.io'];
  const { client, up } = await both(scene, EXEC);
  t.equal(up.webSocket.protocol, 'v4.channel.k8s.io');
  client.say(0, 'in');
  t.strictSame(await up.inbox.next(), { channel: 0, text: 'in' });
  client.endStdin();
  up.webSocket.ping();
  await once(up.webSocket, 'pong');
  up.say(1, 'out');
  up.say(3, EXIT_3);
  up.webSocket.close(1000);
  t.match(await client.status(), { reason: 'NonZeroExitCode' });
  t.strictSame(
    up.inbox.all.map(({ channel }) => channel),
    [0],
  );
});

story('a gateway that refuses the offer for its subprotocols is asked for v4 alone', async (t, scene) => {
  const answered = scene.spdyClient(EXEC);
  (await scene.knock()).refuseSubprotocols();
  const second = await scene.knock();
  t.equal(second.request.headers['sec-websocket-protocol'], 'v4.channel.k8s.io');
  const up = second.accept();
  const client = await answered;
  t.ok(client.accepted);
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.match(await client.status(), { status: 'Success' });
});

story('a stream may speak before the last is there; unknown and repeated ones are refused', async (t, scene) => {
  const { client, up } = await both(scene, EXEC, { streams: ['error', 'stdin'] });
  client.say(0, 'early ');
  client.endStdin();
  await t.rejects(client.open('smoke'), /reset: 3/);
  await t.rejects(client.open('error'), /reset: 3/);
  t.equal(up.inbox.all.length, 0);
  await client.open('stdout');
  await client.open('stderr');
  t.strictSame(await up.inbox.next(), { channel: 0, text: 'early ' });
  t.strictSame(await up.inbox.next(), { channel: 0xff, text: '\0' });
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.match(await client.status(), { status: 'Success' });
});

t.test('streams that do not come are not waited for without end', async (t) => {
  const clock = new FakeClock();
  const remote = parseRemoteSession(`/api/v1/namespaces/default/pods/box/${EXEC}`);
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const client = new SpdyCommandClient({
    socket,
    head: Buffer.alloc(0),
    protocol: protocolOf('v4.channel.k8s.io'),
    remote,
    clock,
  });
  const ready = t.rejects(client.ready, /timed out .* error, stdin, stdout, stderr did not come within 30 s/);
  clock.advance(STREAM_CREATION_TIMEOUT_MS);
  await ready;
  socket.destroy();
});

for (const pauseAt of [1, 2, 3, 7]) {
  for (const pieceBytes of [1000, 16 * 1024, 70_000]) {
    t.test(
      `input in pieces of ${pieceBytes} bytes, held back at every message ${pauseAt}: no wake-up is lost`,
      async (t) => {
        const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
        const client = new SpdyCommandClient({
          socket,
          head: Buffer.alloc(0),
          protocol: protocolOf('v4.channel.k8s.io'),
          remote: parseRemoteSession(`/api/v1/namespaces/default/pods/box/${TTY}`),
          clock: new FakeClock(),
        });
        const sent: Buffer[] = [];
        const peer = new SpdySession({
          role: 'client',
          write: (frame) => sent.push(Buffer.concat(frame)) > 0,
          pause: () => {},
          resume: () => {},
        });
        const streams = ['error', 'stdin', 'stdout', 'resize'].map((type) => peer.openStream([['streamtype', type]]));
        const [, stdin, , resize] = streams;
        for (let i = 0; i < 40; i++) {
          stdin?.write(Buffer.alloc(32_004, i));
          resize?.write(Buffer.from(SIZE));
        }
        stdin?.end();
        const bytes = Buffer.concat(sent);
        for (let at = 0; at < bytes.length; at += pieceBytes) socket.push(bytes.subarray(at, at + pieceBytes));
        await client.ready;
        const came: Buffer[] = [];
        let [messages, sizes] = [0, ''];
        await new Promise<void>((resolve) => {
          client.listen({
            onMessage(message) {
              if (message[0] === 0) came.push(message.subarray(1));
              if (message[0] === 4) {
                sizes += message.toString('utf8', 1);
                if (!sizes.endsWith('}\n')) t.fail(`a part of a size: ${message.toString('utf8', 1)}`);
              }
              if (message[0] === 0xff) resolve();
              messages++;
              if (messages % pauseAt !== 0) return;
              client.pause();
              // Now and then it is held back again in the same turn in which it may go on.
              setImmediate(() => {
                client.resume();
                if (messages % (2 * pauseAt) !== 0) return;
                client.pause();
                process.nextTick(() => client.resume());
              });
            },
            onDrain() {},
            onClose() {},
            onError: (error) => t.fail(error.message),
          });
        });
        const expected = Buffer.concat(Array.from({ length: 40 }, (_, i) => Buffer.alloc(32_004, i)));
        t.equal(Buffer.concat(came).compare(expected), 0, 'all of it, in order');
        t.equal(sizes, SIZE.repeat(40), 'sizes come whole');
        socket.destroy();
      },
    );
  }
}

story('the client leaves: upstream is closed', async (t, scene) => {
  const polite = await both(scene, EXEC);
  polite.client.say(0, 'last words');
  polite.client.socket.end();
  const [code] = (await polite.up.closed) as [number];
  t.equal(code, 1000);
  t.strictSame(polite.up.inbox.of(0), ['last words']);
  const rude = await both(scene, EXEC);
  rude.client.socket.destroy();
  await rude.up.closed;
});

story('a client that does not read holds the command back', async (t, scene) => {
  const { client, up } = await both(scene, EXEC);
  client.socket.pause();
  const chunk = Buffer.alloc(32 * 1024, 1);
  let sent = 0;
  let enough = false;
  const push = (): void => {
    if (enough || sent >= 300 * 1024 * 1024) return;
    sent += chunk.length;
    up.webSocket.send(chunk, push);
  };
  push();
  await untilStalled(() => sent);
  enough = true;
  t.ok(sent < 60 * 1024 * 1024, `${sent} bytes were taken`);
  client.socket.resume();
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.match(await client.status(), { status: 'Success' }, 'and goes on where it was');
});

story('a command that does not read holds the client back', async (t, scene) => {
  const { client, up } = await both(scene, EXEC);
  up.webSocket.pause();
  const total = 100 * 1024 * 1024;
  for (let sent = 0; sent < total; sent += 1024 * 1024) client.say(0, 'x'.repeat(1024 * 1024));
  const before = await untilStalled(() => client.socket.writableLength);
  t.ok(before > 40 * 1024 * 1024, `${before} bytes wait at the client`);
  client.socket.destroy();
  up.webSocket.terminate();
});

for (const [offered, speaks, spoken] of [
  ['v4.channel.k8s.io', ['v5.channel.k8s.io'], 'v5.channel.k8s.io'],
  ['v4.base64.channel.k8s.io', ['v5.channel.k8s.io', 'v4.channel.k8s.io'], 'v5.channel.k8s.io'],
  ['base64.channel.k8s.io', ['v5.channel.k8s.io'], 'v5.channel.k8s.io'],
  ['base64.channel.k8s.io', ['v4.channel.k8s.io', 'base64.channel.k8s.io'], 'v4.channel.k8s.io'],
  ['channel.k8s.io', ['channel.k8s.io'], 'channel.k8s.io'],
  ['v2.channel.k8s.io', ['v4.channel.k8s.io'], 'v4.channel.k8s.io'],
  ['v5.channel.k8s.io', ['v4.channel.k8s.io'], 'v4.channel.k8s.io'],
] as const) {
  for (const refuses of [false, true]) {
    story(
      `a WebSocket client of ${offered}, a cluster of ${speaks.join(' and ')} that ${refuses ? 'refuses' : 'leaves out'} others`,
      async (t, scene) => {
        scene.speaks = speaks;
        const client = scene.client(EXEC, { protocol: offered });
        let up: UpstreamEnd | undefined;
        while (up === undefined) {
          const knock = await scene.knock();
          const asked = (knock.request.headers['sec-websocket-protocol'] ?? '').split(',');
          const known = asked.some((name) => speaks.some((one) => one === name));
          if (known) up = knock.accept();
          else if (refuses) knock.refuseSubprotocols();
          else knock.accept();
        }
        await once(client.webSocket, 'open');
        t.equal(client.webSocket.protocol, offered);
        t.equal(up.webSocket.protocol, spoken);
        up.say(1, 'out\xff');
        t.strictSame(await client.inbox.next(), { channel: 1, text: 'out\xff' });
        client.say(0, 'in\xfe');
        t.strictSame(await up.inbox.next(), { channel: 0, text: 'in\xfe' });
        const upJson = /^v[45]/.test(spoken);
        const failed = upJson ? EXIT_3 : 'command terminated with non-zero exit code: exit code 3';
        up.say(3, failed);
        up.webSocket.close(1000);
        t.equal(await client.closed, 1000);
        const [told = ''] = client.inbox.of(3);
        if (/^v[45]/.test(offered)) t.equal(JSON.parse(told).reason, 'NonZeroExitCode');
        else t.equal(told, 'command terminated with non-zero exit code: exit code 3');
      },
    );
  }
}

story('success by silence, where nothing else is spoken', async (t, scene) => {
  scene.speaks = ['channel.k8s.io'];
  const client = scene.client(EXEC, { protocol: 'channel.k8s.io' });
  const up = await scene.upstream();
  await once(client.webSocket, 'open');
  up.webSocket.close(1000);
  t.equal(await client.closed, 1000);
  t.strictSame(client.inbox.of(3), []);
});
