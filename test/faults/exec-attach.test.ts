import { once } from 'node:events';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../src/gateway/address.js';
import { FakeClock } from '../support/fake-clock.js';
import { GATEWAY_PREFIX, type TestFrontDoorOptions, testMembership } from '../support/front-door.js';
import {
  type ClientEnd,
  podWith,
  RemoteCommandScene,
  type UpstreamEnd,
  WEBSOCKET_CUTS,
  type WebSocketCut,
} from '../support/remote-command-scene.js';
import { untilStalled } from '../support/until-stalled.js';

const FORMS = Object.keys(WEBSOCKET_CUTS) as WebSocketCut[];
const ATTACH = 'attach?container=main&stdin=true&stdout=true&stderr=true';
const ATTACH_TTY = 'attach?container=main&stdin=true&stdout=true&tty=true';
const SHELL = 'exec?command=%2Fbin%2Fbash&command=-l&container=main&stdin=true&stdout=true&tty=true';
const EXEC = 'exec?command=sh&command=-c&command=cat&container=main&stdin=true&stdout=true&stderr=true';
const UPLOAD =
  'exec?command=tar&command=-xmf&command=-&command=-C&command=tmp&container=main&stdin=true&stderr=true&stdout=true';
const DOWNLOAD = 'exec?command=tar&command=cf&command=-&command=f&container=main&stderr=true&stdout=true';
const SUCCESS = '{"metadata":{},"status":"Success"}';
const SIZE = '{"Width":101,"Height":32}\n';

/** A story whose every upstream connection is announced. */
function story(
  name: string,
  tell: (t: Test, scene: RemoteCommandScene) => Promise<void>,
  options: TestFrontDoorOptions = {},
): void {
  t.test(name, async (t) => {
    const scene = await RemoteCommandScene.open(options);
    t.teardown(() => scene.at.close());
    await tell(t, scene);
    t.equal(scene.unannounced, 0, 'no connection to the gateway but the announced ones');
  });
}

/** Both sides, once they have spoken to each other and a size has been said. */
async function begin(
  scene: RemoteCommandScene,
  query: string,
  o: { protocol?: string; headers?: Record<string, string> } = {},
): Promise<{ client: ClientEnd; up: UpstreamEnd }> {
  const client = scene.client(query, o);
  const up = await scene.upstream();
  await once(client.webSocket, 'open');
  up.say(1, '');
  up.say(1, 'first');
  await client.inbox.next();
  await client.inbox.next();
  client.say(4, SIZE);
  client.say(0, 'hello');
  await up.inbox.next();
  await up.inbox.next();
  return { client, up };
}

/** The next connection: the size comes first, then it speaks. */
async function goOn(t: Test, scene: RemoteCommandScene, text: string): Promise<UpstreamEnd> {
  const up = await scene.upstream();
  up.say(1, '');
  t.strictSame(await up.inbox.next(), { channel: 4, text: SIZE }, 'the size is restored');
  up.say(1, text);
  return up;
}

async function endWell(t: Test, client: ClientEnd, up: UpstreamEnd): Promise<void> {
  up.say(3, SUCCESS);
  up.webSocket.close(1000);
  t.equal(await client.closed, 1000);
  t.strictSame(client.inbox.of(3), [SUCCESS]);
}

const failure = (client: ClientEnd): { status: string; message: string } => JSON.parse(client.inbox.of(3)[0] ?? '');

/** After `step` cuts the client has its session again. */
const MOMENTS: Record<string, (t: Test, scene: RemoteCommandScene, o: CutOptions) => Promise<Gap>> = {
  'the first cut': async (t, scene, { form, up }) => {
    up.cut(form);
    return { up: await goOn(t, scene, 'again'), notices: 1 };
  },
  'a second cut': async (t, scene, { form, up }) => {
    up.cut(form);
    const second = await goOn(t, scene, 'between');
    // What is not known to have arrived may be lost; this is.
    second.say(1, 'heard');
    second.webSocket.ping();
    await once(second.webSocket, 'pong');
    second.cut(form);
    return { up: await goOn(t, scene, 'again'), notices: 2 };
  },
  'a cut while resuming': async (t, scene, { form, up }) => {
    up.cut(form);
    (await scene.knock()).refuse();
    const second = await scene.upstream();
    second.say(1, '');
    second.cut(form);
    return { up: await goOn(t, scene, 'again'), notices: 1 };
  },
  'a cut in mid-frame': async (t, scene, { form, up }) => {
    up.cut(form, { inMidFrame: true });
    return { up: await goOn(t, scene, 'again'), notices: 1 };
  },
};

