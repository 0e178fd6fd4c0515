import { once } from 'node:events';
import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLogger } from '../../../src/base/log.js';
import { CachedTokenSource } from '../../../src/credentials/cached-token-source.js';
import { createTokenSource, type IdentitySettings } from '../../../src/credentials/identities.js';
import { TokenFile } from '../../../src/credentials/token-file.js';
import type { AccessToken } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';

const HOUR = 3_600_000;
const MINUTE = 60_000;

/** A source whose answers the test gives one by one. */
function scripted(): {
  clock: FakeClock;
  source: CachedTokenSource;
  calls: { resolve(token: AccessToken): void; reject(error: Error): void; signal: AbortSignal }[];
} {
  const clock = new FakeClock();
  const calls: ReturnType<typeof scripted>['calls'] = [];
  const source = new CachedTokenSource({
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
});

function tokenFile(t: Test, content: string): { path: string; file: TokenFile } {
  const path = join(t.testdir({ token: content }), 'token');
  return { path, file: new TokenFile({ path, now: () => 0 }) };
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

const source = (identity: IdentitySettings) =>
  createTokenSource({ name: 'ci', identity, clock: new FakeClock(Date.now()), log: silentLogger });

t.test('identities that are not built yet are refused by name', async (t) => {
  t.throws(() => source({ source: 'gcloud' }), { code: 'identity-unsupported', message: /identity ci: source gcloud/ });
  t.throws(() => source({ source: 'adc', impersonate: ['a@b'] }), { code: 'identity-unsupported' });
});

t.test('a credentials file gets tokens for both scopes, and its refusals name the way out', async (t) => {
  const asked: URLSearchParams[] = [];
  let answer = {
    status: 200,
    body: JSON.stringify({ access_token: 'ya29.key', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' }),
  };
  const server = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (chunk: string) => asked.push(new URLSearchParams(chunk)));
    request.on('end', () => response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(answer.body));
  }).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const folder = t.testdir({ subject: 'workload-token' });
  const keyFile = join(folder, 'key.json');
  const federation = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    credential_source: { file: join(folder, 'subject') },
  };
  writeFileSync(keyFile, JSON.stringify(federation));
  t.match(await source({ source: 'key-file', keyFile }).get(), { value: 'ya29.key', expiresAt: Number });
  t.match(asked[0]?.get('scope'), /cloud-platform.*userinfo\.email/);
  answer = { status: 400, body: JSON.stringify({ error: 'invalid_grant', error_description: 'expired' }) };
  await t.rejects(source({ source: 'key-file', keyFile }).get(), {
    code: 'credentials-revoked',
    message: /invalid_grant.*new key/,
  });
  await t.rejects(source({ source: 'key-file', keyFile: '/no/such/key.json' }).get(), {
    code: 'credentials-unreadable',
  });
});
