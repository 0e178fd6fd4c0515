import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { Agent } from 'undici';
import { parse } from 'yaml';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { Identities } from '../../src/credentials/identities.js';
import type { ClusterBackend } from '../../src/emulator/cluster-backend.js';
import { type EmulatedMembership, startEmulator } from '../../src/emulator/emulator.js';
import { tellMissing } from '../support/missing.js';

const backend: ClusterBackend = {
  version: 'v1.36.2',
  handle: (_request, response) => void response.end(),
  upgrade: (_request, socket) => void socket.destroy(),
  close: async () => {},
};
const project = { projectNumber: '123456789012', projectId: 'demo-project', backend } as const;
const memberships: readonly EmulatedMembership[] = [
  { ...project, id: 'prod', location: 'us-central1', kind: 'gke', uniqueId: 'u-1' },
  { ...project, id: 'edge-store', location: 'global', kind: 'attached', uniqueId: 'u-2' },
  { ...project, id: 'datacenter', location: 'europe-west1', kind: 'on-prem', uniqueId: 'u-3' },
];

const gcloud = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'gcloud'))
  .find((file) => existsSync(file));

if (gcloud === undefined) {
  tellMissing(t, 'no gcloud on PATH: install the Google Cloud SDK to prove that the emulator speaks its language');
} else {
  const emulator = await startEmulator({ memberships, clock: systemClock, log: silentLogger });
  t.teardown(() => emulator.close());
  const folder = t.testdir();
  const tokenFile = join(folder, 'token');
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(tokenFile, emulator.accessToken, { mode: 0o600 });
  const env = environment({ folder, kubeconfig, plainUrl: emulator.plainUrl });
  const run = (identity: Record<string, string>, ...words: string[]) =>
    runGcloud(gcloud, words, { ...env, ...identity });
  const byToken = { CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: tokenFile };

  t.test('gcloud lists the fleet', async (t) => {
    const { stdout, code, stderr } = await run(byToken, 'memberships', 'list', '--format=json');
    t.equal(code, 0, stderr);
    const names = (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
    t.same(names.sort(), [
      'projects/demo-project/locations/europe-west1/memberships/datacenter',
      'projects/demo-project/locations/global/memberships/edge-store',
      'projects/demo-project/locations/us-central1/memberships/prod',
    ]);
  });

  t.test('gcloud writes a kubeconfig for a membership that it finds by name', async (t) => {
    const before = emulator.requests.length;
    const { code, stderr } = await run(byToken, 'memberships', 'get-credentials', 'prod');
    t.equal(code, 0, stderr);
    const name = 'connectgateway_demo-project_us-central1_prod';
    t.match(parse(readFileSync(kubeconfig, 'utf8')), {
      'current-context': name,
      contexts: [{ name, context: { cluster: name, user: name } }],
      clusters: [
        {
          name,
          cluster: {
            server: `${emulator.url}/v1/projects/123456789012/locations/us-central1/gkeMemberships/prod`,
            'certificate-authority-data': Buffer.from(emulator.caCertificate).toString('base64'),
          },
        },
      ],
      users: [{ name, user: { exec: { command: 'gke-gcloud-auth-plugin', provideClusterInfo: true } } }],
    });
    t.equal(statSync(kubeconfig).mode & 0o777, 0o600);
    t.same(
      emulator.requests.slice(before).map(({ method, target }) => `${method} ${target.split('?')[0]}`),
      [
        'GET /v1beta/projects/demo-project/locations/-/memberships',
        'GET /v1/projects/demo-project',
        'POST /v1/projects/demo-project:testIamPermissions',
        'GET /v1/projects/123456789012/locations/us-central1/memberships/prod:generateCredentials',
      ],
      'the calls that the real service sees',
    );
  });

  t.test('gcloud acts as a service account', async (t) => {
    const account = { CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT: 'sa@demo-project.iam.gserviceaccount.com' };
    const { stdout, code, stderr } = await run({ ...byToken, ...account }, 'memberships', 'list', '--format=json');
    t.equal(code, 0, stderr);
    t.equal((JSON.parse(stdout) as unknown[]).length, 3);
  });

  t.test('gcloud logs in with a service account’s key and with a refresh token', async (t) => {
    const key = join(folder, 'key.json');
    writeFileSync(key, JSON.stringify(emulator.issueServiceAccountKey('robot@demo-project.iam.gserviceaccount.com')));
    const user = join(folder, 'adc.json');
    const { refreshToken } = emulator;
    writeFileSync(
      user,
      JSON.stringify({ type: 'authorized_user', client_id: 'a', client_secret: 'b', refresh_token: refreshToken }),
    );
    for (const file of [key, user]) {
      const override = { CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: file };
      const { stdout, code, stderr } = await run(override, 'memberships', 'list', '--format=json');
      t.equal(code, 0, stderr);
      t.equal((JSON.parse(stdout || '[]') as unknown[]).length, 3);
    }
  });

  t.test('the daemon takes its tokens from gcloud, by a token file and by a key', async (t) => {
    const key = join(folder, 'source-key.json');
    writeFileSync(key, JSON.stringify(emulator.issueServiceAccountKey('source@demo-project.iam.gserviceaccount.com')));
    const tokens = (identity: Record<string, string>) => {
      const source = new Identities({
        clock: systemClock,
        log: silentLogger,
        env: { ...env, ...identity },
        universe: 'googleapis.com',
        iam: { endpoint: emulator.plainUrl, dispatcher: async () => new Agent() },
      }).open('default', { source: 'gcloud' });
      t.teardown(() => source.close());
      return source;
    };
    t.equal((await tokens(byToken).get()).value, emulator.accessToken);
    const byKey = tokens({ CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: key });
    const first = await byKey.get();
    t.ok(first.expiresAt !== undefined && first.expiresAt > Date.now() + 600_000, 'a token with its expiry');
    t.equal(await accepted(emulator.plainUrl, first.value), 200);
    byKey.invalidate(first);
    t.not((await byKey.get()).value, first.value, 'gcloud does not hand out the refused one again');
    const noLogin = tokens({ CLOUDSDK_CONFIG: join(folder, 'empty-gcloud') });
    await t.rejects(noLogin.get(), { code: 'credentials-missing', message: /CLOUDSDK_CONFIG=\S+ gcloud auth login/ });
  });

  t.test('gcloud tells the emulated refusals in its own words', async (t) => {
    emulator.faults.add({ answer: 'list-permission-denied', match: 'control', times: 1 });
    const { code, stderr } = await run(byToken, 'memberships', 'list');
    t.equal(code, 1);
    t.match(stderr, /PERMISSION_DENIED: Permission 'gkehub\.memberships\.list' denied/);
  });
}

async function accepted(url: string, token: string): Promise<number> {
  const path = '/v1/projects/demo-project/locations/-/memberships';
  return (await fetch(url + path, { headers: { Authorization: `Bearer ${token}` } })).status;
}

/** Nothing of the person's own gcloud configuration, and every API of Google on the emulator. */
function environment(o: { folder: string; kubeconfig: string; plainUrl: string }): Record<string, string> {
  const apis = ['GKEHUB', 'CONNECTGATEWAY', 'CLOUDRESOURCEMANAGER', 'IAMCREDENTIALS', 'SERVICEUSAGE'];
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: o.folder,
    KUBECONFIG: o.kubeconfig,
    CLOUDSDK_CONFIG: join(o.folder, 'gcloud'),
    CLOUDSDK_CORE_PROJECT: 'demo-project',
    CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
    CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: '1',
    CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: '1',
    CLOUDSDK_AUTH_TOKEN_HOST: `${o.plainUrl}/token`,
    ...Object.fromEntries(apis.map((api) => [`CLOUDSDK_API_ENDPOINT_OVERRIDES_${api}`, `${o.plainUrl}/`])),
  };
}

function runGcloud(
  file: string,
  words: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(file, ['container', 'fleet', ...words], { env, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}
