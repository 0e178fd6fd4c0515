import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { silentLogger } from '../../../src/base/log.js';
import { Identities, type IdentitySettings } from '../../../src/credentials/identities.js';
import type { TokenSource } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';
import { closedPort, serve, serviceAccountKey, tokenEndpoint } from '../../support/token-endpoint.js';

const NOWHERE = 'http://127.0.0.1:9';
const POOL = 'projects/1/locations/global/workloadIdentityPools/p';

interface Place {
  readonly env?: Readonly<Record<string, string>>;
  readonly universe?: string;
  readonly iam?: string;
  readonly dispatcher?: Agent;
}

const source = (identity: IdentitySettings, place: Place = {}): TokenSource =>
  new Identities({
    clock: new FakeClock(Date.now()),
    log: silentLogger,
    env: place.env ?? {},
    universe: place.universe ?? 'googleapis.com',
    iam: { endpoint: place.iam ?? NOWHERE, dispatcher: async () => place.dispatcher ?? new Agent() },
  }).open('ci', identity);

function fileWith(t: Test, json: Record<string, unknown>): string {
  const path = join(t.testdir({ subject: 'workload-token' }), 'file.json');
  writeFileSync(path, JSON.stringify(json));
  return path;
}

const federation = (t: Test, tokenUrl: string, more: Record<string, unknown> = {}): string =>
  fileWith(t, {
    type: 'external_account',
    audience: `//iam.googleapis.com/${POOL}/providers/q`,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: tokenUrl,
    credential_source: { file: join(t.testdirName, 'subject') },
    ...more,
  });

const user = (tokenUri: string): Record<string, unknown> => ({
  type: 'authorized_user',
  client_id: 'c',
  client_secret: 's3',
  refresh_token: '1//secret',
  token_uri: tokenUri,
});

t.test('federated credentials get tokens for both scopes, from a file and from a URL', async (t) => {
  const { url, asked } = await tokenEndpoint(t);
  let dialled = 0;
  const dispatcher = new Agent().compose((dispatch) => (options, handler) => {
    dialled++;
    return dispatch(options, handler);
  }) as unknown as Agent;
  const tokens = source({ source: 'key-file', keyFile: federation(t, url) }, { dispatcher });
  t.match(await tokens.get(), { value: 'ya29.key', expiresAt: Number });
  t.equal(tokens.description, `principalSet://iam.googleapis.com/${POOL}/*`, 'as IAM names it');
  t.match(asked[0]?.get('scope'), /cloud-platform.*userinfo\.email/);
  t.equal(asked[0]?.get('subject_token'), 'workload-token');
  t.equal(dialled, 1, 'by the way of all calls of Google, with its certificates and proxies');
  const provider = await serve(t, (request, _body, response) => {
    response.end(JSON.stringify({ value: `subject of ${request.headers['x-who']}` }));
  });
  const byUrl = federation(t, url, {
    credential_source: {
      url: provider,
      headers: { 'x-who': 'me' },
      format: { type: 'json', subject_token_field_name: 'value' },
    },
  });
  t.equal((await source({ source: 'key-file', keyFile: byUrl }).get()).value, 'ya29.key');
  t.equal(asked[1]?.get('subject_token'), 'subject of me');
});

t.test('what the workload is exchanged for has expired: said so, with where it comes from', async (t) => {
  const { url, answer } = await tokenEndpoint(t);
  const keyFile = federation(t, url);
  answer.status = 400;
  answer.body = { error: 'invalid_grant', error_description: 'ID Token issued at 1 is stale to sign-in.' };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'credentials-expired',
    message: /file\.json is exchanged for has expired \(invalid_grant: ID Token .*; renew .* read from: \S+subject$/,
  });
  answer.body = { error: 'invalid_grant', error_description: 'The given credential is rejected by the condition.' };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), { code: 'credentials-revoked' });
});