interface CutOptions {
  readonly form: WebSocketCut;
  readonly up: UpstreamEnd;
}

interface Gap {
  readonly up: UpstreamEnd;
  readonly notices: number;
}

for (const form of FORMS) {
  for (const [moment, cut] of Object.entries(MOMENTS)) {
    story(`attach, ${form}, ${moment}`, async (t, scene) => {
      const { client, up } = await begin(scene, ATTACH);
      const gap = await cut(t, scene, { form, up });
      client.say(0, 'typed after');
      t.strictSame(await gap.up.inbox.next(), { channel: 0, text: 'typed after' });
      await endWell(t, client, gap.up);
      const notices = client.inbox.of(2);
      t.equal(notices.length, gap.notices);
      for (const notice of notices) t.match(notice, /^[^\n]*attached to the same container again[^\n]*missing\n$/);
      const between = gap.notices === 2 ? ['between', 'heard'] : [];
      t.strictSame(client.inbox.of(1), ['', 'first', ...between, 'again'], 'every whole message once, no part of one');
      const [firstOfAll] = client.inbox.all.slice(2);
      t.equal(firstOfAll?.channel, 2, 'the notice comes before what comes after the gap');
    });

    story(`a bare shell, ${form}, ${moment}`, async (t, scene) => {
      const { client, up } = await begin(scene, SHELL);
      const gap = await cut(t, scene, { form, up });
      await t.resolves(waitFor(client, /again$/));
      client.say(0, 'ls\r');
      t.strictSame(await gap.up.inbox.next(), { channel: 0, text: 'ls\r' });
      await endWell(t, client, gap.up);
      const lines = client.inbox.of(1).filter((text) => text.includes('connect-gateway-proxy'));
      t.equal(lines.length, gap.notices);
      for (const line of lines) t.match(line, /^\r\n[^\r\n]* after \d+ s; this is a NEW shell [^\r\n]*\r\n$/);
      t.equal(client.inbox.of(1).at(-1), 'again');
      t.strictSame(client.inbox.of(2), []);
    });
  }

  for (const inMidFrame of [false, true]) {
    for (const [name, query, words] of [
      ['a command that reads', EXEC, /may go on in the container without its reader.*stdin has ended.*may be short/],
      ['an upload of cp', UPLOAD, /copy into the container is incomplete.*kubectl cp --retries/],
      ['a download of cp', DOWNLOAD, /the copy is incomplete.*kubectl cp --retries/],
    ] as const) {
      story(
        `exec of ${name}, ${form}${inMidFrame ? ' in mid-frame' : ''}: a Failure, never run again`,
        async (t, scene) => {
          const { client, up } = await begin(scene, query);
          up.cut(form, { inMidFrame });
          t.equal(await client.closed, 1000);
          t.equal(client.inbox.of(3).length, 1);
          t.equal(failure(client).status, 'Failure');
          t.match(failure(client).message, /the gateway cut this session after \d+ s \(close \d+/);
          t.match(failure(client).message, words);
          t.strictSame(client.inbox.of(1), ['', 'first']);
          t.equal(scene.looks.length, 1, 'the cluster is asked once why');
        },
      );
    }
  }
}

async function waitFor(client: ClientEnd, pattern: RegExp): Promise<void> {
  while (!client.inbox.of(1).some((text) => pattern.test(text))) await client.inbox.next();
}

// The oldest tell success by a close without a word, which a cut looks like: upstream, something else is spoken for them.
for (const [protocol, status, spoken] of [
  ['v4.channel.k8s.io', /^\{.*"Failure"/, 'v4.channel.k8s.io'],
  ['v2.channel.k8s.io', /^connect-gateway-proxy: the gateway cut/, 'v4.channel.k8s.io'],
  ['channel.k8s.io', /^connect-gateway-proxy: the gateway cut/, 'v4.channel.k8s.io'],
  ['base64.channel.k8s.io', /^connect-gateway-proxy: the gateway cut/, 'v4.channel.k8s.io'],
  ['v4.base64.channel.k8s.io', /^\{.*"Failure"/, 'v4.base64.channel.k8s.io'],
] as const) {
  story(`${protocol}: notices and Status have its form`, async (t, scene) => {
    const attached = await begin(scene, ATTACH, { protocol });
    attached.up.cut('a TCP reset');
    const again = await goOn(t, scene, 'again');
    t.equal(again.webSocket.protocol, spoken);
    t.equal(attached.client.webSocket.protocol, protocol);
    await waitFor(attached.client, /again/);
    t.match(attached.client.inbox.of(2), [/attached to the same container again/]);
    attached.client.webSocket.close();
    const execd = await begin(scene, EXEC, { protocol });
    execd.up.cut('close 1000');
    await execd.client.closed;
    t.match(execd.client.inbox.of(3), [status]);
  });
}

story('attach at a terminal: the notice stands on a line of its own, on standard output', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH_TTY);
  up.cut('a FIN');
  await endWell(t, client, await goOn(t, scene, 'again'));
  t.match(client.inbox.of(1)[2], /^\r\n[^\r\n]+missing\r\n$/);
  t.strictSame(client.inbox.of(2), []);
});

story('a silent container: the notice comes all the same, and input goes on', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  client.say(0, 'typed in the gap');
  client.say(0xff, '\0');
  const next = knock.accept();
  t.strictSame(
    [await next.inbox.next(), await next.inbox.next(), await next.inbox.next()],
    [
      { channel: 4, text: SIZE },
      { channel: 0, text: 'typed in the gap' },
      { channel: 0xff, text: '\0' },
    ],
  );
  t.equal(client.inbox.of(2).length, 1);
  next.cut('close 1000');
  const third = await goOn(t, scene, 'again');
  t.strictSame(await third.inbox.next(), { channel: 0xff, text: '\0' }, 'the end of stdin is said again');
  await endWell(t, client, third);
});

