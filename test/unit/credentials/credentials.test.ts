import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { silentLogger } from '../../../src/base/log.js';
import { createCachedTokenSource } from '../../../src/credentials/cached-token-source.js';
import { createTokenSource, type IdentitySettings } from '../../../src/credentials/identities.js';
import { TokenFile } from '../../../src/credentials/token-file.js';
import type { AccessToken, TokenSource } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';

const HOUR = 3_600_000;
const MINUTE = 60_000;

/** A source whose answers the test gives one by one. */
function scripted(): {
  clock: FakeClock;
  source: TokenSource;
  calls: { resolve(token: AccessToken): void; reject(error: Error): void; signal: AbortSignal }[];
} {
  const clock = new FakeClock();
  const calls: ReturnType<typeof scripted>['calls'] = [];
  const source = createCachedTokenSource({
    description: 'test',
    clock,
    log: silentLogger,
    random: () => 1,
    fetch: (signal) => new Promise((resolve, reject) => calls.push({ resolve, reject, signal })),
  });
  return { clock, source, calls };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('fifty callers cause one fetch', async (t) => {
  const { source, calls, clock } = scripted();
  const all = Array.from({ length: 50 }, () => source.get());
  t.equal(calls.length, 1);
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  t.strictSame(new Set((await Promise.all(all)).map(({ value }) => value)), new Set(['a']));
  await source.get();
  t.equal(calls.length, 1, 'and a valid token is kept');
});

t.test('a token near its end is renewed behind the back of its users', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(56 * MINUTE);
  t.equal((await source.get()).value, 'a', 'nobody waits');
  t.equal((await source.get()).value, 'a');
  t.equal(calls.length, 2);
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  await settle();
  t.equal((await source.get()).value, 'b');
});

t.test('after the sleep of the machine an expired token is not handed out', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.sleepMachine(8 * HOUR);
  const next = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  t.equal((await next).value, 'b');
});

t.test('a refused token is replaced once, and only if it is the present one', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  const a = await first;
  source.invalidate(a);
  const second = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  await second;
  source.invalidate(a);
  t.equal((await source.get()).value, 'b', 'a late refusal of the old one changes nothing');
  t.equal(calls.length, 2);
});

t.test('failures are not repeated at every call, and end by themselves', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.reject(new Error('no login'));
  await t.rejects(first, { message: 'no login' });
  await t.rejects(source.get(), { message: 'no login' });
  t.equal(calls.length, 1);
  t.match(source.snapshot().lastFailure, { message: 'no login' });
  clock.advance(1000);
  const second = source.get();
  t.equal(calls.length, 2);
  calls[1]?.reject(new Error('no login'));
  await t.rejects(second);
  clock.advance(1999);
  await t.rejects(source.get());
  t.equal(calls.length, 2, 'the pause grows');
  clock.advance(1);
  const third = source.get();
  calls[2]?.resolve({ value: 'c' });
  t.equal((await third).value, 'c');
  t.equal(source.snapshot().lastFailure, undefined);
});

t.test('a caller that leaves does not end the fetch of the others', async (t) => {
  const { source, calls } = scripted();
  const leaving = new AbortController();
  const left = source.get(leaving.signal);
  const stays = source.get();
  leaving.abort(new Error('gone'));
  await t.rejects(left, { message: 'gone' });
  calls[0]?.resolve({ value: 'a' });
  t.equal((await stays).value, 'a');
});

t.test('a source that never answers is given up, and closing ends the wait', async (t) => {
  const { source, calls, clock } = scripted();
  const stuck = source.get();
  clock.advance(30_000);
  await t.rejects(stuck, { message: /did not answer within 30 s/ });
  t.ok(calls[0]?.signal.aborted);
  clock.advance(1000);
  const waiting = source.get();
  source.close();
  await t.rejects(waiting, { message: /stopping/ });
  await t.rejects(source.get(), { code: 'daemon-stopping' });
  t.equal(calls.length, 2, 'a closed source asks nobody');
});

t.test('in its last seconds a token is replaced first, and used where no other can be had', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(HOUR - 20_000);
  const waiting = source.get();
  calls[1]?.reject(new Error('offline'));
  t.equal((await waiting).value, 'a', 'the failure costs nothing yet');
  t.equal((await source.get()).value, 'a', 'and is not repeated at once');
  t.equal(calls.length, 2);
  clock.advance(20_000);
  const late = source.get();
  calls[2]?.reject(new Error('offline'));
  await t.rejects(late, { message: 'offline' }, 'an expired token is nobody’s way out');
});