t.test(
  'no program is run for a token, unless somebody has allowed it',
  { skip: process.platform === 'win32' },
  async (t) => {
    const { url, asked } = await tokenEndpoint(t);
    const folder = t.testdirName;
    const answer = {
      version: 1,
      success: true,
      token_type: 'urn:ietf:params:oauth:token-type:jwt',
      id_token: 'of-program',
    };
    const keyFile = federation(t, url, {
      credential_source: { executable: { command: `${join(folder, 'program')} out`, timeout_millis: 5000 } },
    });
    const script = `#!/bin/sh\ntouch ${join(folder, 'was-run')}\necho '${JSON.stringify(answer)}'\n`;
    writeFileSync(join(folder, 'program'), script, { mode: 0o755 });
    await t.rejects(source({ source: 'key-file', keyFile }).get(), {
      code: 'executable-refused',
      message: /file\.json wants a program to be run .*GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1/,
    });
    t.notOk(existsSync(join(folder, 'was-run')));
    t.equal(asked.length, 0);
    const env = { GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES: '1' };
    t.intercept(process, 'env', { value: { ...process.env, ...env } });
    t.equal((await source({ source: 'key-file', keyFile }, { env }).get()).value, 'ya29.key');
    t.equal(asked[0]?.get('subject_token'), 'of-program');
  },
);

interface Minted {
  readonly target: string;
  readonly delegates: string[];
  readonly lifetime: string;
  readonly authorization: string | undefined;
  readonly quotaProject: unknown;
}

/** An IAM Credentials API that gives tokens, or refuses all with `deny`. */
async function iam(t: Test, { deny = false } = {}): Promise<{ url: string; minted: Minted[] }> {
  const minted: Minted[] = [];
  const url = await serve(t, (request, body, response) => {
    const { delegates, lifetime } = JSON.parse(body) as Minted;
    const { authorization, 'x-goog-user-project': quotaProject } = request.headers;
    const target = decodeURIComponent(/serviceAccounts\/(.+):generate/.exec(request.url ?? '')?.[1] ?? '');
    minted.push({ target, delegates, lifetime, authorization, quotaProject });
    const expireTime = new Date(Date.now() + 3_600_000).toISOString();
    response.writeHead(deny ? 403 : 200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(deny ? { error: { message: 'denied' } } : { accessToken: 'ya29.robot', expireTime }));
  });
  return { url, minted };
}

t.test('federation that ends in a service account names its only hop', async (t) => {
  const { url } = await tokenEndpoint(t);
  const google = await iam(t);
  const impersonation = (origin: string): Record<string, unknown> => ({
    service_account_impersonation_url: `${origin}/v1/projects/-/serviceAccounts/ci@p.iam.gserviceaccount.com:generateAccessToken`,
    service_account_impersonation: { token_lifetime_seconds: 1800 },
  });
  const tokens = source({ source: 'key-file', keyFile: federation(t, url, impersonation(google.url)) });
  t.equal((await tokens.get()).value, 'ya29.robot');
  t.match(google.minted, [
    { target: 'ci@p.iam.gserviceaccount.com', delegates: [], lifetime: '1800s', authorization: 'Bearer ya29.key' },
  ]);
  t.equal(tokens.description, `ci@p.iam.gserviceaccount.com (through principalSet://iam.googleapis.com/${POOL}/*)`);
  const denying = await iam(t, { deny: true });
  const refused = source({ source: 'key-file', keyFile: federation(t, url, impersonation(denying.url)) });
  await t.rejects(refused.get(), {
    code: 'impersonation-denied',
    message: `--member='principalSet://iam.googleapis.com/${POOL}/*' --role=roles/iam.workloadIdentityUser`,
  });
});

