import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { GcloudRun } from '../../../src/credentials/gcloud.js';
import { declaredUniverse } from '../../../src/credentials/identities.js';
import { principalKey } from '../../../src/credentials/principal.js';
import { GcloudMachine, HOUR, MINUTE } from '../../support/gcloud-machine.js';
import { serve } from '../../support/token-endpoint.js';

t.test('identities that are incomplete are refused by name', async (t) => {
  const machine = new GcloudMachine(t);
  t.throws(() => machine.source({ impersonate: ['a b@c'] }), { message: /identity ci: .*"a b@c" is no e-mail/ });
  t.throws(() => machine.source({ source: 'token-file' }), { message: /identity ci: .*needs tokenFile/ });
  t.throws(() => machine.source({ source: 'key-file', keyFile: '' }), { message: /identity ci: .*needs keyFile/ });
});

t.test('a night without a login: one gcloud for each pause, however many clients and identities', async (t) => {
  const machine = new GcloudMachine(t);
  machine.answer = () => ({ code: 1, stderr: 'ERROR: Reauthentication required.' });
  const book = machine.identities();
  const sources = [
    book.open('default', { source: 'auto' }),
    book.open('work', { source: 'gcloud' }),
    book.open('deployer', { source: 'gcloud', impersonate: ['a@p.iam.gserviceaccount.com'] }),
  ];
  let answers = 0;
  for (let second = 0; second < 8 * 3600; second += 30) {
    const clients = Array.from({ length: 50 }, (_client, n) => sources[n % sources.length]);
    await Promise.all(
      clients.map((source) =>
        source?.get().catch(({ message }: Error) => (answers += /gcloud auth login/.test(message) ? 1 : 0)),
      ),
    );
    machine.clock.advance(30_000);
  }
  t.equal(answers, 50 * 8 * 120, 'every one of them was told what to type');
  // A pause is a minute at its longest, and at its shortest half of that.
  t.ok(machine.runs.length <= 8 * 120 + 10, `${machine.runs.length} processes`);
  machine.write('gcloud/credentials.db', 'login');
  machine.answer = () => machine.token('ya29.morning');
  machine.clock.advance(1000);
  t.equal((await sources[0]?.get())?.value, 'ya29.morning', 'at once after the login');
  t.equal((await sources[1]?.get())?.value, 'ya29.morning');
});

t.test('Google refuses every token: no gcloud for each request', async (t) => {
  const machine = new GcloudMachine(t);
  let issued = 0;
  machine.answer = () => machine.token(`ya29.${++issued}`);
  const source = machine.source();
  for (let second = 0; second < 3600; second++) {
    const tokens = await Promise.all(Array.from({ length: 5 }, () => source.get()));
    for (const token of tokens) source.invalidate(token);
    machine.clock.advance(1000);
  }
  t.ok(machine.runs.length <= 70, `${machine.runs.length} processes in an hour`);
  machine.clock.advance(10 * MINUTE);
  const before = machine.runs.length;
  source.invalidate(await source.get());
  await source.get();
  t.equal(machine.runs.length, before + 1, 'a single refusal later is answered by a new token at once');
});