t.test('a token that failed to be renewed early is used until its end, and the pause is kept', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(56 * MINUTE);
  await source.get();
  calls[1]?.reject(new Error('offline'));
  await settle();
  t.equal((await source.get()).value, 'a');
  t.equal(calls.length, 2);
  clock.advance(1000);
  await source.get();
  t.equal(calls.length, 3);
});

t.test('a wall clock that was set back does not lengthen the life of a token', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.sleepMachine(-5 * HOUR);
  clock.advance(HOUR);
  const next = source.get();
  t.equal(calls.length, 2);
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  t.equal((await next).value, 'b');
});

t.test('a source of short or spent tokens is not asked at every call', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + 2 * MINUTE });
  await first;
  await source.get();
  clock.advance(59_000);
  await source.get();
  t.equal(calls.length, 1, 'half of its life is waited for');
  clock.advance(MINUTE + 1000);
  const spent = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() - 1 });
  await t.rejects(spent, { code: 'token-unavailable', message: /expired already.*clock/ });
  await t.rejects(source.get(), { code: 'token-unavailable' });
  t.equal(calls.length, 2);
});

t.test('a refused token is not the way out of a failed renewal', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  const a = await first;
  clock.advance(HOUR - 20_000);
  const waiting = source.get();
  source.invalidate(a);
  calls[1]?.reject(new Error('offline'));
  await t.rejects(waiting, { message: 'offline' });
});

/** A second passes between any two looks. */
let time = 0;
function tokenFile(t: Test, content: string): { path: string; file: TokenFile } {
  const path = join(t.testdir({ token: content }), 'token');
  return { path, file: new TokenFile({ path, now: () => (time += 1000) }) };
}

t.test('a token file is read again when it changes', async (t) => {
  const { path, file } = tokenFile(t, 'ya29.one\n');
  t.equal((await file.get()).value, 'ya29.one');
  writeFileSync(path, 'ya29.second\n');
  t.equal((await file.get()).value, 'ya29.second');
  writeFileSync(path, 'ya29.thirdx\n');
  utimesSync(path, 1, 1);
  const third = await file.get();
  writeFileSync(path, 'ya29.fourth\n');
  utimesSync(path, 1, 1);
  file.invalidate(third);
  t.equal((await file.get()).value, 'ya29.fourth', 'a refused token is looked for again though the times are equal');
});

t.test('a token file that cannot be used says which and what was expected', async (t) => {
  for (const [content, why] of [
    ['', 'empty'],
    ['a b', 'spaces'],
    ['a\r\nX-Evil: 1', 'spaces'],
    ['x'.repeat(20_000), '20000 bytes'],
  ] as const) {
    const { path, file } = tokenFile(t, content);
    await t.rejects(file.get(), { code: 'token-file-unusable', message: new RegExp(`${path}.*${why}.*access token`) });
  }
  const { path, file } = tokenFile(t, 'a');
  rmSync(path);
  await t.rejects(file.get(), { code: 'token-file-unusable', message: /ENOENT.*tokenFile/ });
  t.match(file.snapshot().lastFailure, { message: /ENOENT/ });
});

t.test(
  'a pipe in the place of a token file does not stop the daemon',
  { skip: process.platform === 'win32' },
  async (t) => {
    const path = join(t.testdir(), 'token');
    execFileSync('mkfifo', [path]);
    await t.rejects(new TokenFile({ path, now: () => (time += 1000) }).get(), { message: /not a regular file/ });
  },
);

const source = (identity: IdentitySettings, env: Readonly<Record<string, string>> = {}): TokenSource =>
  createTokenSource({
    name: 'ci',
    identity,
    clock: new FakeClock(Date.now()),
    log: silentLogger,
    env,
    iam: { endpoint: 'http://127.0.0.1:9', dispatcher: new Agent() },
  });

t.test('identities that are incomplete are refused by name', async (t) => {
  t.throws(() => source({ source: 'adc', impersonate: ['a b@c'] }), { message: /identity ci: .*"a b@c" is no e-mail/ });
  t.throws(() => source({ source: 'token-file' }), { message: /identity ci: .*needs tokenFile/ });
  t.throws(() => source({ source: 'key-file', keyFile: '' }), { message: /identity ci: .*needs keyFile/ });
});

