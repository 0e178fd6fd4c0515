import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { RecordedRequest } from '../../src/emulator/emulator.js';
import { runCommand } from '../support/command-io.js';
import { DaemonClient } from '../support/daemon-client.js';
import { daemonScene, emulatedMembership } from '../support/daemon-scene.js';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { HastyClock } from '../support/hasty-clock.js';
import { closedPort } from '../support/token-endpoint.js';

const MAPS = '/api/v1/namespaces/default/configmaps';
const PODS = '/api/v1/namespaces/default/pods';

function bearer({ rawHeaders }: RecordedRequest): string | undefined {
  return rawHeaders[rawHeaders.findIndex((name) => name.toLowerCase() === 'authorization') + 1];
}

t.test('streams outlive the token that they began with, and every resume has the present one', async (t) => {
  const folder = t.testdir({});
  const demo = await startDemoDaemon({ folder });
  t.teardown(() => demo.close());
  const { emulator } = demo;
  const client = new DaemonClient(demo.kubeconfig, 'edge-store');
  const watch = await client.stream(`${MAPS}?watch=1`);
  await watch.next();
  const name = JSON.parse((await client.request(PODS)).body).items.find(
    ({ metadata }: { metadata: { name: string } }) => metadata.name.startsWith('hello'),
  ).metadata.name as string;
  const log = await client.stream(`${PODS}/${name}/log?follow=true`);
  await log.next();
  const attached = client.webSocket(`${PODS}/box/attach?stdout=true&stderr=true&stdin=true`);
  await once(attached, 'open');
  const user = 'dev@example.com';
  const token = emulator.issueToken({ user });
  writeFileSync(join(folder, 'token'), token);
  // The old one is refused from now on, and what began with it is cut.
  emulator.revokeToken(emulator.accessToken);
  const resumed = new Map<string, string | undefined>();
  const all = new Promise<void>((resolve) => {
    const stop = emulator.onRequest((request) => {
      const kind = /watch=1|\/log\?|\/attach\?/.exec(request.target)?.[0];
      if (kind !== undefined) resumed.set(kind, bearer(request));
      // Who was faster than the news of the file has been refused, and asks again.
      if ([...resumed.values()].filter((used) => used === `Bearer ${token}`).length < 3) return;
      stop();
      resolve();
    });
  });
  t.equal(emulator.faults.cutNow('reset'), 3);
  await all;
  t.strictSame([...resumed.keys()].sort(), ['/attach?', '/log?', 'watch=1']);
  const metadata = { name: 'after', namespace: 'default' };
  await client.request(MAPS, { method: 'POST', body: { apiVersion: 'v1', kind: 'ConfigMap', metadata } });
  for (let line = await watch.next(); !line?.includes('"after"'); line = await watch.next()) t.ok(line);
  watch.leave();
  log.leave();
  attached.terminate();
});