const OLD = '2020-01-01T00:00:00Z';
const ended = (exitCode: number): unknown => ({
  terminated: { exitCode, startedAt: OLD, finishedAt: '2040-01-01T00:00:00Z' },
});

for (const [name, pod, expected] of [
  ['has ended with 0', podWith(ended(0)), { status: 'Success' }],
  [
    'has ended with 3',
    podWith(ended(3)),
    { reason: 'NonZeroExitCode', details: { causes: [{ reason: 'ExitCode', message: '3' }] } },
  ],
  [
    'has been started anew',
    podWith({ running: { startedAt: '2040-01-01T00:00:00Z' } }, { lastState: ended(4) }),
    { reason: 'NonZeroExitCode', details: { causes: [{ message: '4' }] } },
  ],
  [
    'waits for a start',
    podWith({ waiting: { reason: 'CrashLoopBackOff' } }, { lastState: ended(5) }),
    { reason: 'NonZeroExitCode', details: { causes: [{ message: '5' }] } },
  ],
  [
    'is another one now',
    podWith({ running: { startedAt: '2040-01-01T00:00:00Z' } }),
    { status: 'Failure', message: /does not run any more, or has been started anew/ },
  ],
  [
    'has ended for want of stdin',
    podWith(ended(0), { stdinOnce: true }),
    { status: 'Failure', message: /closed the stdin of its container/ },
  ],
  [
    'is gone with its pod',
    { kind: 'Status', code: 404, reason: 'NotFound' },
    { status: 'Failure', message: /the pod is gone/ },
  ],
  [
    'may not be looked at',
    { kind: 'Status', code: 403, reason: 'Forbidden', message: 'pods "box" is forbidden' },
    { status: 'Failure', message: /cannot be seen: pods "box" is forbidden/ },
  ],
] as const) {
  story(`attach: the container ${name}`, async (t, scene) => {
    const { client, up } = await begin(scene, ATTACH);
    scene.pod = pod;
    up.cut('close 1000');
    await client.closed;
    t.equal(client.inbox.of(3).length, 1);
    t.match(failure(client), expected);
    if ('reason' in expected) t.match(client.inbox.of(2), [/the container has ended since/]);
  });
}

story('a shell whose pod is gone ends with a Failure that says so', async (t, scene) => {
  const { client, up } = await begin(scene, SHELL);
  scene.pod = { kind: 'Status', code: 404, reason: 'NotFound' };
  up.cut('a TCP reset');
  t.equal(await client.closed, 1000);
  t.match(failure(client).message, /the pod is gone/);
});

