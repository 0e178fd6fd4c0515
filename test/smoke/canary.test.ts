import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { callOwnHub } from '../../src/daemon/own-hub.js';
import { State } from '../../src/daemon/state.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { runCommand } from '../support/command-io.js';
import { DaemonClient } from '../support/daemon-client.js';
import { emulatedMembership } from '../support/daemon-scene.js';
import { outputOf, startProgram } from '../support/program.js';

const MAIN = join(process.cwd(), 'dist', 'main.js');
const SOURCES = ['user', 'key', 'federation', 'chain', 'gcloud', 'file'] as const;

const home = mkdtempSync(join(tmpdir(), 'cgp-canary-'));
const emulator = await startEmulator({
  memberships: SOURCES.map((id) => emulatedMembership(id)),
  clock: systemClock,
  log: silentLogger,
});
t.teardown(async () => {
  await emulator.close();
  rmSync(home, { recursive: true, force: true });
});
const at = (name: string): string => join(home, name);
const write = (name: string, content: unknown): string => {
  writeFileSync(at(name), typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o755 });
  return at(name);
};

/** Everything that must not be seen: whatever opens a door. */
function secrets(): Map<string, string> {
  const found = new Map<string, string>();
  for (const { rawHeaders } of emulator.requests) {
    const value = rawHeaders[rawHeaders.findIndex((name) => name.toLowerCase() === 'authorization') + 1] ?? '';
    if (value.startsWith('Bearer ')) found.set(value.slice('Bearer '.length), 'an access token');
  }
  found.set(refreshToken, 'the refresh token');
  found.set(subjectToken, "the workload's token");
  found.set(String(key['private_key']).split('\n')[3] ?? '', 'the private key');
  found.set(State.read(at('state'))?.tokens.hub ?? 'no hub token', "the hub's token");
  return found;
}

const refreshToken = emulator.issueRefreshToken({ user: 'dev@example.com' });
const subjectToken = emulator.issueSubjectToken({ user: 'principal://x/subject/ci' });
const key = emulator.issueServiceAccountKey('robot@demo-project.iam.gserviceaccount.com');
const tokenUri = `${emulator.plainUrl}/token`;
const user = {
  type: 'authorized_user',
  client_id: 'c',
  client_secret: 's',
  refresh_token: refreshToken,
  token_uri: tokenUri,
};
const federation = {
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/p',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: `${emulator.plainUrl}/v1/token`,
  credential_source: { file: write('subject', subjectToken) },
};
const helped = { credential: { access_token: emulator.issueToken({ user: 'ops@example.com' }), token_expiry: null } };
write(
  'gcloud',
  `#!/bin/sh\ncat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >> ${at('command-lines')}\ncat ${write('helped', helped)}\n`,
);
const { url } = emulator;
const config = write('config.yaml', {
  projects: ['demo-project'],
  identities: {
    default: { source: 'token-file', tokenFile: write('file', emulator.accessToken) },
    user: { source: 'key-file', keyFile: write('user.json', user) },
    key: { source: 'key-file', keyFile: write('key.json', key) },
    federation: { source: 'key-file', keyFile: write('federation.json', federation) },
    chain: {
      source: 'key-file',
      keyFile: at('key.json'),
      impersonate: ['deployer@demo-project.iam.gserviceaccount.com'],
    },
    gcloud: { source: 'gcloud' },
  },
  memberships: SOURCES.filter((name) => name !== 'file').map((identity) => ({
    name: `projects/demo-project/locations/global/memberships/${identity}`,
    identity,
  })),
  endpoints: {
    gkehub: url,
    connectgateway: url,
    cloudresourcemanager: url,
    iamcredentials: url,
    caFile: write('ca.pem', emulator.caCertificate),
  },
  listen: { port: 0, membershipPorts: '0-0' },
  log: { level: 'trace', format: 'json' },
  stateDir: at('state'),
});

t.test(
  'no token, key or login is in any output, log, answer, crash or command line',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const crash = "process.on('SIGUSR2', () => { throw new Error('a crash of the test') })";
    const env = {
      HOME: home,
      PATH: `${home}:${process.env['PATH']}`,
      // Google's library would print whole answers.
      GOOGLE_SDK_NODE_LOGGING: '*',
      NODE_OPTIONS: `--report-uncaught-exception --report-directory=${home} --import data:text/javascript,${encodeURIComponent(crash)}`,
    };
    const daemon = startProgram([process.execPath, MAIN, 'run', '--config', config], { env });
    await outputOf(daemon, /"msg":"ready"/);
    const seen = new Map<string, string>();
    const kubeconfig = join(at('state'), 'kubeconfig');
    for (const name of SOURCES) {
      const client = new DaemonClient(kubeconfig, name);
      const { status, body } = await client.request('/api/v1/pods');
      t.equal(status, 200, `${name}: ${body}`);
      emulator.faults.add({ tokenExpired: true, membership: name, times: 2 });
      // What the gateway refuses is told too.
      seen.set(`refusal of ${name}`, JSON.stringify(await client.request('/api/v1/pods')));
      seen.set(
        `refused upgrade of ${name}`,
        JSON.stringify(await client.refusedWebSocket('/api/v1/namespaces/a/pods/b/exec?command=x').catch(String)),
      );
    }
    emulator.faults.add({ answer: 'token-revoked', match: 'token' });
    emulator.faults.add({ answer: 'service-account-token-denied', match: 'control' });
    write('user.json', { ...user, client_id: 'another' });
    write('key.json', { ...key, client_id: '2' });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (const name of ['user', 'key', 'chain']) {
      seen.set(
        `no token for ${name}`,
        JSON.stringify(await new DaemonClient(kubeconfig, name).request('/api/v1/pods')),
      );
    }
    t.match(seen.get('no token for user'), /credentials-revoked/);
    const state = State.read(at('state'));
    const record = state?.readDaemon();
    if (state === undefined || record === undefined) throw new Error('no daemon');
    for (const path of ['/-/memberships', '/-/sessions', '/-/quota', '/-/settings', '/-/metrics', '/-/nothing']) {
      seen.set(path, JSON.stringify(await callOwnHub(state, record, { path })));
    }
    seen.set('/-/reload', JSON.stringify(await callOwnHub(state, record, { path: '/-/reload', method: 'POST' })));
    const beside = { folder: at('none'), stateDir: at('state') };
    const commands = [['status', '--all'], ['status', '-o', 'json'], ['memberships'], ['status', '--whoami', 'file']];
    for (const words of commands) seen.set(words.join(' '), JSON.stringify(await runCommand(words, beside)));
    daemon.child.kill('SIGUSR2');
    t.not(await daemon.code, 0);
    t.match(daemon.output, /a crash of the test/);
    seen.set('the output of the daemon', daemon.output);
    for (const name of readdirSync(home).filter((file) => file.startsWith('report.'))) {
      seen.set('the report of the crash', readFileSync(at(name), 'utf8'));
    }
    t.ok(seen.has('the report of the crash'));
    seen.set('the command lines of all processes', readFileSync(at('command-lines'), 'utf8'));
    t.match(seen.get('the command lines of all processes'), 'main.js run --config');
    const known = secrets();
    t.ok(known.size >= SOURCES.length + 4, `${known.size} secrets are looked for`);
    for (const [where, text] of seen) {
      for (const [secret, what] of known) t.notOk(text.includes(secret), `${what} is not in ${where}`);
    }
  },
);