t.test(
  'a login that impersonates: its delegates, one call for all who wait, and how to log in as it again',
  async (t) => {
    const { url, answer } = await tokenEndpoint(t);
    const google = await iam(t);
    const account = (name: string): string => `projects/-/serviceAccounts/${name}@p.iam.gserviceaccount.com`;
    const keyFile = fileWith(t, {
      type: 'impersonated_service_account',
      service_account_impersonation_url: `${google.url}/v1/${account('target')}:generateAccessToken`,
      delegates: [account('first')],
      source_credentials: user(url),
      quota_project_id: 'unused-here',
    });
    const identity = { source: 'key-file', keyFile, quotaProject: 'payer' } as const;
    const tokens = source(identity);
    const all = await Promise.all(Array.from({ length: 20 }, () => tokens.get()));
    t.strictSame(new Set(all.map(({ value }) => value)), new Set(['ya29.robot']));
    t.match(google.minted, [
      { target: 'target@p.iam.gserviceaccount.com', delegates: [account('first')], quotaProject: 'payer' },
    ]);
    t.equal(google.minted.length, 1);
    answer.status = 400;
    answer.body = { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' };
    await t.rejects(source(identity).get(), {
      code: 'credentials-revoked',
      message:
        /login --impersonate-service-account=first@p\.iam\.gserviceaccount\.com,target@p\.iam\.gserviceaccount\.com && cp \S+ \S+file\.json$/,
    });
    const odd = fileWith(t, { type: 'impersonated_service_account', source_credentials: user(url) });
    await t.rejects(source({ source: 'key-file', keyFile: odd }).get(), { code: 'credentials-unreadable' });
  },
);

t.test('a service account of the default credentials is asked for at the token endpoint of its file', async (t) => {
  const { url, asked } = await tokenEndpoint(t);
  const path = serviceAccountKey(t.testdir(), url);
  const tokens = source({ source: 'auto' }, { env: { GOOGLE_APPLICATION_CREDENTIALS: path } });
  t.equal(tokens.description, 'bot@p.iam.gserviceaccount.com');
  const first = await tokens.get();
  t.match(first, { value: 'ya29.key', expiresAt: Number });
  const claims = JSON.parse(Buffer.from(asked[0]?.get('assertion')?.split('.')[1] ?? '', 'base64url').toString('utf8'));
  t.match(claims, { iss: 'bot@p.iam.gserviceaccount.com', scope: /cloud-platform.*userinfo\.email/ });
  tokens.invalidate(first);
  await tokens.get();
  t.equal(asked.length, 2, 'the library does not hand the refused token out again');
});

t.test('a key: deleted, or signed by a clock that is wrong', async (t) => {
  const { url, answer } = await tokenEndpoint(t);
  const keyFile = serviceAccountKey(t.testdir(), url);
  answer.status = 400;
  answer.body = { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'credentials-revoked',
    message:
      /\(invalid_grant: Invalid JWT Signature\.\); make a new key; run: gcloud iam service-accounts keys create \S+key\.json --iam-account=bot@p/,
  });
  answer.headers = { Date: new Date(Date.now() - 3 * 3_600_000).toUTCString() };
  const skewed = { code: 'clock-skewed', message: /clock is 180 minutes ahead of Google's: set it/ };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), skewed);
  answer.headers = {};
  answer.body = {
    error: 'invalid_grant',
    error_description:
      'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
  };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), { code: 'clock-skewed', message: /set-ntp/ });
});

