import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { runCommand } from '../support/command-io.js';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

/** Not in step: the daemon is in this process. */
async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('curl', ['-sS', '--max-time', '20', ...args]);
  return stdout;
}

const status = (...args: string[]): Promise<string> =>
  curl('-o', '/dev/null', '-w', '%{http_code} %{http_version}', ...args);

for (const version of ['1.27', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version} and curl over plain HTTP, where no token is sent`, async (t: Test) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-plain-'));
    const daemon = await startDemoDaemon({ folder, flags: { 'listen.http': '0' } });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const beside = { folder: join(folder, 'no-config'), stateDir: join(folder, 'state') };
    const kubeconfig = join(folder, 'plain.yaml');
    const { out } = await runCommand(['kubeconfig', '--http', '--stdout'], beside);
    writeFileSync(kubeconfig, out, { mode: 0o600 });
    const kubectl = new Kubectl({ path: found.path, kubeconfig, context: 'prod', home: folder });

    const pods = await kubectl.run(['get', 'pods', '-o', 'name']);
    t.match(pods.stdout, /^pod\/box$/m, pods.stderr);
    const piped = await kubectl.run(['exec', '-i', 'box', '--', 'cat'], { input: 'to and fro' });
    t.strictSame([piped.code, piped.stdout], [0, 'to and fro'], piped.stderr);
    const canI = await kubectl.run(['auth', 'can-i', 'create', 'deployments', '--as=ann', '--as-group=x']);
    t.match(canI.stdout, /^yes/, canI.stderr);
    const written = await kubectl.run(['create', 'configmap', `plain-${version}`, '--from-literal=a=1']);
    t.equal(written.code, 0, written.stderr);
    const forward = kubectl.start(['port-forward', 'deployment/hello', ':8080']);
    const [, port = ''] = await forward.until(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
    t.match(await curl(`http://127.0.0.1:${port}/`), /hello from/);
    await forward.stop();

    const server = /server: (http:\S+)/.exec(out)?.[1] ?? '';
    t.equal(await status(`${server}/version`), '200 1.1');
    t.equal(await status('--http2', `${server}/version`), '200 1.1', 'an offer of HTTP/2 is declined');
    t.equal(await status('--http1.0', `${server}/version`), '200 1.1');
    t.equal(await status(`${new URL(server).origin}/version`), '401 1.1');
  });
}
