import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { systemClock } from '../../../src/base/clock.js';
import { createLogger, silentLogger } from '../../../src/base/log.js';
import { type RunningDaemon, startDaemon } from '../../../src/daemon/daemon.js';
import { callOwnHub, ownHubAnswers } from '../../../src/daemon/own-hub.js';
import { loadSettings } from '../../../src/daemon/settings.js';
import { State } from '../../../src/daemon/state.js';
import type { ClusterBackend } from '../../../src/emulator/cluster-backend.js';
import { type EmulatedMembership, type Emulator, startEmulator } from '../../../src/emulator/emulator.js';

/** A cluster that says its name, and holds what it is asked under /hold open. */
function cluster(name: string): ClusterBackend {
  return {
    version: 'v1.36.2',
    handle: (_request, response, { target }) => {
      response.writeHead(200, { 'Content-Type': 'text/plain' });
      response.write(`${name} ${target}`);
      if (!target.includes('/hold')) response.end();
    },
    upgrade: (_request, socket) => void socket.destroy(),
    close: async () => {},
  };
}

function membership(id: string, changes: Partial<EmulatedMembership> = {}): EmulatedMembership {
  return {
    projectNumber: '123456789012',
    projectId: 'demo-project',
    location: 'global',
    id,
    kind: 'attached',
    uniqueId: `uid-${id}`,
    backend: cluster(id),
    ...changes,
  };
}

interface Scene {
  readonly folder: string;
  readonly emulator: Emulator;
  readonly logs: string[];
  start(flags?: Record<string, string>): Promise<RunningDaemon>;
}

async function scene(t: Test, ids: readonly string[]): Promise<Scene> {
  const folder = t.testdir({});
  const emulator = await startEmulator({
    memberships: ids.map((id) => membership(id)),
    clock: systemClock,
    log: silentLogger,
  });
  writeFileSync(join(folder, 'token'), emulator.accessToken);
  writeFileSync(join(folder, 'ca.pem'), emulator.caCertificate);
  const config = join(folder, 'config.yaml');
  const { url } = emulator;
  writeFileSync(
    config,
    JSON.stringify({
      projects: ['demo-project'],
      identities: { default: { source: 'token-file', tokenFile: 'token' } },
      endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, caFile: 'ca.pem' },
      listen: { port: 0, membershipPorts: '0-0' },
      stateDir: 'state',
    }),
  );
  const logs: string[] = [];
  const daemons: RunningDaemon[] = [];
  t.teardown(async () => {
    for (const daemon of daemons) daemon.kill();
    await Promise.all(daemons.map((daemon) => daemon.closed));
    await emulator.close();
  });
  return {
    folder,
    emulator,
    logs,
    start: async (flags = {}) => {
      const settings = loadSettings({
        flags,
        env: {},
        configFile: config,
        isTty: false,
        paths: { config: folder, data: folder },
      });
      const log = createLogger({ level: 'trace', format: 'json', write: (line) => void logs.push(line) });
      const daemon = await startDaemon({ settings, clock: systemClock, log, version: '0.0.0', env: {} });
      daemons.push(daemon);
      return daemon;
    },
  };
}

interface Kubeconfig {
  readonly 'current-context': string;
  readonly clusters: { name: string; cluster: { server: string; 'certificate-authority-data': string } }[];
  readonly users: { name: string; user: { token: string } }[];
}

const kubeconfigOf = (daemon: RunningDaemon): Kubeconfig =>
  parse(readFileSync(daemon.kubeconfigFile, 'utf8')) as Kubeconfig;

/** As a client that has nothing but the kubeconfig. */
function get(kubeconfig: Kubeconfig, context: string, path: string): Promise<{ status: number; body: string }> {
  const cluster = kubeconfig.clusters.find(({ name }) => name === context)?.cluster;
  const token = kubeconfig.users.find(({ name }) => name === context)?.user.token;
  return new Promise((resolve, reject) => {
    https
      .get(
        `${cluster?.server}${path}`,
        {
          ca: Buffer.from(cluster?.['certificate-authority-data'] ?? '', 'base64'),
          headers: { Authorization: `Bearer ${token}` },
          agent: false,
        },
        (response) => {
          response
            .toArray()
            .then(
              (chunks) =>
                resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks as Buffer[]).toString() }),
              reject,
            );
        },
      )
      .on('error', reject);
  });
}

