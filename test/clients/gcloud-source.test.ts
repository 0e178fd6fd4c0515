import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { DaemonClient } from '../support/daemon-client.js';
import { type DaemonScene, daemonScene } from '../support/daemon-scene.js';

const MAPS = '/api/v1/namespaces/default/configmaps';
const gcloud = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'gcloud'))
  .find((file) => existsSync(file));

interface Scene extends DaemonScene {
  /** Runs the real gcloud with this scene's configuration. */
  gcloud(...words: string[]): Promise<void>;
  /** How often the daemon has run it. */
  runs(): number;
  /** As `gcloud auth login` leaves it behind. */
  login(account: string): void;
  client(): DaemonClient;
}

/** A daemon whose only identity is the real gcloud, with a configuration and an HTTP side of the test's own. */
async function scene(t: Test, program: string): Promise<Scene> {
  const folder = t.testdirName;
  const env: Record<string, string> = {
    // The real one is behind a door that counts.
    PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`,
    HOME: folder,
    CLOUDSDK_CONFIG: join(folder, 'gcloud'),
    CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: '1',
    CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: '1',
  };
  const at = await daemonScene(t, ['prod'], { env });
  const { plainUrl } = at.emulator;
  env['CLOUDSDK_AUTH_TOKEN_HOST'] = `${plainUrl}/token`;
  env['CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS'] = `${plainUrl}/`;
  mkdirSync(join(folder, 'bin'));
  const count = join(folder, 'runs');
  writeFileSync(count, '');
  writeFileSync(join(folder, 'bin', 'gcloud'), `#!/bin/sh\necho run >> ${count}\nexec ${program} "$@"\n`);
  chmodSync(join(folder, 'bin', 'gcloud'), 0o755);
  at.writeConfig({ identities: { default: { source: 'gcloud' } } });
  return {
    ...at,
    gcloud: (...words) =>
      new Promise((resolve, reject) => {
        execFile(program, words, { env }, (error) => (error === null ? resolve() : reject(error)));
      }),
    runs: () => readFileSync(count, 'utf8').split('\n').length - 1,
    login: (account) => {
      const json = {
        ...{ type: 'authorized_user', client_id: 'c', client_secret: 's' },
        refresh_token: at.emulator.issueRefreshToken({ user: account }),
      };
      const statements = [
        'CREATE TABLE IF NOT EXISTS "credentials" (account_id TEXT PRIMARY KEY, value BLOB)',
        `REPLACE INTO "credentials" VALUES ('${account}', '${JSON.stringify(json)}')`,
      ];
      const script = `import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n${statements
        .map((statement) => `db.execute(${JSON.stringify(statement)})`)
        .join('\n')}\ndb.commit()`;
      execFileSync('python3', ['-c', script, join(folder, 'gcloud', 'credentials.db')]);
    },
    client: () => new DaemonClient(join(at.folder, 'state', 'kubeconfig'), 'prod'),
  };
}

/** Whom the gateway has seen last. */
async function caller({ emulator }: DaemonScene): Promise<string> {
  const { rawHeaders = [] } =
    emulator.requests.findLast(({ membership, kind }) => membership === 'prod' && kind === 'request') ?? {};
  const token = rawHeaders[rawHeaders.findIndex((name) => name.toLowerCase() === 'authorization') + 1]?.split(' ')[1];
  const answer = await fetch(`${emulator.plainUrl}/tokeninfo?access_token=${token}`);
  return ((await answer.json()) as { email: string }).email;
}

/** gcloud answers in a second or two, so that time may not be hurried here. */
async function untilSeen(at: Scene, account: string): Promise<void> {
  do await at.client().request(MAPS);
  while ((await caller(at)) !== account);
}

if (gcloud === undefined) {
  const missing = 'no gcloud on PATH: install the Google Cloud SDK to prove that its logins serve the daemon';
  if (process.env['CI']) t.fail(missing);
  else t.plan(0, `skipped: ${missing}`);
} else {
  t.test('a login, its end, another login, another account, another configuration', async (t) => {
    const at = await scene(t, gcloud);
    await at.gcloud('config', 'set', 'account', 'dev@example.com');
    at.login('dev@example.com');
    const daemon = await at.start();
    t.match(daemon.memberships(), [{ principal: 'dev@example.com', gcloudConfiguration: 'default' }]);
    t.equal((await at.client().request(MAPS)).status, 200);
    t.equal(await caller(at), 'dev@example.com');
    t.equal(at.runs(), 1);

    at.emulator.faults.add({ answer: 'token-reauthentication', match: 'token' });
    at.emulator.faults.add({ tokenExpired: true, times: 2, match: 'request' });
    const answers = await Promise.all(Array.from({ length: 50 }, () => at.client().request(MAPS)));
    const refused = answers.filter(({ status }) => status === 503);
    t.ok(refused.length > 0);
    for (const { body } of refused) {
      t.match(JSON.parse(body), {
        message: /asks dev@example\.com for a new login.*; run: CLOUDSDK_CONFIG=\S+ gcloud auth login$/,
        details: { causes: [{ reason: 'reauthentication-required' }] },
      });
    }
    const runs = at.runs();
    await Promise.all(Array.from({ length: 50 }, () => at.client().request(MAPS)));
    t.ok(at.runs() - runs <= 2, 'fifty more clients: none of them runs a gcloud of its own');

    at.emulator.faults.clear();
    at.login('dev@example.com');
    while ((await at.client().request(MAPS)).status !== 200);

    at.login('ops@example.com');
    await at.gcloud('config', 'set', 'account', 'ops@example.com');
    await untilSeen(at, 'ops@example.com');
    t.match(at.logs.join(''), /"before":"dev@example\.com","now":"ops@example\.com","msg":"the principal has changed/);

    const key = join(at.folder, 'key.json');
    writeFileSync(
      key,
      JSON.stringify(at.emulator.issueServiceAccountKey('robot@demo-project.iam.gserviceaccount.com')),
    );
    await at.gcloud('config', 'configurations', 'create', 'robot', '--activate');
    await at.gcloud('auth', 'activate-service-account', `--key-file=${key}`);
    await untilSeen(at, 'robot@demo-project.iam.gserviceaccount.com');
    t.match(daemon.memberships(), [{ gcloudConfiguration: 'robot' }]);
  });

  t.test('an access token in a file, and a service account that gcloud impersonates, by configuration', async (t) => {
    const at = await scene(t, gcloud);
    const file = join(at.folder, 'access-token');
    writeFileSync(file, at.emulator.issueToken({ user: 'borrowed@example.com' }));
    await at.gcloud('config', 'set', 'auth/access_token_file', file);
    const daemon = await at.start();
    t.match(daemon.memberships(), [{ principal: `access token file ${file}` }]);
    t.equal((await at.client().request(MAPS)).status, 200);
    t.equal(await caller(at), 'borrowed@example.com');
    await at.gcloud('config', 'set', 'auth/impersonate_service_account', 'sa@demo-project.iam.gserviceaccount.com');
    await untilSeen(at, 'sa@demo-project.iam.gserviceaccount.com');
    t.match(daemon.memberships(), [
      { principal: `sa@demo-project.iam.gserviceaccount.com (through access token file ${file})` },
    ]);
  });
}