t.test('the login of gcloud is found in its folder, and its errors hold no secret', async (t) => {
  const { url, answer, asked } = await tokenEndpoint(t);
  const folder = t.testdir({ 'application_default_credentials.json': JSON.stringify(user(url)) });
  const env = { CLOUDSDK_CONFIG: folder };
  const claims = Buffer.from(JSON.stringify({ email: 'dev@example.com' })).toString('base64url');
  answer.body = { access_token: 'ya29.key', expires_in: 3600, id_token: `a.${claims}.c` };
  const tokens = source({ source: 'adc' }, { env });
  t.match(tokens.description, /^the login of \S+application_default_credentials\.json$/);
  t.equal((await tokens.get()).value, 'ya29.key');
  t.equal(tokens.description, 'dev@example.com', 'once its issuer has told it');
  t.equal(asked[0]?.get('refresh_token'), '1//secret');
  Object.assign(answer, { status: 400, body: { error: 'invalid_grant', error_subtype: 'invalid_rapt' } });
  const refused = await source({ source: 'adc' }, { env })
    .get()
    .catch((error: unknown) => error);
  t.match(refused, {
    code: 'reauthentication-required',
    message: /; run: CLOUDSDK_CONFIG=\S+ gcloud auth application-default login$/,
  });
  t.notMatch(inspect(refused, { depth: 20 }).replaceAll(folder, ''), /secret|s3/);
  answer.body = { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' };
  const elsewhere = join(folder, 'mine.json');
  writeFileSync(elsewhere, JSON.stringify(user(url)));
  const byVariable = { HOME: '/home/dev', GOOGLE_APPLICATION_CREDENTIALS: elsewhere };
  await t.rejects(source({ source: 'adc' }, { env: byVariable }).get(), {
    code: 'credentials-revoked',
    message: /login && cp \/home\/dev\/\.config\/gcloud\/application_default_credentials\.json \S+mine\.json$/,
  });
  answer.body = { error: 'access_denied', error_description: 'Account restricted' };
  await t.rejects(source({ source: 'adc' }, { env }).get(), { code: 'access-blocked' });
});

t.test('who is charged: the setting, then the variable, then the file', async (t) => {
  const { url } = await tokenEndpoint(t);
  const path = fileWith(t, { ...user(url), quota_project_id: 'of-file' });
  const charged = (identity: Partial<IdentitySettings>, env: Record<string, string> = {}): string | undefined =>
    source({ source: 'adc', ...identity }, { env: { GOOGLE_APPLICATION_CREDENTIALS: path, ...env } }).principal
      .quotaProject;
  t.equal(charged({}), 'of-file');
  t.equal(charged({}, { GOOGLE_CLOUD_QUOTA_PROJECT: 'of-variable' }), 'of-variable');
  t.equal(charged({ quotaProject: 'of-setting' }, { GOOGLE_CLOUD_QUOTA_PROJECT: 'of-variable' }), 'of-setting');
});

t.test('no token of one universe is had for the endpoints of another', async (t) => {
  const { url, asked } = await tokenEndpoint(t);
  const keyFile = serviceAccountKey(t.testdir(), url, { universe_domain: 'example.cloud' });
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'universe-mismatch',
    message:
      /bot@p\S+ are of the universe example\.cloud, and the endpoints of googleapis\.com.*endpoints\.universeDomain/,
  });
  const token = await source({ source: 'key-file', keyFile }, { universe: 'example.cloud' }).get();
  t.match(JSON.parse(Buffer.from(token.value.split('.')[1] ?? '', 'base64url').toString()), {
    iss: 'bot@p.iam.gserviceaccount.com',
    scope: /cloud-platform/,
  });
  t.equal(asked.length, 0, 'other universes take a JWT that is signed here');
  t.ok((token.expiresAt ?? 0) > Date.now() + 3_000_000);
});

t.test('closing ends a call to the token endpoint', async (t) => {
  const { url, answer } = await tokenEndpoint(t);
  const held = new Promise<ServerResponse>((resolve) => {
    answer.hold = resolve;
  });
  const tokens = source({ source: 'key-file', keyFile: serviceAccountKey(t.testdir(), url) });
  const waiting = tokens.get();
  const gone = once(await held, 'close');
  tokens.close();
  await t.rejects(waiting, { code: 'daemon-stopping' });
  await gone;
});

t.test('an endpoint that is down or fails is told as such, and not as a login that has ended', async (t) => {
  const keyFile = serviceAccountKey(t.testdir(), `${await closedPort()}/token`);
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'token-unavailable',
    message: /key\.json.*ECONNREFUSED/,
  });
  const { url, answer, asked } = await tokenEndpoint(t);
  answer.status = 503;
  answer.body = { error: 'internal_failure' };
  const failing = source({ source: 'key-file', keyFile: serviceAccountKey(t.testdirName, url) });
  await t.rejects(failing.get(), { code: 'token-unavailable', message: /HTTP 503/ });
  t.ok(asked.length > 1, 'it is asked again first');
});

t.test('a credentials file that cannot be used is named with what was expected', async (t) => {
  const folder = t.testdir({ 'no.json': 'private stuff', 'odd.json': '[]', dir: {} });
  for (const [name, why] of [
    ['missing.json', 'ENOENT'],
    ['no.json', 'not JSON'],
    ['odd.json', 'no "type"'],
    ['dir', 'not a regular file'],
  ] as const) {
    const keyFile = join(folder, name);
    await t.rejects(source({ source: 'key-file', keyFile }).get(), {
      code: 'credentials-unreadable',
      message: new RegExp(`${name}.*${why}.*gcloud auth application-default login`),
    });
  }
});
