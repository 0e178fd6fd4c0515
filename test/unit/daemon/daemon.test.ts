import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { startDaemon } from '../../../src/daemon/daemon.js';
import { callOwnHub, ownHubAnswers } from '../../../src/daemon/own-hub.js';
import { loadSettings } from '../../../src/daemon/settings.js';
import { State } from '../../../src/daemon/state.js';
import { daemonScene, emulatedMembership, get, kubeconfigOf } from '../../support/daemon-scene.js';

t.test('a started daemon serves every membership under the kubeconfig that it wrote', async (t) => {
  const at = await daemonScene(t, ['prod', 'edge']);
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
  const at = await daemonScene(t, ['prod']);
  const daemon = await at.start();
  const state = State.open(join(at.folder, 'state'));
  const record = state.readDaemon();
  if (record === undefined) throw new Error('no record of the daemon');
  at.emulator.setMemberships([emulatedMembership('prod'), emulatedMembership('new')]);
  const reload = await callOwnHub(state, record, { path: '/-/reload', method: 'POST' });
  t.match(JSON.parse(reload.body), { memberships: 2, failures: [] });
  t.strictSame(await get(kubeconfigOf(daemon), 'new', '/x'), { status: 200, body: 'new /x' });
  const before = kubeconfigOf(daemon);
  at.emulator.setMemberships([emulatedMembership('new')]);
  await callOwnHub(state, record, { path: '/-/reload', method: 'POST' });
  t.strictSame(
    kubeconfigOf(daemon).clusters.map(({ name }) => name),
    ['new'],
  );
  await t.rejects(get(before, 'prod', '/x'), { code: 'ECONNREFUSED' });
  t.equal((await callOwnHub(state, record, { path: '/-/memberships', credential: false })).status, 401);
});

t.test('with a cached fleet it is ready without a network, and its tokens are the same', async (t) => {
  const at = await daemonScene(t, ['prod']);
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
  const at = await daemonScene(t, ['prod']);
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
  const at = await daemonScene(t, ['prod']);
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
