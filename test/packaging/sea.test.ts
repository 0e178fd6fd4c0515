import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { WebSocket } from 'ws';
import { parse } from 'yaml';
import type { WrittenKubeconfig } from '../support/daemon-scene.js';
import { findNewestKubectl, Kubectl } from '../support/kubectl.js';
import { outputOf, runProgram, startProgram } from '../support/program.js';

const home = mkdtempSync(join(tmpdir(), 'cgp-sea-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
const env = { HOME: home, CGP_LISTEN_PORT: '0', CGP_MEMBERSHIP_PORTS: '0-0' };

t.test('one file, away from every other, serves kubectl', async (t) => {
  const built = await runProgram([process.execPath, join('scripts', 'build-sea.mjs')], { env: { HOME: home } });
  t.equal(built.code, 0, built.output);
  const program = join(home, 'cgp');
  copyFileSync(/^(\/.*connect-gateway-proxy)$/m.exec(built.output)?.[1] ?? '', program);
  const run = async (...words: string[]): Promise<{ code: number; output: string }> =>
    await runProgram([program, ...words], { env, cwd: home });
  t.match(await run('--version'), { code: 0, output: /^\d+\.\d+\.\d+\S*\n$/ });
  const units = await run('service', 'install', '--dry-run', '--manager', 'systemd', '--projects', 'p');
  t.match(units, { code: 0, output: `ExecStart="${program}" "run" "--projects" "p"` });

  const kubectl = findNewestKubectl();
  if ('missing' in kubectl) {
    if (process.env['CI']) t.fail(kubectl.missing);
    else t.comment(`kubectl is left out: ${kubectl.missing}`);
    return;
  }
  // From a folder with node_modules, of which it must not take anything.
  const demo = startProgram([program, 'demo'], { env });
  t.teardown(() => demo.child.kill('SIGKILL'));
  const [, kubeconfig = ''] = await outputOf(demo, /export KUBECONFIG=(\S+)/);
  const client = new Kubectl({ path: kubectl.path, kubeconfig, context: 'prod', home });
  t.match((await client.run(['version', '-o', 'json'])).stdout, /"serverVersion"/);
  const pods = await client.run(['get', 'pods']);
  t.match(pods.stdout, /^box +1\/1 +Running/m, pods.stderr);
  const hello = await client.run(['exec', '-i', 'box', '--', 'cat'], { input: 'hello\n' });
  t.equal(hello.stdout, 'hello\n', hello.stderr);
  t.match(await terminalIn(kubeconfig), /a terminal needs the optional package @lydell\/node-pty/, 'no native code');
  t.match(await run('stop', '--state-dir', join(kubeconfig, '..')), { code: 0 });
  t.equal(await demo.code, 0);
});

/** Everything that an exec with a terminal says; kubectl asks for one only where it has one. */
async function terminalIn(path: string): Promise<string> {
  const { clusters, users } = parse(readFileSync(path, 'utf8')) as WrittenKubeconfig;
  const prod = clusters.find(({ name }) => name === 'prod')?.cluster;
  const socket = new WebSocket(
    `${prod?.server}/api/v1/namespaces/default/pods/box/exec?command=sh&tty=true&stdin=true&stdout=true`,
    ['v5.channel.k8s.io'],
    {
      ca: Buffer.from(prod?.['certificate-authority-data'] ?? '', 'base64'),
      headers: { authorization: `Bearer ${users.find(({ name }) => name === 'prod')?.user.token}` },
    },
  );
  let said = '';
  socket.on('message', (data) => {
    said += String(data);
  });
  await once(socket, 'close');
  return said;
}
