import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';

const MAIN = join(process.cwd(), 'dist', 'main.js');
const home = mkdtempSync(join(tmpdir(), 'cgp-daily-'));
const config = join(home, 'config.yaml');
const env = {
  PATH: process.env['PATH'] ?? '',
  HOME: home,
  CGP_CONFIG: config,
  CGP_STATE_DIR: join(home, 'state'),
  CGP_LISTEN_PORT: '0',
  CGP_MEMBERSHIP_PORTS: '0-0',
};
t.teardown(() => rmSync(home, { recursive: true, force: true }));

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** Resolves when the process has written this. */
async function wrote(child: ChildProcess, output: { text: string }, pattern: RegExp): Promise<void> {
  while (!pattern.test(output.text)) await once(child.stderr ?? child, 'data');
}

t.test('a day with the daemon: SIGHUP, a saved file, a bad one, a policy, a shell', async (t) => {
  writeFileSync(config, 'exec: {onCutoff: end}\n');
  const child = spawn(process.execPath, [MAIN, 'demo'], { env });
  const output = { text: '' };
  child.stderr.on('data', (chunk: Buffer) => {
    output.text += chunk.toString();
  });
  const closed = once(child, 'close');
  t.equal((await run('wait')).code, 0);
  child.kill('SIGHUP');
  await wrote(child, output, /"cause":"SIGHUP","changed":"nothing","msg":"reloaded"/);

  const name = 'projects/demo-project/locations/us-central1/memberships/prod';
  writeFileSync(config, `memberships:\n- name: ${name}\n  alias: live\n  policy: no-exec\n`);
  await wrote(child, output, /"changed":"memberships,exec\.onCutoff","msg":"reloaded"/);
  t.match((await run('status')).stdout, /\nlive .* no-exec .* ok\n/);

  writeFileSync(config, 'memberships: 7\n');
  await wrote(child, output, /config\.yaml:1: memberships: expected a list/);
  writeFileSync(config, `memberships:\n- name: ${name}\n  alias: live\n`);
  await wrote(child, output, /"changed":"memberships","msg":"reloaded"/);
  t.match((await run('status')).stdout, /\nlive .* full .* ok\n/);

  const shell = await run(
    'shell',
    'live',
    '--',
    'sh',
    '-c',
    'echo "$KUBECONFIG"; test -r "$KUBECONFIG" || exit 9; exit 5',
  );
  t.equal(shell.code, 5, shell.stderr);
  t.notOk(existsSync(shell.stdout.trim()));
  t.equal((await run('stop')).code, 0);
  t.strictSame((await closed)[0], 0);
});