t.test('a day with a login: nobody waits for a token after the first, and sleep does no harm', async (t) => {
  const machine = new GcloudMachine(t);
  let issued = 0;
  machine.answer = () => machine.token(`ya29.${++issued}`);
  const source = machine.source();
  const ends = new Map<string, number>();
  let waits = 0;
  const ask = async (): Promise<void> => {
    const runs = machine.runs.length;
    const token = await source.get();
    const { expiresAt = 0 } = token;
    ends.set(token.value, expiresAt);
    if (machine.runs.length > runs && token.value === `ya29.${issued}`) waits++;
    if (expiresAt <= machine.clock.now()) t.fail(`an expired token at ${new Date(machine.clock.now()).toISOString()}`);
  };
  await ask();
  for (let minute = 0; minute < 24 * 60; minute++) {
    if (minute === 12 * 60) {
      // Eight hours with the lid closed: the daemon notices, or does not.
      machine.clock.sleepMachine(8 * HOUR);
      source.renew();
    }
    if (minute === 18 * 60) machine.clock.sleepMachine(3 * HOUR);
    await Promise.all([ask(), ask()]);
    machine.clock.advance(MINUTE);
    // What runs in the background has the time that it needs.
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(waits <= 3, `${waits} requests waited: the first, and one after each sleep`);
  t.ok(machine.runs.length >= 24 && machine.runs.length <= 30, `${machine.runs.length} refreshes in a day`);
});

t.test('another account: no token of the previous one, and the switch is told', async (t) => {
  const machine = new GcloudMachine(t);
  const source = machine.source();
  await source.get();
  const before = principalKey(source.principal);
  machine.configure('work', 'ops@example.com');
  machine.write('gcloud/active_config', 'work');
  machine.answer = () => machine.token('ya29.ops');
  machine.clock.advance(1000);
  t.equal(source.description, 'ops@example.com', 'noticed without a request');
  t.not(principalKey(source.principal), before);
  t.equal((await source.get()).value, 'ya29.ops');
  t.match(machine.logs.join(''), /dev@example\.com.*ops@example\.com.*principal has changed/);
  t.notMatch(machine.logs.join(''), /ya29/);
});

t.test('the same account in another configuration is another principal', async (t) => {
  const machine = new GcloudMachine(t);
  const source = machine.source();
  const before = principalKey(source.principal);
  machine.configure('work', 'dev@example.com');
  machine.write('gcloud/active_config', 'work');
  machine.clock.advance(1000);
  await source.get();
  t.not(principalKey(source.principal), before);
  t.match(machine.logs.join(''), /"configurationBefore":"default","configurationNow":"work"/);
});

t.test('a switch while a token is fetched: that token is dropped', async (t) => {
  const machine = new GcloudMachine(t);
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
  t.equal(source.description, 'b@p.iam (through ops@example.com, a@p.iam)');
});

t.test('auto: a named account, then a file of credentials, then gcloud, then the metadata server', async (t) => {
  const machine = new GcloudMachine(t);
  const source = machine.source({ source: 'auto' });
  t.equal((await source.get()).value, 'ya29.first');
  t.equal(source.origin, 'gcloud');
  t.match(machine.logs[0], /source: gcloud/);
  machine.write(
    'gcloud/application_default_credentials.json',
    JSON.stringify({ type: 'x', account: 'adc@example.com' }),
  );
  machine.clock.advance(1000);
  await t.rejects(source.get(), 'the file is taken from now on');
  t.equal(source.description, 'adc@example.com');
  t.equal(source.origin, 'adc');
  t.match(machine.logs.join(''), /dev@example\.com.*adc@example\.com.*principal has changed/);
  for (const named of [{ account: 'me@example.com' }, { configuration: 'default' }]) {
    t.equal(machine.source({ source: 'auto', ...named }).origin, 'gcloud', 'who names what is gcloud’s means gcloud');
  }
  rmSync(join(machine.folder, 'gcloud/application_default_credentials.json'));
  rmSync(join(machine.folder, 'gcloud/credentials.db'));
  machine.clock.advance(1000);
  t.equal(source.origin, 'metadata-server');
  t.match(machine.logs.join(''), /the metadata server/);
  machine.env['CLOUDSDK_AUTH_ACCESS_TOKEN_FILE'] = '/run/token';
  machine.clock.advance(1000);
  t.equal(source.origin, 'gcloud', 'a login of any kind');
});

t.test('identities of one login share it, each with its own quota project', async (t) => {
  const machine = new GcloudMachine(t);
  const expireTime = (): string => new Date(machine.clock.now() + HOUR).toISOString();
  const charged: unknown[] = [];
  const google = await serve(t, (request, _body, response) => {
    charged.push(request.headers['x-goog-user-project']);
    response.sendDate = false;
    response.end(JSON.stringify({ accessToken: `ya29.robot-${charged.length}`, expireTime: expireTime() }));
  });
  const book = machine.identities(google);
  const chain = ['a@p.iam.gserviceaccount.com'];
  const one = book.open('one', { source: 'gcloud', impersonate: chain, quotaProject: 'p1' });
  const two = book.open('two', { source: 'gcloud', impersonate: chain, quotaProject: 'p2' });
  t.not((await one.get()).value, (await two.get()).value);
  t.equal(machine.runs.length, 1, 'one gcloud for both');
  t.strictSame(charged, ['p1', 'p2']);
  t.not(principalKey(one.principal), principalKey(two.principal));
  one.close();
  machine.clock.advance(HOUR);
  await two.get();
  t.equal(machine.runs.length, 2, 'who closes takes nothing from the other');
});

t.test('the universe that credentials say they are of', async (t) => {
  const machine = new GcloudMachine(t);
  const { env } = machine;
  t.equal(declaredUniverse({ source: 'gcloud' }, env), 'googleapis.com');
  machine.configure('sovereign', 'dev@example.com', 'universe_domain = example.cloud');
  t.equal(declaredUniverse({ source: 'gcloud', configuration: 'sovereign' }, env), 'example.cloud');
  const keyFile = join(machine.folder, 'key.json');
  writeFileSync(keyFile, JSON.stringify({ type: 'service_account', universe_domain: 'example.cloud' }));
  t.equal(declaredUniverse({ source: 'key-file', keyFile }, env), 'example.cloud');
  t.equal(declaredUniverse({ source: 'key-file', keyFile: '/nowhere' }, env), undefined);
  t.equal(declaredUniverse({ source: 'token-file', tokenFile: '/run/token' }, env), undefined);
  t.equal(declaredUniverse({ source: 'adc' }, { ...env, GOOGLE_APPLICATION_CREDENTIALS: keyFile }), 'example.cloud');
});