t.test('another login in the file: the next request is somebody else’s, and the switch is told', async (t) => {
  const clock = new HastyClock(1);
  const bare = await daemonScene(t, ['prod'], {
    clock,
    env: { GOOGLE_APPLICATION_CREDENTIALS: join(t.testdirName, 'adc.json') },
  });
  const { emulator, folder } = bare;
  const login = (user: string): void =>
    writeFileSync(
      join(folder, 'adc.json'),
      JSON.stringify({
        ...{ type: 'authorized_user', client_id: 'c', client_secret: 's' },
        refresh_token: emulator.issueRefreshToken({ user }),
        token_uri: `${emulator.plainUrl}/token`,
      }),
    );
  login('dev@example.com');
  bare.writeConfig({ identities: { default: { source: 'auto' } } });
  const daemon = await bare.start();
  const client = new DaemonClient(daemon.kubeconfigFile, 'prod');
  const status = async (): Promise<string> =>
    (await runCommand(['status'], { folder: join(folder, 'none'), stateDir: join(folder, 'state') })).out;
  t.equal((await client.request(MAPS)).status, 200);
  t.match(await status(), 'default [auto: adc]: dev@example.com, token expires in 59m');
  t.match(bare.logs.join(''), /"source":"adc","msg":"application default credentials/, 'the choice is logged');
  const asOps = async (): Promise<boolean> => {
    await client.request(MAPS);
    const last = emulator.requests.findLast(({ membership }) => membership === 'prod');
    const token = (last === undefined ? '' : bearer(last))?.replace('Bearer ', '') ?? '';
    const info = await fetch(`${emulator.plainUrl}/tokeninfo?access_token=${token}`);
    return ((await info.json()) as { email: string }).email === 'ops@example.com';
  };
  login('ops@example.com');
  await clock.faster(20, async () => {
    while (!(await asOps()));
  });
  t.match(await status(), 'default [auto: adc]: ops@example.com');
  t.match(bare.logs.join(''), /credentials have changed|principal has changed/);
});

t.test('what is being read for one principal is not shared with the next', async (t) => {
  const { emulator, folder, start } = await daemonScene(t, ['prod']);
  const client = new DaemonClient((await start()).kubeconfigFile, 'prod');
  const asked = (): (string | undefined)[] =>
    emulator.requests.filter(({ target }) => target.endsWith('/apis/hold')).map(bearer);
  const before = [await client.stream('/apis/hold'), await client.stream('/apis/hold')];
  t.strictSame(asked(), [`Bearer ${emulator.accessToken}`], 'two clients, one request');
  const token = emulator.issueToken({ user: 'ops@example.com' });
  writeFileSync(join(folder, 'token'), token);
  const after = [];
  while (asked().length < 2) after.push(await client.stream('/apis/hold'));
  t.equal(asked()[1], `Bearer ${token}`, 'the first is still being answered');
  after.push(await client.stream('/apis/hold'));
  t.equal(asked().length, 2, 'and the next client joins the one of the present principal');
  for (const reader of [...before, ...after]) reader.leave();
});

/** A way to the emulator that can be opened later. */
async function network(t: Test, target: string): Promise<{ url: string; up(): Promise<void> }> {
  const url = (await closedPort()).replace('http:', 'https:');
  const server: Server = createServer((socket) => {
    const onward = connect(Number(new URL(target).port), '127.0.0.1');
    for (const one of [socket, onward]) one.on('error', () => {});
    socket.pipe(onward).pipe(socket);
    socket.on('close', () => onward.destroy());
  });
  t.teardown(() => server.close());
  return {
    url,
    up: async () => {
      server.listen(Number(new URL(url).port), '127.0.0.1');
      await once(server, 'listening');
      t.ok((server.address() as AddressInfo).port);
    },
  };
}

t.test('started before the network, before a login and before there is a cluster', async (t) => {
  const clock = new HastyClock(20);
  const bare = await daemonScene(t, [], { clock });
  const { emulator, folder } = bare;
  const { url, up } = await network(t, emulator.url);
  rmSync(join(folder, 'token'));
  bare.writeConfig({
    endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, iamcredentials: url, caFile: 'ca.pem' },
  });
  const daemon = await bare.start();
  const status = async () =>
    await runCommand(['status'], { folder: join(folder, 'none'), stateDir: join(folder, 'state') });
  t.match(
    await status(),
    { code: 0, out: /: ready,.*memberships {2}none yet/s },
    'it runs, and is ready for what comes',
  );
  const until = (what: () => boolean): Promise<void> =>
    clock.faster(200, async () => {
      while (!what()) await setImmediate();
    });
  const heard = (words: RegExp) => (): boolean => bare.logs.some((line) => words.test(line));
  await until(heard(/could not be listed: cannot read the token file/));
  writeFileSync(join(folder, 'token'), emulator.accessToken);
  await until(heard(/could not be listed: 127\.0\.0\.1:\d+: ECONNREFUSED/));
  await up();
  emulator.setMemberships([emulatedMembership('late')]);
  await until(() => daemon.memberships().some(({ url: served }) => served !== undefined));
  const client = new DaemonClient(daemon.kubeconfigFile, 'late');
  t.match(await client.request(MAPS), { status: 200, body: /^late / });
});
