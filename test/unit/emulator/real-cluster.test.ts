import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { startEmulator } from '../../../src/emulator/emulator.js';
import { createRealCluster } from '../../../src/emulator/real-cluster.js';
import { GoogleBench, memberOf, openGoogleBench, PROD } from './google-bench.js';

interface KubeconfigParts {
  readonly server: string;
  readonly ca?: string;
  readonly user: Readonly<Record<string, unknown>>;
}

function writeKubeconfig(folder: string, parts: KubeconfigParts): string {
  const file = join(folder, 'kubeconfig');
  const ca = parts.ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(parts.ca).toString('base64') };
  writeFileSync(
    file,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'here',
      contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server: parts.server, ...ca } }],
      users: [{ name: 'u', user: parts.user }],
    }),
  );
  return file;
}

/** An emulator whose `prod` is, by kubeconfig, a cluster elsewhere: the far emulator's data path plays the API server. */
async function openBench(t: Test): Promise<{ near: GoogleBench; far: GoogleBench }> {
  const far = await openGoogleBench(t);
  const { url, caCertificate, accessToken } = far.emulator;
  const folder = t.testdir();
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, `${accessToken}\n`);
  const kubeconfig = writeKubeconfig(folder, { server: `${url}${PROD}/`, ca: caCertificate, user: { tokenFile } });
  const cluster = await createRealCluster({ kubeconfig });
  const emulator = await startEmulator({ memberships: [memberOf(cluster)], clock: systemClock, log: silentLogger });
  t.teardown(() => emulator.close());
  return { near: new GoogleBench(emulator, far.cluster), far };
}

t.test('requests reach a real cluster as its kubeconfig’s user, both bodies streamed', async (t) => {
  const { near, far } = await openBench(t);
  const heard = await near.json(`${PROD}/api/v1/pods?labelSelector=a%3Db`, { headers: { 'Impersonate-User': 'x' } });
  t.equal(heard['target'], '/api/v1/pods?labelSelector=a%3Db');
  t.same(heard['caller'], { user: 'dev@example.com', groups: [] });
  t.ok((heard['headers'] as string[]).includes('Impersonate-User'));
  const watching = near.open(`${PROD}/api/v1/pods?watch=true`);
  const { response, context } = await far.cluster.next();
  const watch = await watching;
  t.equal(watch.statusCode, 200, 'the head of an empty watch comes at once');
  response?.write('an event\n');
  t.equal(String(((await once(watch, 'data')) as [Buffer])[0]), 'an event\n');
  watch.destroy();
  await once(context.signal, 'abort');
  const posted = await near.call(`${PROD}/api/v1/pods`, { method: 'POST', body: 'x'.repeat(2_000_000) });
  t.equal(posted.status, 200);
  for (const method of ['DELETE', 'GET', 'PUT']) {
    const headers = { 'Transfer-Encoding': 'chunked', Expect: '100-continue' };
    const chunked = await near.json(`${PROD}/api/v1/pods/x`, { method, headers, body: '{"a":1}' });
    t.equal(chunked['target'], '/api/v1/pods/x');
    const seen = far.cluster.calls.at(-1)?.request;
    t.match(seen?.headers, { 'transfer-encoding': 'chunked', expect: undefined }, `the body of a ${method} is framed`);
  }
});

t.test('upgrades to a real cluster are spliced, and its refusals passed on', async (t) => {
  const { near } = await openBench(t);
  const socket = near.webSocket(`${PROD}/exec`);
  await once(socket, 'open');
  const sent = Buffer.alloc(2_000_000, 'abc');
  socket.send(sent);
  const [back] = (await once(socket, 'message')) as [Buffer];
  t.ok(sent.equals(back));
  socket.close(1000);
  const [code] = (await once(socket, 'close')) as [number];
  t.equal(code, 1000);
  const refused = near.webSocket(`${PROD}/refuse`);
  const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
  t.equal(response.statusCode, 403);
});

t.test('a kubeconfig that cannot be used says why', async (t) => {
  const server = 'https://127.0.0.1:1';
  const cases: [KubeconfigParts, RegExp][] = [
    [{ server, user: { exec: { command: 'x' } } }, /needs "exec", which the emulator does not use/],
    [{ server, user: { 'client-certificate': 'none.pem' } }, /"client-certificate" cannot be read/],
    [{ server: 'nowhere', user: {} }, /is no URL/],
    [{ server, user: { token: 'x' } }, /127\.0\.0\.1:1 does not tell its version: .*ECONNREFUSED/],
  ];
  for (const [parts, message] of cases) {
    await t.rejects(createRealCluster({ kubeconfig: writeKubeconfig(t.testdir(), parts) }), { message });
  }
  const kubeconfig = writeKubeconfig(t.testdir(), { server, user: {} });
  await t.rejects(createRealCluster({ kubeconfig, context: 'there' }), { message: /no context "there"; it has: here/ });
  await t.rejects(createRealCluster({ kubeconfig: '/none' }), { message: /\/none: cannot be read/ });
});