/** A token endpoint that answers with what the test last set. */
async function tokenEndpoint(t: Test): Promise<{
  url: string;
  asked: URLSearchParams[];
  answer: { status: number; body: unknown; hold?: (response: ServerResponse) => void };
}> {
  const asked: URLSearchParams[] = [];
  const answer: Awaited<ReturnType<typeof tokenEndpoint>>['answer'] = {
    status: 200,
    body: { access_token: 'ya29.key', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' },
  };
  const server = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (chunk: string) => asked.push(new URLSearchParams(chunk)));
    request.on('end', () => {
      if (answer.hold !== undefined) return answer.hold(response);
      response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer.body));
    });
  }).listen(0, '127.0.0.1');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, asked, answer };
}

const privateKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

function serviceAccountKey(folder: string, tokenUri: string): string {
  const path = join(folder, 'key.json');
  const key = { type: 'service_account', client_email: 'bot@p.iam.gserviceaccount.com', private_key: privateKey };
  writeFileSync(path, JSON.stringify({ ...key, token_uri: tokenUri }));
  return path;
}

t.test('federated credentials get tokens for both scopes, and refusals name the way out', async (t) => {
  const { url, asked, answer } = await tokenEndpoint(t);
  const folder = t.testdir({ subject: 'workload-token' });
  const keyFile = join(folder, 'key.json');
  const federation = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: url,
    credential_source: { file: join(folder, 'subject') },
  };
  writeFileSync(keyFile, JSON.stringify(federation));
  t.match(await source({ source: 'key-file', keyFile }).get(), { value: 'ya29.key', expiresAt: Number });
  t.match(asked[0]?.get('scope'), /cloud-platform.*userinfo\.email/);
  Object.assign(answer, { status: 400, body: { error: 'invalid_grant', error_description: 'expired' } });
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'credentials-revoked',
    message: /key\.json.*invalid_grant.*new key.*gcloud auth application-default login/,
  });
});

t.test('a service account of the default credentials is asked for at the token endpoint of its file', async (t) => {
  const { url, asked } = await tokenEndpoint(t);
  const path = serviceAccountKey(t.testdir(), url);
  const tokens = source({ source: 'auto' }, { GOOGLE_APPLICATION_CREDENTIALS: path });
  t.equal(tokens.description, 'bot@p.iam.gserviceaccount.com');
  const first = await tokens.get();
  t.match(first, { value: 'ya29.key', expiresAt: Number });
  const claims = JSON.parse(Buffer.from(asked[0]?.get('assertion')?.split('.')[1] ?? '', 'base64url').toString('utf8'));
  t.match(claims, { iss: 'bot@p.iam.gserviceaccount.com', scope: /cloud-platform.*userinfo\.email/ });
  tokens.invalidate(first);
  await tokens.get();
  t.equal(asked.length, 2, 'the library does not hand the refused token out again');
});

t.test('the login of gcloud is found in its folder, and its errors hold no secret', async (t) => {
  const { url, answer, asked } = await tokenEndpoint(t);
  const login = {
    type: 'authorized_user',
    client_id: 'c',
    client_secret: 's3',
    refresh_token: '1//secret',
    token_uri: url,
  };
  const folder = t.testdir({ 'application_default_credentials.json': JSON.stringify(login) });
  const env = { CLOUDSDK_CONFIG: folder };
  t.equal((await source({ source: 'adc' }, env).get()).value, 'ya29.key');
  t.equal(asked[0]?.get('refresh_token'), '1//secret');
  Object.assign(answer, { status: 400, body: { error: 'invalid_grant', error_subtype: 'invalid_rapt' } });
  const refused = await source({ source: 'adc' }, env)
    .get()
    .catch((error: unknown) => error);
  t.match(refused, { code: 'reauthentication-required', message: /; run: gcloud auth application-default login$/ });
  t.notMatch(inspect(refused, { depth: 20 }), /secret|s3/);
  answer.body = { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' };
  const byVariable = { GOOGLE_APPLICATION_CREDENTIALS: join(folder, 'application_default_credentials.json') };
  await t.rejects(source({ source: 'adc' }, byVariable).get(), {
    code: 'credentials-revoked',
    message: /unset GOOGLE_APPLICATION_CREDENTIALS and run: gcloud auth application-default login/,
  });
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

t.test('an endpoint that cannot be reached is told with its error code', async (t) => {
  const keyFile = serviceAccountKey(t.testdir(), 'http://127.0.0.1:9/token');
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'token-unavailable',
    message: /key\.json.*ECONNREFUSED/,
  });
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

t.test('without any credentials the login command is named', async (t) => {
  t.intercept(process, 'env', { value: { ...process.env, METADATA_SERVER_DETECTION: 'none', HOME: t.testdir() } });
  await t.rejects(source({ source: 'auto' }, { HOME: t.testdirName }).get(), {
    code: 'credentials-missing',
    message: /run: gcloud auth application-default login/,
  });
});
