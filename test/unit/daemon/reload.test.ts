import { renameSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { callOwnHub, type HubAnswer } from '../../../src/daemon/own-hub.js';
import { planReload } from '../../../src/daemon/reload.js';
import { loadSettings, type Settings } from '../../../src/daemon/settings.js';
import { State } from '../../../src/daemon/state.js';
import { type DaemonScene, daemonScene, emulatedMembership, get, kubeconfigOf } from '../../support/daemon-scene.js';
import { HastyClock } from '../../support/hasty-clock.js';

const PROD = 'projects/demo-project/locations/global/memberships/prod';

function reload(at: DaemonScene): Promise<HubAnswer> {
  const state = State.open(join(at.folder, 'state'));
  const record = state.readDaemon();
  if (record === undefined) throw new Error('no record of the daemon');
  return callOwnHub(state, record, { path: '/-/reload', method: 'POST' });
}

/** Resolves when a line of the log holds this text; lines that are there already count. */
async function logged(t: Test, at: DaemonScene, text: string): Promise<string> {
  for (;;) {
    const line = at.logs.find((candidate) => candidate.includes(text));
    if (line !== undefined) return line;
    await new Promise((resolve) => setImmediate(resolve));
    if (t.results !== undefined) throw new Error(`never logged: ${text}`);
  }
}

/** So slow that whoever watches the file has not looked at it before a reload is asked for. */
const slowClock = (): HastyClock => new HastyClock(0.02);

t.test('a reload takes over names, policies, identities and projects, and leaves a running stream alone', async (t) => {
  const at = await daemonScene(t, ['prod', 'edge'], { clock: slowClock() });
  const daemon = await at.start();
  const before = kubeconfigOf(daemon);
  const hold = before.clusters.find(({ name }) => name === 'prod');
  const token = before.users.find(({ name }) => name === 'prod')?.user.token;
  const stream = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    https
      .get(
        `${hold?.cluster.server}/api/v1/pods?watch=true&/hold`,
        {
          ca: Buffer.from(hold?.cluster['certificate-authority-data'] ?? '', 'base64'),
          headers: { Authorization: `Bearer ${token}` },
          agent: false,
        },
        resolve,
      )
      .on('error', reject);
  });
  let ended = false;
  stream.on('close', () => {
    ended = true;
  });
  stream.resume();

  writeFileSync(join(at.folder, 'other-token'), at.emulator.accessToken);
  at.writeConfig({
    memberships: [{ name: PROD, alias: 'live', policy: 'read-only' }],
    identities: { default: { source: 'token-file', tokenFile: 'other-token' } },
  });
  const answer = await reload(at);
  t.equal(answer.status, 200);
  t.match(JSON.parse(answer.body), {
    changed: ['memberships', 'identities'],
    needsRestart: [],
    memberships: 2,
    failures: [],
    configFile: at.config,
  });
  const after = kubeconfigOf(daemon);
  t.strictSame(after.clusters.map(({ name }) => name).sort(), ['edge', 'live']);
  t.match(daemon.memberships(), [{ alias: 'live', policy: 'read-only', principal: /other-token/ }, { alias: 'edge' }]);
  t.strictSame(
    after.clusters.find(({ name }) => name === 'live')?.cluster.server,
    hold?.cluster.server,
    'the same endpoint under its new name',
  );
  t.equal((await get(after, 'live', '/logs/x')).status, 403, 'the policy is in force');
  t.equal((await get(after, 'live', '/version')).status, 200);
  t.notOk(ended, 'the stream goes on');
  stream.destroy();

  at.writeConfig({ projects: [], memberships: [{ name: PROD, alias: 'live' }] });
  t.match(JSON.parse((await reload(at)).body), { changed: ['projects', 'memberships', 'identities'] });
  t.strictSame(
    kubeconfigOf(daemon).clusters.map(({ name }) => name),
    ['live'],
  );
  at.writeConfig({});
  at.emulator.setMemberships([emulatedMembership('prod'), emulatedMembership('new')]);
  await reload(at);
  t.strictSame(
    kubeconfigOf(daemon)
      .clusters.map(({ name }) => name)
      .sort(),
    ['new', 'prod'],
  );
});

