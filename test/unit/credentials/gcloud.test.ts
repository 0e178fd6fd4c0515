import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { GcloudMachine, HOUR, MINUTE } from '../../support/gcloud-machine.js';

t.test('gcloud is asked as the auth plugin asks it, once however many want a token', async (t) => {
  const machine = new GcloudMachine(t);
  const source = machine.source();
  t.equal(source.description, 'dev@example.com');
  const tokens = await Promise.all(Array.from({ length: 50 }, () => source.get()));
  t.strictSame(new Set(tokens.map(({ value }) => value)), new Set(['ya29.first']));
  t.equal(machine.runs.length, 1);
  t.strictSame(machine.runs[0]?.args, ['config', 'config-helper', '--format=json', '--min-expiry=600s']);
  t.equal(machine.runs[0]?.env['CLOUDSDK_CORE_DISABLE_PROMPTS'], '1');
  t.match(source.snapshot(), { hasToken: true, expiresAt: machine.clock.now() + HOUR });
});

t.test('a refused token is not taken from gcloud’s own cache again', async (t) => {
  const machine = new GcloudMachine(t);
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
  const machine = new GcloudMachine(t);
  machine.answer = () => ({
    stdout: JSON.stringify({ credential: { access_token: 'ya29.file', token_expiry: null } }),
  });
  const source = machine.source();
  await source.get();
  machine.clock.advance(6 * MINUTE);
  await source.get();
  t.equal(machine.runs.length, 2);
});

t.test('another configuration than the active one, for this identity alone', async (t) => {
  const machine = new GcloudMachine(t);
  machine.configure('work', 'ops@example.com', '[billing]\nquota_project = payer');
  const [mine, work] = [machine.source(), machine.source({ configuration: 'work' })];
  t.match(work.principal, { account: 'ops@example.com', configuration: 'work', quotaProject: 'payer' });
  await mine.get();
  await work.get();
  t.strictSame(
    machine.runs.map(({ env }) => env['CLOUDSDK_ACTIVE_CONFIG_NAME']),
    [undefined, 'work'],
  );
  t.match(work.renewal, /gcloud auth login --configuration=work$/);
});

t.test('whose token a file holds is not known', async (t) => {
  const machine = new GcloudMachine(t);
  machine.configure('default', 'dev@example.com', '[auth]\naccess_token_file = /run/token');
  machine.answer = () => ({
    stdout: JSON.stringify({
      credential: { access_token: 'ya29.file', token_expiry: null },
      configuration: { properties: { core: { account: 'dev@example.com' } } },
    }),
  });
  const source = machine.source();
  await source.get();
  t.equal(source.description, 'access token file /run/token');
});

const refreshing = 'ERROR: (gcloud.config.config-helper) There was a problem refreshing';
const please = 'Please run:\n\n  $ gcloud auth login\n\nto obtain new credentials.\n';

