import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { createLogger } from '../../../src/base/log.js';
import type { GcloudRun } from '../../../src/credentials/gcloud.js';
import { createTokenSource, type IdentitySettings } from '../../../src/credentials/identities.js';
import type { TokenSource } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';

const HOUR = 3_600_000;

/** A machine with a gcloud whose answers the test gives. */
class Machine {
  readonly clock = new FakeClock();
  readonly folder: string;
  readonly env: Record<string, string>;
  readonly runs: { readonly args: readonly string[]; readonly env: Readonly<Record<string, string | undefined>> }[] =
    [];
  readonly logs: string[] = [];
  answer: () => Partial<GcloudRun> | Promise<Partial<GcloudRun>> = () => this.token('ya29.first');
  #changes = 0;

  constructor(t: Test, account = 'dev@example.com') {
    this.folder = t.testdir({ bin: { gcloud: '' }, gcloud: { configurations: {} } });
    chmodSync(join(this.folder, 'bin/gcloud'), 0o755);
    this.env = { PATH: join(this.folder, 'bin'), HOME: this.folder, CLOUDSDK_CONFIG: join(this.folder, 'gcloud') };
    this.configure('default', account);
    this.write('gcloud/credentials.db', '');
  }

  write(path: string, text: string): void {
    // Sizes differ, so that a test does not depend on the resolution of the file system's clock.
    const filler = ' '.repeat(++this.#changes);
    writeFileSync(join(this.folder, path), text + filler);
  }

  configure(name: string, account: string, more = ''): void {
    mkdirSync(join(this.folder, 'gcloud/configurations'), { recursive: true });
    this.write(`gcloud/configurations/config_${name}`, `[core]\naccount = ${account}\n${more}\n`);
  }

  token(value: string, lifeMs = HOUR): Partial<GcloudRun> {
    const token_expiry = new Date(this.clock.now() + lifeMs).toISOString();
    return { stdout: JSON.stringify({ credential: { access_token: value, token_expiry } }) };
  }

  source(identity: Partial<IdentitySettings> = {}, iam = 'http://127.0.0.1:9'): TokenSource {
    return createTokenSource({
      name: 'ci',
      identity: { source: 'gcloud', ...identity },
      clock: this.clock,
      log: createLogger({ level: 'trace', format: 'json', write: (line: string) => this.logs.push(line) }),
      env: this.env,
      iam: { endpoint: iam, dispatcher: new Agent() },
      run: async (_program, args, { env }) => {
        this.runs.push({ args, env });
        return { code: 0, stdout: '', stderr: '', ...(await this.answer()) };
      },
    });
  }
}

t.test('gcloud is asked as the auth plugin asks it, once however many want a token', async (t) => {
  const machine = new Machine(t);
  const source = machine.source();
  t.equal(source.description, 'dev@example.com');
  const tokens = await Promise.all(Array.from({ length: 50 }, () => source.get()));
  t.strictSame(new Set(tokens.map(({ value }) => value)), new Set(['ya29.first']));
  t.equal(machine.runs.length, 1);
  t.strictSame(machine.runs[0]?.args, ['config', 'config-helper', '--format=json', '--min-expiry=600s']);
  t.equal(machine.runs[0]?.env['CLOUDSDK_CORE_DISABLE_PROMPTS'], '1');
  t.equal(source.snapshot().expiresAt, machine.clock.now() + HOUR);
});

t.test('a refused token is not taken from gcloud’s own cache again', async (t) => {
  const machine = new Machine(t);
  const source = machine.source({ account: 'ops@example.com' });
  source.invalidate(await source.get());
  machine.answer = () => machine.token('ya29.second');
  t.equal((await source.get()).value, 'ya29.second');
  t.strictSame(machine.runs[1]?.args.slice(3), ['--force-auth-refresh', '--account=ops@example.com']);
  machine.clock.advance(HOUR);
  await source.get();
  t.strictSame(machine.runs[2]?.args.slice(3), ['--min-expiry=600s', '--account=ops@example.com'], 'only once');
});

t.test('an expiry that gcloud does not tell: looked at again after a while', async (t) => {
  const machine = new Machine(t);
  machine.answer = () => ({
    stdout: JSON.stringify({ credential: { access_token: 'ya29.file', token_expiry: null } }),
  });
  const source = machine.source();
  await source.get();
  machine.clock.advance(6 * 60_000);
  await source.get();
  t.equal(machine.runs.length, 2);
});

t.test('who must act is told what to type; nobody else is asked meanwhile', async (t) => {
  const folder = /CLOUDSDK_CONFIG=\S+ gcloud auth login/;
  for (const [stderr, code, message] of [
    ['ERROR: (gcloud.config.config-helper) Reauthentication required.', 'reauthentication-required', folder],
    [
      "ERROR: There was a problem refreshing your current auth tokens: ('invalid_grant: Bad Request')",
      'credentials-revoked',
      folder,
    ],
    [
      'ERROR: (gcloud.config.config-helper) You do not currently have an active account selected.',
      'credentials-missing',
      folder,
    ],
    ['ERROR: (gcloud.x) Something ya29.secret-token else', 'token-unavailable', /code 1: Something \[token\] else/],
  ] as const) {
    const machine = new Machine(t);
    machine.answer = () => ({ code: 1, stderr });
    const source = machine.source();
    await Promise.all(Array.from({ length: 50 }, () => t.rejects(source.get(), { code, message })));
    await t.rejects(source.get(), { code });
    t.equal(machine.runs.length, 1);
  }
  const machine = new Machine(t);
  machine.answer = () => ({ stdout: 'Your token is ya29.oops' });
  await t.rejects(machine.source().get(), { message: /printed no access token/ });
  rmSync(join(machine.folder, 'bin/gcloud'));
  machine.env['PATH'] = '/nowhere';
  const found = machine.source();
  // Where the real one is installed in a usual place, it is found there.
  await found.get().then(
    () => t.fail('the double answers without a token'),
    (error: { code: string }) => t.match(error.code, /gcloud-missing|token-unavailable/),
  );
});

t.test('a night without a login: one gcloud for each pause', async (t) => {
  const machine = new Machine(t);
  machine.answer = () => ({ code: 1, stderr: 'ERROR: Reauthentication required.' });
  const source = machine.source();
  for (let minute = 0; minute < 8 * 60; minute++) {
    await Promise.all(Array.from({ length: 50 }, () => source.get().catch(() => {})));
    machine.clock.advance(60_000);
  }
  t.ok(machine.runs.length <= 8 * 60 + 10, `${machine.runs.length} runs`);
  machine.write('gcloud/credentials.db', 'login');
  machine.answer = () => machine.token('ya29.morning');
  machine.clock.advance(1000);
  t.equal((await source.get()).value, 'ya29.morning', 'at once after the login');
});

t.test('another account: no token of the previous one, and the switch is told', async (t) => {
  const machine = new Machine(t);
  const source = machine.source();
  await source.get();
  machine.configure('work', 'ops@example.com');
  machine.write('gcloud/active_config', 'work');
  machine.answer = () => machine.token('ya29.ops');
  machine.clock.advance(1000);
  t.equal((await source.get()).value, 'ya29.ops');
  t.equal(source.description, 'ops@example.com');
  t.match(machine.logs.join(''), /dev@example\.com.*ops@example\.com.*principal has changed/);
  t.notMatch(machine.logs.join(''), /ya29/);
});

t.test('a switch while a token is fetched: that token is dropped', async (t) => {
  const machine = new Machine(t);
  let finish = (_run: Partial<GcloudRun>): void => {};
  machine.answer = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const source = machine.source();
  const got = source.get();
  machine.configure('default', 'ops@example.com', '[auth]\nimpersonate_service_account = a@p.iam,b@p.iam');
  machine.clock.advance(1000);
  machine.answer = () => machine.token('ya29.ops');
  finish(machine.token('ya29.dev'));
  t.equal((await got).value, 'ya29.ops');
  t.equal(source.description, 'b@p.iam (through ops@example.com)');
});

t.test('auto: a named account, then a file of credentials, then gcloud', async (t) => {
  const machine = new Machine(t);
  const source = machine.source({ source: 'auto' });
  t.equal((await source.get()).value, 'ya29.first');
  t.match(machine.logs[0], /source: gcloud/);
  machine.write(
    'gcloud/application_default_credentials.json',
    JSON.stringify({ type: 'x', account: 'adc@example.com' }),
  );
  machine.clock.advance(1000);
  await t.rejects(source.get(), 'the file is taken from now on');
  t.equal(source.description, 'adc@example.com');
  t.equal((await machine.source({ source: 'auto', account: 'me@example.com' }).get()).value, 'ya29.first');
  const bare = new Machine(t);
  rmSync(join(bare.folder, 'gcloud/credentials.db'));
  bare.source({ source: 'auto' });
  t.match(bare.logs[0], /the metadata server/);
});

interface IamAnswer {
  readonly status: number;
  readonly body: unknown;
}

async function iam(t: Test, answer: (target: string, delegates: string[]) => IamAnswer) {
  const asked: { target: string; delegates: string[]; authorization: string; scope: string[] }[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { delegates, scope } = JSON.parse(text) as { delegates: string[]; scope: string[] };
    const target = decodeURIComponent(/serviceAccounts\/(.+):generate/.exec(request.url ?? '')?.[1] ?? '');
    asked.push({ target, delegates, scope, authorization: request.headers.authorization ?? '' });
    const { status, body } = answer(target, delegates);
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

t.test('a chain: each asks for the next, and the last one is who we are', async (t) => {
  const machine = new Machine(t);
  const expireTime = new Date(machine.clock.now() + HOUR).toISOString();
  const google = await iam(t, () => ({ status: 200, body: { accessToken: 'ya29.robot', expireTime } }));
  const source = machine.source(
    { impersonate: ['a@p.iam.gserviceaccount.com', 'b@p.iam.gserviceaccount.com'] },
    google.url,
  );
  t.equal(source.description, 'b@p.iam.gserviceaccount.com (through dev@example.com, a@p.iam.gserviceaccount.com)');
  t.strictSame(await source.get(), { value: 'ya29.robot', expiresAt: machine.clock.now() + HOUR });
  t.match(google.asked, [
    {
      target: 'b@p.iam.gserviceaccount.com',
      delegates: ['projects/-/serviceAccounts/a@p.iam.gserviceaccount.com'],
      authorization: 'Bearer ya29.first',
      scope: [/cloud-platform/, /userinfo.email/],
    },
  ]);
  machine.configure('default', 'ops@example.com');
  machine.answer = () => machine.token('ya29.ops');
  machine.clock.advance(1000);
  await source.get();
  t.equal(google.asked[1]?.authorization, 'Bearer ya29.ops', 'a switch at the beginning begins the chain anew');
});

t.test('the hop that fails is named, with what mends it', async (t) => {
  const machine = new Machine(t);
  const denied = {
    status: 403,
    body: { error: { message: "Permission 'iam.serviceAccounts.getAccessToken' denied" } },
  };
  const fine = { status: 200, body: { accessToken: 'ya29.x', expireTime: '2030-01-01T00:00:00Z' } };
  const chain = ['a@p.iam.gserviceaccount.com', 'b@p.iam.gserviceaccount.com', 'c@p.iam.gserviceaccount.com'];
  for (const [failing, asker] of [
    [0, 'user:dev@example.com'],
    [1, 'serviceAccount:a@p.iam.gserviceaccount.com'],
    [2, 'serviceAccount:b@p.iam.gserviceaccount.com'],
  ] as const) {
    const google = await iam(t, (_target, delegates) => (delegates.length >= failing ? denied : fine));
    await t.rejects(machine.source({ impersonate: chain }, google.url).get(), {
      code: 'impersonation-denied',
      message: new RegExp(
        `hop ${failing + 1} of 3 .*add-iam-policy-binding ${chain[failing]} --member=${asker} --role`,
      ),
    });
  }
});

t.test('a base token that iamcredentials refuses is replaced once; its troubles are told as such', async (t) => {
  const machine = new Machine(t);
  const google = await iam(t, () => ({ status: 401, body: {} }));
  await t.rejects(machine.source({ impersonate: ['a@p.iam'] }, google.url).get(), { message: /HTTP 401/ });
  t.equal(google.asked.length, 2);
  t.match(machine.runs[1]?.args, ['config', 'config-helper', '--format=json', '--force-auth-refresh']);
  await t.rejects(machine.source({ impersonate: ['a@p.iam'] }).get(), {
    code: 'token-unavailable',
    message: /no answer from 127\.0\.0\.1:9/,
  });
  const broken = await iam(t, () => ({ status: 503, body: 'no' }));
  await t.rejects(machine.source({ impersonate: ['a@p.iam'] }, broken.url).get(), { message: /HTTP 503/ });
});
