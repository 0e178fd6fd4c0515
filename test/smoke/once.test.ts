import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { type CommandOutcome, runCommand } from '../support/command-io.js';
import { emulatedMembership } from '../support/daemon-scene.js';

const MAIN = join(process.cwd(), 'dist', 'main.js');
const home = mkdtempSync(join(tmpdir(), 'cgp-once-'));
const emulator = await startEmulator({
  memberships: [emulatedMembership('prod')],
  clock: systemClock,
  log: silentLogger,
});
t.teardown(async () => {
  await emulator.close();
  rmSync(home, { recursive: true, force: true });
});
const { url } = emulator;
writeFileSync(join(home, 'token'), emulator.accessToken);
writeFileSync(join(home, 'ca.pem'), emulator.caCertificate);
const config = join(home, 'config.yaml');
writeFileSync(
  config,
  JSON.stringify({
    projects: ['demo-project'],
    identities: { default: { source: 'token-file', tokenFile: 'token' } },
    endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, caFile: 'ca.pem' },
    // Those of a daemon, which a single command leaves alone.
    listen: { port: 1, membershipPorts: '2-3' },
    stateDir: 'state-of-the-daemon',
    kubeconfigFile: 'kubeconfig-of-the-daemon',
  }),
);

function start(...words: string[]): ReturnType<typeof spawn> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, TMPDIR: home, MARK: 'kept' };
  return spawn(process.execPath, [MAIN, 'run', '--once', '--config', config, ...words], { env });
}

async function run(input: string, ...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = start(...words);
  child.stdin?.end(input);
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('no output');
  const [out, err, [code]] = await Promise.all([text(stdout), text(stderr), once(child, 'close')]);
  return { code: (code as number | null) ?? 255, out, err };
}

const NODE = process.execPath;
const GET = `
const { readFileSync } = require('node:fs');
const { parse } = require(${JSON.stringify(join(process.cwd(), 'node_modules', 'yaml'))});
const { clusters, users } = parse(readFileSync(process.env.KUBECONFIG, 'utf8'));
require('node:https').get(clusters[0].cluster.server + '/version', {
  ca: Buffer.from(clusters[0].cluster['certificate-authority-data'], 'base64'),
  headers: { authorization: 'Bearer ' + users[0].user.token },
}, (response) => response.pipe(process.stdout));`;

t.test('a command has a kubeconfig that works, its own words, input and environment', async (t) => {
  const answer = await run('', '--', NODE, '-e', GET);
  t.match(answer, { code: 0, out: /^prod .*\/version$/, err: '' });
  const script =
    'process.stdin.on("data", (d) => console.log(JSON.stringify([process.argv.slice(1), process.env.MARK, String(d)])))';
  const echo = await run('from standard input', '--', NODE, '-e', script, 'a b', '$HOME', '*', '--once');
  t.strictSame(JSON.parse(echo.out), [['a b', '$HOME', '*', '--once'], 'kept', 'from standard input']);
  t.strictSame(
    readdirSync(home).sort(),
    ['ca.pem', 'config.yaml', 'token'],
    'nothing is left behind, and the daemon’s own files are untouched',
  );
});

let hangUp = (): void => {};
/** In this process, which has its modules already. */
async function runHere(...words: string[]): Promise<CommandOutcome> {
  const env = { PATH: process.env['PATH'], HOME: home };
  const changes = {
    env,
    onReload: (listener: () => void) => {
      hangUp = listener;
    },
  };
  return await runCommand(['run', '--once', '--config', config, ...words], { folder: home, stateDir: home, changes });
}

t.test('its exit code is the command’s', async (t) => {
  t.equal((await runHere('--', NODE, '-e', 'process.exit(42)')).code, 42);
  t.equal((await runHere('--', NODE, '-e', 'process.kill(process.pid, "SIGKILL")')).code, 137);
  t.match(await runHere('--', 'no-such-command'), {
    code: 127,
    err: /cannot run no-such-command: there is no such command/,
  });
  t.match(await runHere('--', home), { code: 126, err: /cannot run/ });
});

t.test('a signal goes to the command, and both end', async (t) => {
  const child = start(
    '--',
    NODE,
    '-e',
    'process.on("SIGTERM", () => process.exit(7)); console.log("up"); setInterval(() => {}, 1000)',
  );
  if (child.stdout === null) throw new Error('no output');
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  t.equal(code, 7);
});

t.test('so does SIGHUP, which is no reload here', async (t) => {
  const up = join(home, 'up');
  const script = `process.on("SIGHUP", () => process.exit(9)); fs.writeFileSync(${JSON.stringify(up)}, ""); setInterval(() => {}, 1000)`;
  const ended = runHere('--', NODE, '-e', script);
  while (!existsSync(up)) await setTimeout(20);
  hangUp();
  t.equal((await ended).code, 9);
});

t.test('what is asked for must make sense', async (t) => {
  t.match(await runHere(), { code: 2, err: /run --once: name the command, as in run --once -- kubectl get pods/ });
  t.match(await runHere('--projects', 'other', '--', NODE, '--version'), {
    code: 1,
    err: /no membership is served/,
    out: '',
  });
  const forgotten = await runCommand(['run', 'kubectl', 'get'], { folder: home, stateDir: home });
  t.match(forgotten, { code: 2, err: /to run a command: run --once -- kubectl get/ });
});
