import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Fault } from '../../src/emulator/google/faults.js';
import { runCommand } from '../support/command-io.js';
import { DaemonClient, type PlainAnswer } from '../support/daemon-client.js';
import { type DaemonScene, daemonScene } from '../support/daemon-scene.js';
import { HastyClock } from '../support/hasty-clock.js';

const PROJECT = 'projects/demo-project/locations/global/memberships';
const MAPS = '/api/v1/namespaces/default/configmaps';
const ROBOT = 'robot@demo-project.iam.gserviceaccount.com';
const CHAIN = ['first', 'second', 'third'].map((name) => `${name}@demo-project.iam.gserviceaccount.com`);
/** How fast time goes where the daemon is waited for: pauses and looks of a second pass in a twentieth. */
const HASTE = 20;

interface Scene extends DaemonScene {
  readonly client: (context: string) => DaemonClient;
  /** Asks until the daemon has looked at the world again. */
  readonly untilFine: (context: string) => Promise<void>;
  /** Of one identity; written anew it is a new login. */
  login(name: string, file: 'user' | 'key' | 'federation'): string;
  /** Calls of the token endpoint so far. */
  asked(): number;
}

/** A membership for each identity; the fleet itself is listed with a token file. */
async function scene(t: Test, identities: Record<string, (at: Scene) => Record<string, unknown>>): Promise<Scene> {
  const names = Object.keys(identities);
  const clock = new HastyClock(1);
  const bare = await daemonScene(t, names, { clock });
  const { folder, emulator } = bare;
  const subject = join(folder, 'subject');
  writeFileSync(subject, emulator.issueSubjectToken({ user: 'principal://pool/subject/ci' }));
  const files = {
    user: () => ({
      type: 'authorized_user',
      client_id: 'c',
      client_secret: 's',
      refresh_token: emulator.issueRefreshToken({ user: 'dev@example.com' }),
      token_uri: `${emulator.plainUrl}/token`,
    }),
    key: () => emulator.issueServiceAccountKey(ROBOT),
    federation: () => ({
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/p',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `${emulator.plainUrl}/v1/token`,
      credential_source: { file: subject },
    }),
  };
  let client: Scene['client'] = () => {
    throw new Error('not yet');
  };
  const at: Scene = {
    ...bare,
    client: (context) => client(context),
    untilFine: (context) =>
      clock.faster(HASTE, async () => {
        while ((await client(context).request(MAPS)).status !== 200);
      }),
    login: (name, kind) => {
      const path = join(folder, `${name}.json`);
      writeFileSync(path, JSON.stringify(files[kind]()));
      return path;
    },
    asked: () => emulator.requests.filter(({ target }) => /^\/(v1\/)?token/.test(target)).length,
  };
  at.writeConfig({
    identities: {
      default: { source: 'token-file', tokenFile: join(folder, 'token') },
      ...Object.fromEntries(names.map((name) => [name, identities[name]?.(at)])),
    },
    memberships: names.map((name) => ({ name: `${PROJECT}/${name}`, identity: name })),
  });
  const daemon = await at.start();
  const served = (): number => daemon.memberships().filter(({ url }) => url !== undefined).length;
  while (served() < names.length) await setImmediate();
  client = (context) => new DaemonClient(daemon.kubeconfigFile, context);
  return at;
}

const run = (at: DaemonScene, ...args: string[]) =>
  runCommand(args, { folder: join(at.folder, 'no-config'), stateDir: join(at.folder, 'state') });

interface Told {
  readonly reason?: string;
  readonly message: string;
  readonly details?: { readonly causes?: readonly { readonly reason: string }[] };
}

const told = ({ body }: PlainAnswer): Told => JSON.parse(body) as Told;