story('a container that is started anew between two cuts is not attached to', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const second = await goOn(t, scene, 'again');
  await waitFor(client, /again/);
  scene.pod = JSON.parse(JSON.stringify(scene.pod).replace('containerd://one', 'containerd://two'));
  second.cut('a TCP reset');
  t.equal(await client.closed, 1000);
});

story('the agent is lost for a while: the session waits for it, as whoever the client is', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH, { headers: { 'Impersonate-User': 'ann' } });
  const pod = scene.pod;
  const lost = { error: { code: 404, status: 'NOT_FOUND', message: 'cannot connect to agent' } };
  scene.pod = { code: 404, ...lost };
  up.cut('close 1011');
  while (scene.looks.length < 2) await once(scene.at.gateway.server, 'request');
  scene.pod = pod;
  (await scene.knock()).refuse('404 Not Found', lost);
  (await scene.knock()).refuse('401 Unauthorized');
  const knock = await scene.knock();
  t.equal(knock.request.headers.authorization, 'Bearer google-token-2', 'with a fresh token');
  t.equal(knock.request.headers['impersonate-user'], 'ann');
  for (const look of scene.looks) t.equal(look.headers['impersonate-user'], 'ann');
  t.equal(knock.request.url, `${GATEWAY_PREFIX}/api/v1/namespaces/default/pods/box/${ATTACH}`);
  const next = knock.accept();
  next.say(1, 'again');
  await endWell(t, client, next);
});

story('a first answer that tells of trouble is tried again, then passed on', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const trouble = '{"status":"Failure","reason":"InternalError","message":"error dialing backend"}';
  for (let i = 0; i < 3; i++) {
    const next = await scene.upstream();
    next.say(3, trouble);
    next.webSocket.close(1000);
  }
  await client.closed;
  t.strictSame(client.inbox.of(3), [trouble]);
});

story('what Google closes for good, again and again, ends the session with its verdict', async (t, scene) => {
  const { client, up } = await begin(scene, SHELL);
  const said = "generic::permission_denied: Permission 'gkehub.gateway.stream' denied on resource";
  up.webSocket.close(1008, said);
  for (let i = 0; i < 2; i++) (await scene.upstream()).webSocket.close(1008, said);
  t.equal(await client.closed, 1000);
  t.match(failure(client), { code: 403, reason: 'Forbidden', message: /may not open streams.*gatewayAdmin/ });
});

for (const [said, code] of [
  ["generic::permission_denied: Permission 'gkehub.gateway.stream' denied", 'stream-permission-denied'],
  ['generic::failed_precondition: error encountered within the cluster', 'cluster-error'],
  ['agent connection terminated', 'agent-connection-failed'],
  [
    "generic::failed_precondition: failed to connect to the cluster's API Server with response (status=403",
    'stream-rbac-denied',
  ],
  ['cannot connect to agent or connection unexpectedly terminated for (project: 1, membership: prod)', 'agent-lost'],
] as const) {
  story(`a command whose stream is closed with words of ${code} ends with that`, async (t, scene) => {
    const { client, up } = await begin(scene, 'exec?command=make&stdout=true');
    up.webSocket.close(1011, said);
    t.equal(await client.closed, 1000);
    t.match(failure(client), { details: { causes: [{ reason: code }] } });
  });
}

story('what the cluster refuses again and again ends the session with its reason', async (t, scene) => {
  const { client, up } = await begin(scene, SHELL);
  up.cut('a TCP reset');
  for (let i = 0; i < 3; i++) {
    (await scene.knock()).refuse('403 Forbidden', {
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      message: 'pods "box" is forbidden',
    });
  }
  t.equal(await client.closed, 1000);
  t.match(failure(client).message, /pods "box" is forbidden/);
});

story('what is typed between two shells is not given to the new one, and that is said', async (t, scene) => {
  const { client, up } = await begin(scene, SHELL);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  client.say(0, 'rm -rf x\r');
  client.webSocket.ping();
  await once(client.webSocket, 'pong');
  const next = knock.accept();
  t.strictSame(await next.inbox.next(), { channel: 4, text: SIZE });
  next.say(1, '$ ');
  await waitFor(client, /\$ /);
  client.say(0, 'ls\r');
  t.strictSame(await next.inbox.next(), { channel: 0, text: 'ls\r' });
  t.match(client.inbox.of(1)[2], /NEW shell.*what was typed meanwhile was not passed on/);
  client.webSocket.close();
});

