import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runCommand } from '../support/command-io.js';
import { findNewestKubectl, Kubectl } from '../support/kubectl.js';

/** The command line as a person starts it: `node dist/main.js`, which `npm ci` has built. */
const MAIN = join(process.cwd(), 'dist', 'main.js');

interface Run {
  readonly child: ChildProcess;
  output: string;
  readonly code: Promise<number>;
}

function start(args: readonly string[], env: Record<string, string>): Run {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env['PATH'] ?? '', ...env } });
  const run: Run = { child, output: '', code: once(child, 'close').then(([code]) => (code as number | null) ?? 255) };
  const read = (chunk: Buffer): void => {
    run.output += chunk.toString();
  };
  child.stdout?.on('data', read);
  child.stderr?.on('data', read);
  return run;
}

async function run(args: readonly string[], env: Record<string, string>): Promise<{ code: number; output: string }> {
  const running = start(args, env);
  return { code: await running.code, output: running.output };
}

const home = mkdtempSync(join(tmpdir(), 'cgp-smoke-'));
const stateDir = join(home, 'state');
const env = { HOME: home, CGP_STATE_DIR: stateDir, CGP_LISTEN_PORT: '0', CGP_MEMBERSHIP_PORTS: '0-0' };
t.teardown(() => rmSync(home, { recursive: true, force: true }));

t.test('before the demo is started every command says so', async (t) => {
  const status = await run(['status'], env);
  t.equal(status.code, 1);
  t.match(status.output, /no daemon runs with the state folder .*connect-gateway-proxy run/);
  t.equal((await run(['wait', '--timeout', '200ms'], env)).code, 1);
});

t.test('usage errors exit with 2 and name the way out', async (t) => {
  const flag = await run(['run', '--projcts', 'x'], env);
  t.equal(flag.code, 2);
  t.match(flag.output, /unknown option '--projcts'[\s\S]*--projects/);
  // In this process, which has its modules already.
  const here = { folder: home, stateDir };
  t.match(await runCommand(['membership'], here), { code: 2, err: /unknown command 'membership'[\s\S]*memberships/ });
  t.match(await runCommand(['run'], here), { code: 2, err: /nothing to serve: .*--projects/ });
});

t.test('the demo: daemon, kubeconfig, commands beside it, and a clean end', async (t) => {
  const programs = join(home, 'programs');
  const note = join(home, 'note.cjs');
  writeFileSync(note, `require('fs').appendFileSync(${JSON.stringify(programs)}, process.argv[1] + '\\n')`);
  const demo = start(['demo'], { ...env, NODE_OPTIONS: `--require=${note}` });
  t.equal((await run(['wait'], env)).code, 0);
  while (!demo.output.includes('export KUBECONFIG=')) await once(demo.child.stdout ?? demo.child, 'data');
  for (const name of ['prod', 'edge-store', 'datacenter']) t.match(demo.output, new RegExp(`${name} .*https://127`));
  t.notMatch(demo.output, /"level":"(warn|error)"/);

  const status = await run(['status'], env);
  t.equal(status.code, 0, status.output);
  t.match(status.output, /ready, process \d+[\s\S]*prod /);
  const { memberships } = JSON.parse((await run(['memberships', '-o', 'json'], env)).output);
  t.strictSame(memberships.map(({ alias }: { alias: string }) => alias).sort(), ['datacenter', 'edge-store', 'prod']);
  const { output: kubeconfig } = await run(['kubeconfig'], env);
  t.equal(kubeconfig.trim(), join(stateDir, 'kubeconfig'));
  t.equal(statSync(kubeconfig.trim()).mode & 0o777, 0o600);

  const certificates = join(process.cwd(), 'dist', 'base', 'certificates-child.js');
  t.equal(
    readFileSync(programs, 'utf8')
      .split('\n')
      .filter((program) => program === certificates).length,
    1,
  );

  const second = await run(['demo'], env);
  t.equal(second.code, 1);
  t.match(second.output, /already running with this state folder \(process \d+\)/);

  const kubectl = findNewestKubectl();
  if ('missing' in kubectl) {
    if (process.env['CI']) t.fail(kubectl.missing);
    else t.comment(`kubectl is left out: ${kubectl.missing}`);
  } else {
    const client = new Kubectl({ path: kubectl.path, kubeconfig: kubeconfig.trim(), context: 'prod', home });
    const pods = await client.run(['get', 'pods']);
    t.match(pods.stdout, /^box +1\/1 +Running/m, pods.stderr);
    const echo = await client.run(['exec', 'box', '--', 'echo', 'hello']);
    t.equal(echo.stdout, 'hello\n', echo.stderr);
  }
  const stop = await run(['stop'], env);
  t.equal(stop.code, 0, stop.output);
  t.equal(await demo.code, 0);
  t.equal((await run(['status'], env)).code, 1);
});