const login = /; run: gcloud auth application-default login && cp \S+ \S+$/;
const CASES = {
  revoked: ['user', 'token-revoked', 'credentials-revoked', login],
  reauth: ['user', 'token-reauthentication', 'reauthentication-required', login],
  blocked: ['user', 'token-access-blocked', 'access-blocked', /context-aware access.*managed device/],
  down: ['user', 'token-unavailable', 'token-unavailable', /HTTP 503/],
  deleted: ['key', 'token-key-deleted', 'credentials-revoked', /; run: gcloud iam service-accounts keys create/],
  skewed: ['key', 'token-clock-skewed', 'clock-skewed', /run: sudo timedatectl set-ntp true$/],
  expired: ['federation', 'token-subject-expired', 'credentials-expired', /renew the workload's own token/],
} as const;

t.test('each way of getting no token has its own code and remedy, for all who wait, and heals by itself', async (t) => {
  const at = await scene(
    t,
    Object.fromEntries(
      Object.entries(CASES).map(([name, [kind]]) => [
        name,
        ({ login }) => ({ source: 'key-file', keyFile: login(name, kind) }),
      ]),
    ),
  );
  for (const [name, [kind, answer, code, message]] of Object.entries(CASES)) {
    const id = at.emulator.faults.add({ answer, match: 'token' });
    const before = at.asked();
    const answers = await Promise.all(Array.from({ length: 50 }, () => at.client(name).request(MAPS)));
    for (const one of answers) {
      t.match(told(one), { reason: 'ServiceUnavailable', message, details: { causes: [{ reason: code }] } });
    }
    t.ok(at.asked() - before <= 4, `${name}: the token endpoint was asked once, or again where it failed by itself`);
    const discovery = await at.client(name).request('/apis');
    t.match(discovery.headers['content-type'], 'text/plain', 'where kubectl prints nothing else');
    t.match(discovery.body.trim(), message);
    t.match((await run(at, 'status')).out, new RegExp(`${name} failed .* ago: `));
    t.match((await run(at, 'memberships')).out, new RegExp(`^${name} .* failing +${name} `, 'm'));
    at.emulator.faults.remove(id);
    at.login(name, kind);
    await at.untilFine(name);
    t.notMatch((await run(at, 'status')).out, new RegExp(`${name} failed`));
  }
});

t.test('the hop of a chain that is not allowed is named, the others are not suspected', async (t) => {
  const at = await scene(t, {
    chain: ({ login }) => ({ source: 'key-file', keyFile: login('chain', 'key'), impersonate: CHAIN }),
  });
  const [first = '', second = ''] = CHAIN;
  const fault: Fault = { answer: 'service-account-token-denied', match: 'control', serviceAccount: second };
  const id = at.emulator.faults.add(fault);
  const refused = told(await at.client('chain').request(MAPS));
  t.match(refused.details?.causes, [{ reason: 'impersonation-denied' }]);
  t.match(
    refused.message,
    `hop 2 of 3 of the impersonation fails: ${first} may not become ${second} (HTTP 403: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).); run: gcloud iam service-accounts add-iam-policy-binding ${second} --member=serviceAccount:${first} --role=roles/iam.serviceAccountTokenCreator`,
  );
  at.emulator.faults.remove(id);
  await at.untilFine('chain');
  const { memberships } = JSON.parse((await run(at, 'memberships', '-o', 'json')).out);
  t.match(memberships, [{ account: ROBOT, chain: CHAIN, identitySource: 'key-file', universe: 'googleapis.com' }]);
});

t.test('a token that the gateway refuses is replaced once, and what has changed nothing is asked again', async (t) => {
  const identity = (name: string) => (at: Scene) => ({ source: 'key-file', keyFile: at.login(name, 'user') });
  const at = await scene(t, { get: identity('get'), delete: identity('delete'), post: identity('post') });
  for (const method of ['GET', 'DELETE']) {
    const client = at.client(method.toLowerCase());
    await at.untilFine(method.toLowerCase());
    at.emulator.faults.add({ tokenExpired: true, match: 'request', times: 1 });
    const before = at.asked();
    t.equal((await client.request(`${MAPS}/x`, { method })).status, 200, method);
    t.equal(at.asked(), before + 1);
  }
  const client = at.client('post');
  await at.untilFine('post');
  at.emulator.faults.add({ tokenExpired: true, match: 'request', times: 1 });
  const written = await client.request(MAPS, { method: 'POST', body: { kind: 'ConfigMap' } });
  t.equal(written.status, 401, 'its body is spent');
  t.match(
    told(written).message,
    /did not accept the daemon's access token.*if it goes on, run: gcloud auth application-default login/,
  );
  t.equal((await client.request(MAPS, { method: 'POST', body: { kind: 'ConfigMap' } })).status, 200);
});

t.test('the quota project goes to the gateway where that is asked for', async (t) => {
  const at = await scene(t, {
    plain: ({ login }) => ({ source: 'key-file', keyFile: login('plain', 'key'), quotaProject: 'payer' }),
    charged: ({ login }) => ({
      ...{ source: 'key-file', keyFile: login('charged', 'key') },
      ...{ quotaProject: 'payer', quotaProjectOnDataPath: true },
    }),
  });
  const sentBy = async (context: string, headers: Record<string, string> = {}): Promise<string[]> => {
    await at.client(context).request(MAPS, { headers });
    const { rawHeaders = [] } = at.emulator.requests.findLast(({ membership }) => membership === context) ?? {};
    return rawHeaders.filter((_value, index) => rawHeaders[index - 1]?.toLowerCase() === 'x-goog-user-project');
  };
  t.strictSame(await sentBy('plain'), []);
  t.strictSame(await sentBy('charged'), ['payer']);
  t.strictSame(await sentBy('charged', { 'X-Goog-User-Project': 'mine' }), ['mine'], 'a client’s own word stands');
  await at
    .client('charged')
    .refusedWebSocket('/api/v1/namespaces/default/pods/box/exec?command=ls')
    .catch(() => {});
  const upgrade = at.emulator.requests.findLast(({ kind }) => kind === 'upgrade');
  t.ok(upgrade?.rawHeaders.includes('payer'), 'streams too');
});