story('a gap that lasts: somebody at a shell is told, and may give up', async (t, scene) => {
  const { client, up } = await begin(scene, SHELL);
  up.cut('a TCP reset');
  await scene.knock();
  client.say(0, '\x03');
  await waitFor(client, /waiting for the cluster to open a new shell, Ctrl-C gives up\r\n$/);
  client.say(0, 'x');
  client.say(0, '\x03');
  t.equal(await client.closed, 1000);
  t.match(failure(client).message, /given up at the terminal/);
});

story('the client leaves during the gap: nothing is dialled any more', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  client.webSocket.terminate();
  await new Promise((resolve) => knock.request.socket.resume().once('end', resolve));
  knock.refuse();
  t.pass('the connection under way is given up');
});

story('the daemon stops during the gap: the client hears why', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  await scene.knock();
  const drained = scene.at.door.drain(AbortSignal.abort());
  t.equal(await client.closed, 1000);
  t.match(failure(client).message, /the daemon is stopping/);
  await drained;
});

story('input during a gap is held in order, and no more of it than a little', async (t, scene) => {
  const { client, up } = await begin(scene, ATTACH);
  up.cut('a TCP reset');
  const knock = await scene.knock();
  const total = 600;
  for (let i = 0; i < total; i++) client.say(0, `${String(i).padStart(4, '0')}${'x'.repeat(32_000)}`);
  const waiting = await untilStalled(() => client.webSocket.bufferedAmount);
  t.ok(waiting > 5_000_000, `${waiting} of 19 MB wait at the client`);
  const next = knock.accept();
  next.say(1, 'again');
  await next.inbox.next();
  for (let i = 0; i < total; i++) {
    const { text } = await next.inbox.next();
    if (Number(text.slice(0, 4)) !== i) throw new Error(`message ${i} is ${text.slice(0, 4)}`);
  }
  await endWell(t, client, next);
});

const doubting = new FakeClock();
story(
  'input is not given to an upstream that is about to close',
  async (t, scene) => {
    const { client, up } = await begin(scene, ATTACH);
    up.cut('a TCP reset');
    const closing = await doubting.passUntil(scene.upstream());
    client.say(0, 'typed in the gap');
    await once(closing.socket, 'data');
    // It says that it closes, is heard, and does not for longer than a silent upstream is doubted.
    closing.webSocket.close(1001);
    closing.webSocket.pause();
    await untilStalled(() => closing.socket.readableLength);
    doubting.advance(1200);
    closing.socket.destroy();
    const next = await doubting.passUntil(scene.upstream());
    next.say(1, 'again');
    t.strictSame(await next.inbox.next(), { channel: 4, text: SIZE });
    t.strictSame(await next.inbox.next(), { channel: 0, text: 'typed in the gap' });
    await endWell(t, client, next);
  },
  { clock: doubting },
);

for (const [name, query, onCutoff] of [
  ['exec.onCutoff is end', SHELL, 'end'],
  ['a shell with -c', SHELL.replace('-l', '-c&command=true'), 'reopen'],
  ['no terminal', SHELL.replace('&tty=true', ''), 'reopen'],
  ['a program at a terminal', SHELL.replace('%2Fbin%2Fbash&command=-l', 'top'), 'reopen'],
] as const) {
  story(`${name}: the session ends with a Failure`, async (t, scene) => {
    const { gateway, tokens, door } = scene.at;
    const membership = testMembership(gateway.url + GATEWAY_PREFIX);
    door.update({ membership, address: upstreamAddress(membership.endpoint), tokens, exec: { onCutoff } });
    const { client, up } = await begin(scene, query);
    up.cut('close 1000');
    t.equal(await client.closed, 1000);
    t.match(failure(client).message, /the gateway cut this session/);
  });
}

t.test('a client that leaves teaches nothing about the gateway’s cuts', async (t) => {
  const ages: number[] = [];
  const scene = await RemoteCommandScene.open({ onCut: (ageMs) => ages.push(ageMs) });
  t.teardown(() => scene.at.close());
  const { client, up } = await begin(scene, ATTACH);
  client.webSocket.close(1000);
  await up.closed;
  const { client: other, up: cut } = await begin(scene, ATTACH);
  cut.cut('a TCP reset');
  await scene.knock();
  t.equal(ages.length, 1, 'the cut alone');
  other.webSocket.terminate();
});