t.test('bad settings are refused with their place, and the old ones stay in force', async (t) => {
  const at = await daemonScene(t, ['prod']);
  at.writeConfig({ memberships: [{ name: PROD, alias: 'live', policy: 'read-only' }] });
  const daemon = await at.start();
  const cases: [string, RegExp][] = [
    ['projects: [demo-project\n', /config\.yaml:\d+: this is not valid YAML/],
    [
      'projects: [demo-project]\nmembership: []\n',
      /config\.yaml:2: membership is no setting; did you mean memberships/,
    ],
    ['memberships:\n- name: x\n', /config\.yaml:2: memberships\.0\.name: expected projects/],
    ['{}\n', /nothing to serve/],
    [
      `memberships:\n- name: ${PROD}\n  identity: other\nidentities:\n  other: {source: token-file}\n`,
      /source token-file needs tokenFile/,
    ],
  ];
  for (const [yaml, message] of cases) {
    at.logs.length = 0;
    writeFileSync(at.config, yaml);
    const { status, body } = await reload(at);
    t.equal(status, 400, yaml);
    t.match(JSON.parse(body), { kind: 'Status', message });
    t.match(JSON.parse(await logged(t, at, 'refused')).msg, message);
    t.match(daemon.memberships(), [{ alias: 'live', policy: 'read-only' }]);
  }
  t.equal((await get(kubeconfigOf(daemon), 'live', '/version')).status, 200);
  at.writeConfig({});
  t.equal((await reload(at)).status, 200);
  t.match(daemon.memberships(), [{ alias: 'prod', policy: 'full' }]);
});

t.test('what needs a restart is said, and said again', async (t) => {
  const at = await daemonScene(t, ['prod'], { clock: slowClock() });
  const daemon = await at.start();
  const url = daemon.hubUrl;
  at.writeConfig({ listen: { port: 1, membershipPorts: '0-0' }, stateDir: 'elsewhere', exec: { onCutoff: 'end' } });
  for (const changed of [['exec.onCutoff'], []]) {
    const { body } = await reload(at);
    t.match(JSON.parse(body), { changed, needsRestart: ['listen.port', 'stateDir', 'kubeconfigFile'] });
  }
  t.equal(daemon.hubUrl, url);
  t.ok(at.logs.some((line) => line.includes('listen.port,stateDir') && line.includes('restarted')));
});

t.test('a saved config file is noticed, in place or put there by a rename', async (t) => {
  const at = await daemonScene(t, ['prod']);
  const daemon = await at.start();
  at.writeConfig({ memberships: [{ name: PROD, alias: 'one' }] });
  await logged(t, at, '"changed":"memberships"');
  t.match(daemon.memberships(), [{ alias: 'one' }]);
  at.logs.length = 0;
  const { config } = at;
  at.writeConfig({ memberships: [{ name: PROD, alias: 'two' }] });
  renameSync(config, `${config}.new`);
  renameSync(`${config}.new`, config);
  await logged(t, at, '"changed":"memberships"');
  t.match(daemon.memberships(), [{ alias: 'two' }]);
  writeFileSync(config, 'projects: [');
  await logged(t, at, 'the old ones stay in force');
  t.match(daemon.memberships(), [{ alias: 'two' }]);
});

t.test('a membership whose port is changed moves', async (t) => {
  const at = await daemonScene(t, ['prod']);
  const daemon = await at.start();
  const [old] = kubeconfigOf(daemon).clusters;
  // A port that was free a moment ago.
  const other = await at.start({ stateDir: join(at.folder, 'other') });
  const free = Number(new URL(other.hubUrl).port);
  other.kill();
  await other.closed;
  at.writeConfig({ memberships: [{ name: PROD, port: free }] });
  await reload(at);
  t.equal(kubeconfigOf(daemon).clusters[0]?.cluster.server, `https://127.0.0.1:${free}`);
  t.equal((await get(kubeconfigOf(daemon), 'prod', '/version')).status, 200);
  t.not(old?.cluster.server, `https://127.0.0.1:${free}`);
});

t.test('the plan keeps what needs a restart as it was', async (t) => {
  const settings = (flags: Record<string, string>): Settings =>
    loadSettings({ flags, env: {}, isTty: false, paths: { config: '/nowhere', data: '/data' } });
  const now = settings({ projects: 'a' });
  const plan = planReload(now, settings({ projects: 'a,b', 'listen.port': '1', 'endpoints.caFile': '/x.pem' }));
  t.strictSame(plan.changed, ['projects']);
  t.strictSame(plan.needsRestart, ['listen.port', 'endpoints.caFile']);
  t.match(plan.settings, { projects: ['a', 'b'], listen: { port: 7443 }, endpoints: {} });
  t.notOk('caFile' in plan.settings.endpoints);
  t.strictSame(planReload(now, now), { settings: now, changed: [], needsRestart: [] });
});
