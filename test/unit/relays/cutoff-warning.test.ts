import { once } from 'node:events';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import type { OnCutoff } from '../../../src/kubernetes/remote-session.js';
import { CutoffWarning } from '../../../src/relays/remote-command/cutoff-warning.js';
import { FakeClock } from '../../support/fake-clock.js';
import { GATEWAY_PREFIX, testMembership } from '../../support/front-door.js';
import { RemoteCommandScene } from '../../support/remote-command-scene.js';

const MINUTE = 60_000;
const CUTOFF_MS = 9000;
const WARN_BEFORE_MS = 2000;
const WARN_AT_MS = CUTOFF_MS - WARN_BEFORE_MS;
const SHELL = 'exec?command=sh&container=main&stdin=true&stdout=true&tty=true';

interface Scene {
  readonly scene: RemoteCommandScene;
  readonly clock: FakeClock;
}

/** A gateway that is expected to cut after 9 seconds, sooner than pings are sent, and terminals that are warned 2 before. */
function story(
  name: string,
  tell: (t: Test, scene: Scene) => Promise<void>,
  { onCutoff = 'reopen', warnBeforeMs = WARN_BEFORE_MS }: { onCutoff?: OnCutoff; warnBeforeMs?: number } = {},
): void {
  t.test(name, async (t) => {
    const clock = new FakeClock();
    const scene = await RemoteCommandScene.open({ clock, cutoffMs: CUTOFF_MS });
    t.teardown(() => scene.at.close());
    const { gateway, tokens, door } = scene.at;
    const membership = testMembership(gateway.url + GATEWAY_PREFIX);
    const exec = { onCutoff, warnBeforeMs };
    door.update({ membership, address: upstreamAddress(membership.endpoint), tokens, exec });
    await tell(t, { scene, clock });
  });
}

for (const [name, query, words, onCutoff] of [
  ['a shell', SHELL, /in 2 s: a new shell takes its place/, 'reopen'],
  ['a shell that is not reopened', SHELL, /in 2 s: it ends then, and its command goes on/, 'end'],
  ['another program', SHELL.replace('=sh', '=top'), /in 2 s: it ends then/, 'reopen'],
  ['an attached terminal', 'attach?stdin=true&stdout=true&tty=true', /in 2 s: it is attached to again/, 'reopen'],
] as const) {
  story(
    `${name} is warned once, on a line of its own, for each upstream`,
    async (t, { scene, clock }) => {
      const client = scene.client(query);
      const up = await scene.upstream();
      await once(client.webSocket, 'open');
      clock.advance(WARN_AT_MS - 1);
      up.say(1, 'before');
      t.equal((await client.inbox.next()).text, 'before');
      clock.advance(1);
      const { channel, text } = await client.inbox.next();
      t.equal(channel, 1);
      t.match(text, /^\r\nconnect-gateway-proxy: [^\r\n]+\r\n$/);
      t.match(text, words);
      clock.advance(1000);
      up.say(1, 'after');
      t.equal((await client.inbox.next()).text, 'after', 'nothing more was said');
      client.webSocket.close();
    },
    { onCutoff },
  );
}

story('a reopened shell is warned again', async (t, { scene, clock }) => {
  const client = scene.client(SHELL);
  const up = await scene.upstream();
  await once(client.webSocket, 'open');
  clock.advance(WARN_AT_MS);
  t.match((await client.inbox.next()).text, /expected to cut/);
  up.cut('a TCP reset');
  const next = await clock.passUntil(scene.upstream());
  next.say(1, '$ ');
  t.match((await client.inbox.next()).text, /NEW shell/);
  await client.inbox.next();
  clock.advance(WARN_AT_MS);
  t.match((await client.inbox.next()).text, /expected to cut/);
  client.webSocket.close();
});

story('a terminal over SPDY is warned as well', async (t, { scene, clock }) => {
  const [client, up] = await Promise.all([scene.spdyClient(SHELL), scene.upstream()]);
  up.say(1, '$ ');
  t.equal((await client.inbox.next()).text, '$ ');
  clock.advance(WARN_AT_MS);
  t.match(await client.inbox.next(), { channel: 1, text: /expected to cut this session/ });
  client.socket.end();
});

story('a command without a terminal is never told anything', async (t, { scene, clock }) => {
  const client = scene.client('exec?command=cat&stdin=true&stdout=true&stderr=true');
  const up = await scene.upstream();
  await once(client.webSocket, 'open');
  clock.advance(WARN_AT_MS + 1000);
  up.say(1, 'data');
  t.strictSame(await client.inbox.next(), { channel: 1, text: 'data' });
  client.webSocket.close();
});

story(
  'without the setting nobody is warned',
  async (t, { scene, clock }) => {
    const client = scene.client(SHELL);
    const up = await scene.upstream();
    await once(client.webSocket, 'open');
    clock.advance(WARN_AT_MS + 1000);
    up.say(1, 'data');
    t.equal((await client.inbox.next()).text, 'data');
    client.webSocket.close();
  },
  { warnBeforeMs: 0 },
);

t.test('what is learned meanwhile moves the warning', async (t) => {
  const clock = new FakeClock();
  const told: number[] = [];
  let cutoff = 20 * MINUTE;
  const warning = new CutoffWarning({
    clock,
    warnBeforeMs: MINUTE,
    cutoffMs: () => cutoff,
    tell: (leftMs) => told.push(leftMs),
  });
  warning.begin();
  cutoff = 30 * MINUTE;
  clock.advance(28 * MINUTE);
  t.strictSame(told, []);
  clock.advance(MINUTE);
  t.strictSame(told, [MINUTE]);
  warning.begin();
  warning.stop();
  clock.advance(60 * MINUTE);
  t.equal(told.length, 1);
  t.equal(clock.pendingTimers, 0);
  cutoff = 30_000;
  warning.begin();
  clock.advance(0);
  t.strictSame(told, [MINUTE, 30_000], 'a cutoff that is nearer than that is told of at once');
});
