import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { parse } from 'yaml';
import { DoctorScene } from '../support/doctor-scene.js';

const CANARY = 'canary';

let scene: DoctorScene;
t.before(async () => {
  scene = await DoctorScene.open();
});
t.teardown(() => scene.close());

t.test('the archive for a bug report says what is needed and holds no secret', async (t) => {
  const robot = 'robot@demo-project.iam.gserviceaccount.com';
  const machine = await scene.machine(t, {
    env: { https_proxy: `http://user:${CANARY}-proxy-password@proxy.invalid:3128`, NO_PROXY: '*' },
  });
  const { folder, stateDir, env } = machine;
  const persons = join(folder, 'persons-kubeconfig');
  writeFileSync(
    persons,
    `apiVersion: v1
kind: Config
current-context: other
clusters: [{name: other, cluster: {server: "https://other.example"}}]
contexts: [{name: other, context: {cluster: other, user: other}}]
users:
- name: other
  user:
    token: ${CANARY}-kubeconfig-token
    password: ${CANARY}-kubeconfig-password
    client-key-data: ${Buffer.from(`${CANARY}-client-key`).toString('base64')}
`,
  );
  const keyFile = join(folder, 'key.json');
  const key = scene.emulator.issueServiceAccountKey(robot);
  writeFileSync(
    keyFile,
    JSON.stringify({ ...key, refresh_token: `${CANARY}-refresh`, client_secret: `${CANARY}-client` }),
  );
  const log = join(folder, 'service.log');
  writeFileSync(
    log,
    `{"level":"info","msg":"ready"}\n{"msg":"Authorization: Bearer ${CANARY}-in-the-log"}\n{"token":"${CANARY}-field"}\n`,
  );
  const definition = {
    start: {
      program: ['node'],
      args: ['run'],
      environment: { https_proxy: `http://u:${CANARY}-service@proxy` },
      workingFolder: '/',
    },
    sockets: [],
    logFile: log,
    recordFile: '',
    environmentFile: '',
  };
  writeFileSync(join(folder, 'service.json'), JSON.stringify({ manager: 'cron', version: '0', stateDir, definition }));

  const archive = join(folder, 'report.tar.gz');
  const outcome = await machine.doctor(['--bundle', archive], { env: { ...env, KUBECONFIG: persons } });
  t.match(outcome.err, /wrote .*report\.tar\.gz: look into it/);
  t.equal(statSync(archive).mode & 0o777, 0o600);

  const listed = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n').sort();
  const names = [
    'README.txt',
    'doctor.json',
    'doctor.txt',
    'kubeconfigs.json',
    'log.txt',
    'machine.json',
    'memberships.json',
  ];
  const more = ['quota.json', 'service.json', 'sessions.json', 'settings.json', 'state-folder.json'];
  t.strictSame(listed, [...names, ...more].map((name) => `connect-gateway-proxy-doctor/${name}`).sort());
  const extracted = t.testdir({});
  execFileSync('tar', ['-xzf', archive, '-C', extracted]);
  const read = (name: string): string => readFileSync(join(extracted, 'connect-gateway-proxy-doctor', name), 'utf8');
  t.match(JSON.parse(read('doctor.json')), { checks: [{ id: 'configuration' }] });
  t.match(read('doctor.txt'), /^ok {4}configuration/);
  t.match(JSON.parse(read('settings.json')), { of: 'the running daemon', settings: { projects: ['demo-project'] } });
  t.match(JSON.parse(read('kubeconfigs.json')), { persons: { contexts: [{ name: 'other', bearer: true }] } });
  t.match(JSON.parse(read('memberships.json')), [{ alias: 'datacenter' }, { alias: 'edge-store' }, { alias: 'prod' }]);
  t.match(read('log.txt'), /"msg":"ready"/);

  const content = gunzipSync(readFileSync(archive)).toString('latin1');
  const own = parse(readFileSync(join(stateDir, 'kubeconfig'), 'utf8')) as { users: { user: { token: string } }[] };
  const secrets = [
    CANARY,
    scene.emulator.accessToken,
    ...own.users.map(({ user }) => user.token),
    ...readdirSync(stateDir)
      .filter((name) => /secret|token|\.key$/.test(name))
      .flatMap((name) => readFileSync(join(stateDir, name), 'utf8').split('\n')),
    ...String(key['private_key']).split('\n'),
  ].filter((secret) => secret.length > 5 && !secret.startsWith('-----'));
  t.ok(secrets.length > 10);
  for (const secret of secrets) {
    for (const form of [
      secret,
      Buffer.from(secret).toString('base64').replace(/=+$/, ''),
      encodeURIComponent(secret),
    ]) {
      t.notOk(content.includes(form), `${secret.slice(0, 9)}... is not in it`);
    }
  }
  t.notMatch(outcome.out, CANARY, 'nor on the terminal');
  const again = await machine.doctor(['--bundle', archive]);
  t.match(again, { code: 2, err: /this file is there already/ });
});