t.test('a started daemon serves every membership under the kubeconfig that it wrote', async (t) => {
  const at = await scene(t, ['prod', 'edge']);
  const daemon = await at.start();
  const kubeconfig = kubeconfigOf(daemon);
  t.equal(statSync(daemon.kubeconfigFile).mode & 0o777, 0o600);
  t.equal(kubeconfig['current-context'], 'edge');
  t.strictSame(await get(kubeconfig, 'prod', '/version?x=1'), { status: 200, body: 'prod /version?x=1' });
  t.strictSame(await get(kubeconfig, 'edge', '/version'), { status: 200, body: 'edge /version' });
  const [log] = at.logs.filter((line) => line.includes('"msg":"ready"'));
  t.match(JSON.parse(log ?? '{}'), { memberships: 2, hub: daemon.hubUrl });
  for (const secret of [at.emulator.accessToken, kubeconfig.users[0]?.user.token ?? '?']) {
    t.notOk(
      at.logs.some((line) => line.includes(secret)),
      'no secret in the log, at the highest level',
    );
  }
});

t.test('memberships appear and go with a reload, and the kubeconfig follows', async (t) => {
  const at = await scene(t, ['prod']);
  const daemon = await at.start();
  const state = State.open(join(at.folder, 'state'));
  const record = state.readDaemon();
  if (record === undefined) throw new Error('no record of the daemon');
  at.emulator.setMemberships([membership('prod'), membership('new')]);
  const reload = await callOwnHub(state, record, { path: '/-/reload', method: 'POST' });
  t.match(JSON.parse(reload.body), { memberships: 2, failures: [] });
  t.strictSame(await get(kubeconfigOf(daemon), 'new', '/x'), { status: 200, body: 'new /x' });
  const before = kubeconfigOf(daemon);
  at.emulator.setMemberships([membership('new')]);
  await callOwnHub(state, record, { path: '/-/reload', method: 'POST' });
  t.strictSame(
    kubeconfigOf(daemon).clusters.map(({ name }) => name),
    ['new'],
  );
  await t.rejects(get(before, 'prod', '/x'), { code: 'ECONNREFUSED' });
  t.equal((await callOwnHub(state, record, { path: '/-/memberships', credential: false })).status, 401);
});

t.test('with a cached fleet it is ready without a network, and its tokens are the same', async (t) => {
  const at = await scene(t, ['prod']);
  const first = await at.start();
  const tokens = kubeconfigOf(first).users;
  await first.drain('test');
  at.emulator.faults.add({ answer: 'api-disabled', match: 'control' });
  const second = await at.start();
  t.match(second.memberships(), [{ alias: 'prod' }]);
  t.strictSame(kubeconfigOf(second).users, tokens);
  t.strictSame(await get(kubeconfigOf(second), 'prod', '/x'), { status: 200, body: 'prod /x' });
});

t.test('draining: probes first, what runs gets its time, then the state folder is free', async (t) => {
  const at = await scene(t, ['prod']);
  const daemon = await at.start();
  const state = State.open(join(at.folder, 'state'));
  const record = state.readDaemon();
  if (record === undefined) throw new Error('no record of the daemon');
  t.ok(await ownHubAnswers(state, record));
  const held = get(kubeconfigOf(daemon), 'prod', '/hold').catch((error: Error) => error);
  await new Promise<void>((resolve) => {
    const stop = at.emulator.onRequest(({ target }) => {
      if (!target.includes('/hold')) return;
      stop();
      resolve();
    });
  });
  const drained = daemon.drain('test');
  t.equal((await callOwnHub(state, record, { path: '/-/readyz', credential: false })).status, 503);
  t.equal((await callOwnHub(state, record, { path: '/-/livez', credential: false })).status, 200);
  daemon.kill();
  t.ok((await held) instanceof Error, 'what did not end by itself is ended');
  await drained;
  await daemon.closed;
  t.notOk(existsSync(state.path('daemon.json')));
  t.notOk(existsSync(state.path('daemon.lock')));
});

t.test('bad beginnings name the way out', async (t) => {
  const at = await scene(t, ['prod']);
  await t.rejects(at.start({ 'endpoints.caFile': '/no/such.pem' }), {
    code: 'usage',
    message: /cannot read \/no\/such\.pem/,
  });
  t.notOk(existsSync(join(at.folder, 'state', 'daemon.lock')), 'a start that fails leaves no lock');
  const settings = loadSettings({
    flags: { stateDir: join(at.folder, 'other') },
    env: {},
    isTty: false,
    paths: { config: join(at.folder, 'none'), data: at.folder },
  });
  await t.rejects(startDaemon({ settings, clock: systemClock, log: silentLogger, version: '0', env: {} }), {
    code: 'nothing-to-serve',
    message: /--projects/,
  });
  const other = await at.start();
  const port = new URL(other.hubUrl).port;
  await t.rejects(at.start({ 'listen.port': port, stateDir: join(at.folder, 'second') }), {
    code: 'port-taken',
    message: process.platform === 'linux' ? new RegExp(`${port} is taken.*process ${process.pid}`) : /is taken/,
  });
});