/** As gcloud 528 said it, word for word. */
const SAID = [
  [
    `${refreshing} your current auth tokens: ('invalid_grant: Token has been expired or revoked.', {'error': 'invalid_grant', 'error_description': 'Token has been expired or revoked.'})\n${please}`,
    'credentials-revoked',
    /of dev@example\.com \(invalid_grant: Token has been expired or revoked\.\); run: CLOUDSDK_CONFIG=\S+ gcloud auth login$/,
  ],
  [
    `${refreshing} your current auth tokens: Reauthentication failed. cannot prompt during non-interactive execution.\n${please}`,
    'reauthentication-required',
    /asks dev@example\.com for a new login.* gcloud auth login$/,
  ],
  [
    `${refreshing} your current auth tokens: Access was blocked by Context Aware Access. If you are using gcloud on a remote machine via SSH …\n${please}`,
    'access-blocked',
    /does not let dev@example\.com in from this machine/,
  ],
  [
    `${refreshing} your current auth tokens: ('internal_failure: None', {'error': 'internal_failure'})\n${please}`,
    'token-unavailable',
    /no token for dev@example\.com \(exit code 1\): internal_failure: None$/,
  ],
  [
    `${refreshing} your current auth tokens: HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f568cc80500>: Failed to establish a new connection: [Errno 111] Connection refused'))\n${please}`,
    'token-unavailable',
    /Max retries exceeded/,
  ],
  [
    'ERROR: gcloud crashed (JSONDecodeError): Expecting value: line 1 column 1 (char 0)\n',
    'token-unavailable',
    /crashed/,
  ],
  [
    `${refreshing} your current auth tokens: ('invalid_client: The OAuth client was not found.', {'error': 'invalid_client'})\n${please}`,
    'credentials-revoked',
    /does not know the client.*gcloud auth login$/,
  ],
  [
    `${refreshing} auth tokens for account bot@p.iam.gserviceaccount.com: ('invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.', {'error': 'invalid_grant'})\n`,
    'clock-skewed',
    /set the clock of this machine/,
  ],
  [
    `${refreshing} auth tokens for account bot@p.iam.gserviceaccount.com: ('invalid_grant: Invalid JWT Signature.', {'error': 'invalid_grant'})\n`,
    'credentials-revoked',
    /Invalid JWT Signature/,
  ],
  [
    `WARNING: This command is using service account impersonation. All API calls will be executed as [a@p.iam.gserviceaccount.com].\nERROR: (gcloud.config.config-helper) Failed to impersonate [a@p.iam.gserviceaccount.com]. Make sure the account that's trying to impersonate it has access to the service account itself and the "roles/iam.serviceAccountTokenCreator" role.\n`,
    'impersonation-denied',
    /add-iam-policy-binding a@p\.iam\.gserviceaccount\.com --member=user:dev@example\.com --role=roles\/iam\.serviceAccountTokenCreator$/,
  ],
  [
    `ERROR: (gcloud.config.config-helper) You do not currently have an active account selected.\n${please}`,
    'credentials-missing',
    /gcloud has no login; .*gcloud auth login$/,
  ],
  [
    `ERROR: (gcloud.config.config-helper) Your current active account [dev@example.com] does not have any valid credentials\n${please}`,
    'credentials-missing',
    /gcloud auth login$/,
  ],
  [
    "ERROR: (gcloud.config.config-helper) Unable to read file [/tmp/nofile]: [Errno 2] No such file or directory: '/tmp/nofile'\n",
    'credentials-unreadable',
    /\/tmp\/nofile.*gcloud config list/,
  ],
  ['ERROR: (gcloud.x) Something ya29.secret-token else', 'token-unavailable', /Something \[token\] else$/],
] as const;

t.test('who must act is told what to type; nobody else is asked meanwhile', async (t) => {
  const machine = new GcloudMachine(t);
  for (const [stderr, code, message] of SAID) {
    machine.answer = () => ({ code: 1, stderr });
    machine.runs.length = 0;
    const source = machine.source();
    await Promise.all(Array.from({ length: 50 }, () => t.rejects(source.get(), { code, message })));
    await t.rejects(source.get(), { code });
    t.equal(machine.runs.length, 1);
    source.close();
  }
  machine.answer = () => ({ stdout: 'Your token is ya29.oops' });
  await t.rejects(machine.source().get(), { message: /printed no access token/ });
});

t.test('the login that is named is that of the identity, and changes nobody else’s', async (t) => {
  const machine = new GcloudMachine(t);
  machine.answer = () => ({ code: 1, stderr: SAID[1][0] });
  await t.rejects(machine.source({ account: 'ops@example.com', configuration: 'work' }).get(), {
    message: /gcloud auth login ops@example\.com --force --no-activate --configuration=work$/,
  });
});

t.test('without a gcloud there is none to ask', async (t) => {
  const machine = new GcloudMachine(t);
  rmSync(join(machine.folder, 'bin/gcloud'));
  machine.env['PATH'] = '/nowhere';
  machine.answer = () => ({ stdout: '' });
  // Where the real one is installed in a usual place, it is found there, and the double answers without a token.
  await t.rejects(machine.source().get(), { code: /^(?:gcloud-missing|token-unavailable)$/ });
});
