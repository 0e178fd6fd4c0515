import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { createBuiltinCluster } from '../../src/emulator/cluster/builtin-cluster.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { createPodRuntime } from '../../src/emulator/pods/local-pod-runtime.js';
import { emulatedMembership } from '../support/daemon-scene.js';
import { findNewestKubectl, Kubectl, type KubectlResult } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';
import { runProgram } from '../support/program.js';

const root = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'cgp-install-'));
const prefix = join(folder, 'prefix with a space');
const home = join(folder, 'hömé');
mkdirSync(home);
const quietly = { clock: systemClock, log: silentLogger };
const runtime = createPodRuntime({ rootDir: join(folder, 'pods'), ...quietly });
const prod = emulatedMembership('prod', {
  backend: createBuiltinCluster({ name: 'prod', version: 'v1.36.2', runtime, seed: true, ...quietly }),
});
const emulator = await startEmulator({ memberships: [prod], ...quietly });
t.teardown(async () => {
  await emulator.close();
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

/** npm with this machine's cache and settings. */
const npm = async (...words: string[]): Promise<{ code: number; output: string }> =>
  await runProgram(['npm', ...words], {
    cwd: root,
    env: { ...(process.env as Record<string, string>), HOME: homedir() },
  });

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}
const packed = await npm('pack', '--ignore-scripts', '--json', '--loglevel=error', '--pack-destination', folder);
const answer = JSON.parse(packed.output.slice(packed.output.search(/^[[{]/m))) as Packed[] | Record<string, Packed>;
const [tarball] = Object.values(answer) as Packed[];

t.test('the tarball holds what runs, and nothing else', async (t) => {
  const paths = (tarball?.files ?? []).map(({ path }) => path);
  const rest = paths.filter((path) => !path.startsWith('dist/') && !path.startsWith('service/'));
  t.strictSame(rest.sort(), ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']);
  const built = new Set(readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }));
  for (const path of paths.filter((path) => path.startsWith('dist/'))) {
    t.ok(path.endsWith('.js') && built.has(path.slice('dist/'.length)), `${path} is of this build`);
  }
  t.ok(paths.includes('dist/main.js'));
  t.ok(paths.includes('service/systemd/connect-gateway-proxy.service'));
  const attw = await runProgram([join('node_modules', '.bin', 'attw'), join(folder, tarball?.filename ?? '')], {
    env: { HOME: home },
  });
  t.match(attw, { code: 0, output: /This package does not contain types/ }, 'a program, and no library');
});

const kubectlFound = findNewestKubectl();
if ('missing' in kubectlFound) tellMissing(t, kubectlFound.missing);
const skip = 'missing' in kubectlFound && kubectlFound.missing;

t.test('installed from the tarball, alone in a folder: a life with it', { skip }, async (t) => {
  const file = join(folder, tarball?.filename ?? '');
  const install = await npm(
    'install',
    '--global',
    '--prefix',
    prefix,
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    file,
  );
  t.equal(install.code, 0, install.output);
  const program = join(prefix, 'bin', 'connect-gateway-proxy');
  const env = { HOME: home, XDG_CURRENT_DESKTOP: 'test' };
  const run = async (...words: string[]): Promise<{ code: number; output: string }> =>
    await runProgram([program, ...words], { cwd: folder, env });

  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  t.strictSame(await run('--version'), { code: 0, output: `${version}\n` });
  t.match(await run('--help'), { code: 0, output: /service .*background/ });
  t.match(await run('emulator', '--list-faults'), { code: 0, output: /reset/ });
  t.match(await run('memberships'), { code: 1, output: /no daemon runs/ });

  const { url } = emulator;
  const configFolder = join(home, '.config', 'connect-gateway-proxy');
  mkdirSync(configFolder, { recursive: true });
  writeFileSync(join(configFolder, 'token'), emulator.accessToken);
  writeFileSync(join(configFolder, 'ca.pem'), emulator.caCertificate);
  const configure = (memberships: readonly object[]): void =>
    writeFileSync(
      join(configFolder, 'config.yaml'),
      JSON.stringify({
        projects: ['demo-project'],
        identities: { default: { source: 'token-file', tokenFile: 'token' } },
        memberships,
        endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, caFile: 'ca.pem' },
        listen: { port: 0, membershipPorts: '0-0' },
      }),
    );
  configure([]);
  t.match(await run('service', 'status'), { code: 1, output: /^not installed\nNext: .* service install\n$/ });
  // The manager that every Linux has, so that a real service can run in a test.
  const installed = await run('service', 'install', '--manager', 'autostart');
  t.teardown(() => run('service', 'uninstall'));
  t.equal(installed.code, 0, installed.output);
  t.match(
    installed.output,
    /^wrote .*autostart\/connect-gateway-proxy\.desktop\n[\s\S]*running: process \d+[\s\S]*Next: /,
  );
  const entry = readFileSync(join(home, '.config', 'autostart', 'connect-gateway-proxy.desktop'), 'utf8');
  t.match(entry, `"${prefix}/lib/node_modules/connect-gateway-proxy/dist/main.js" "service" "run"`);
  t.match(await run('memberships'), { code: 0, output: /prod/ });
  t.match(await run('service', 'install', '--manager', 'autostart'), { code: 0, output: /is up to date/ });
  t.match(await run('service', 'restart'), { code: 0, output: /running: process/ });
  t.match(await run('service', 'status'), { code: 0, output: /daemon: running/ });
  t.match(await run('service', 'logs'), { code: 0, output: /"msg":"ready"[\s\S]*"msg":"stopped"[\s\S]*"msg":"ready"/ });

  // Daily use: a person's own kubeconfig, another cluster, a restriction.
  const mine = join(home, 'my config');
  t.match(await run('kubeconfig', '--merge', mine), { code: 0, output: /^1 context is in .*my config, and follows/ });
  const kubectl = await kubectlOn(t, mine);
  t.match(await kubectl('get', 'pods'), { code: 0, stdout: /^box +1\/1 +Running/m });
  emulator.setMemberships([prod, emulatedMembership('late')]);
  configure([{ name: 'projects/demo-project/locations/global/memberships/prod', policy: 'read-only' }]);
  // The daemon may have seen the saved file by itself before.
  t.match(await run('reload'), { code: 0, output: /; 2 memberships/ });
  t.match(await kubectl('config', 'get-contexts', '-o', 'name'), { stdout: /^late\nprod\n$/ });
  t.match(await kubectl('delete', 'pod', 'box'), { code: 1, stderr: /the policy read-only of membership prod/ });
  t.match(await kubectl('get', 'pods'), { code: 0, stdout: /^box /m });

  // As npm does it: other files in the same place.
  t.match(await run('service', 'stop'), { code: 0, output: /^stopped; / });
  const manifest = join(prefix, 'lib', 'node_modules', 'connect-gateway-proxy', 'package.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"version": "${version}"`, '"version": "99.0.0"'));
  t.match(await run('service', 'status'), { code: 1, output: `installed by version ${version}, this is 99.0.0` });
  t.match(await run('service', 'install', '--manager', 'autostart'), { code: 0, output: /running: process/ });
  t.match(await run('service', 'status'), { code: 0, output: /daemon: running.*version 99\.0\.0/ });
  t.match(await kubectl('get', 'pods'), { code: 0, stdout: /^box /m });

  const gone = await run('service', 'uninstall');
  t.equal(gone.code, 0, gone.output);
  const state = join(home, '.local', 'share', 'connect-gateway-proxy');
  t.match(gone.output, new RegExp(`left: ${state} [\\s\\S]*rm -r '${state}'`), 'what is left is named');
  t.match(gone.output, `left: the contexts that you merged into ${mine}\n`);
  t.match(await run('kubeconfig', '--remove', mine), { code: 0, output: /removed our contexts/ });
  t.equal((await kubectl('config', 'get-contexts', '-o', 'name')).stdout, '');
  t.strictSame(readdirSync(join(home, '.config', 'autostart')), []);
  t.notOk(readdirSync(state).some((name) => name.startsWith('service') || name.startsWith('daemon')));
  t.match(await run('memberships'), { code: 1, output: /no daemon runs/ });
});

/** With no context of its own to name: the person's current one. */
async function kubectlOn(t: Test, kubeconfig: string): Promise<(...words: string[]) => Promise<KubectlResult>> {
  const client = new Kubectl({ path: 'path' in kubectlFound ? kubectlFound.path : '', kubeconfig, home });
  const used = await client.run(['config', 'use-context', 'prod']);
  t.equal(used.code, 0, used.stderr);
  return async (...words) => await client.run(words);
}
