import { execFile } from 'node:child_process';
import { accessSync, constants, realpathSync } from 'node:fs';
import { devNull } from 'node:os';
import { delimiter, join } from 'node:path';
import { minorOf } from '../../../kubernetes/version.js';
import { type Check, ok, warn } from '../check.js';
import type { Environment } from '../in-force.js';
import { versionIn } from '../versions.js';

const RUN_MS = 8000;
/** Kubernetes' own policy is one; what is farther away mostly works and is worth a word. */
const SKEW = 2;

/** Which kubectl does this shell find, and does it fit the clusters? Every version can stream: the daemon translates. */
export const kubectlVersions: Check = {
  id: 'kubectl',
  title: 'local kubectl',
  needs: ['configuration'],
  async run(context) {
    const paths = find(context.io.env);
    const found = await Promise.all(
      paths.map(async (path) => ({ path, version: await versionOf(path, context.io.env) })),
    );
    const [first] = found;
    if (first === undefined) return ok('none on PATH; other clients do not need it');
    const { version } = first;
    if (version === undefined) {
      return warn(`${first.path} does not say its version`, `${first.path} version --client`, {
        code: 'kubectl-broken',
      });
    }
    const others = found.slice(1).map((one) => `${one.path} ${one.version ?? 'broken'}`);
    const told = `${version} (${first.path})${others.length === 0 ? '' : `; also ${others.join(', ')}`}`;
    const reaches = await context.reaches().catch(() => new Map());
    const far = (await context.memberships().catch(() => [])).flatMap(({ alias, name, kubernetesVersion }) => {
      const cluster = versionIn(reaches.get(name)) ?? kubernetesVersion;
      const distance = Math.abs((minorOf(cluster) ?? minorOf(version) ?? 0) - (minorOf(version) ?? 0));
      return distance > SKEW ? [`${alias}'s ${cluster}`] : [];
    });
    const [nearest] = far;
    if (nearest === undefined) return ok(told);
    const more = far.length === 1 ? '' : ` and ${far.length - 1} more`;
    const message = `${told} is more than ${SKEW} minor versions from ${nearest}${more}: most of it works, some output may differ`;
    return warn(message, 'gcloud components update kubectl', { code: 'kubectl-skew' });
  },
};

function find(env: Environment): string[] {
  const name = process.platform === 'win32' ? 'kubectl.exe' : 'kubectl';
  const seen = new Map<string, string>();
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      const real = realpathSync(path);
      if (folder !== '' && !seen.has(real)) seen.set(real, path);
    } catch {
      // Not in this folder.
    }
  }
  return [...seen.values()].slice(0, 4);
}

function versionOf(path: string, env: Environment): Promise<string | undefined> {
  return new Promise((resolve) => {
    // The Cloud SDK's kubectl asks the current cluster which of its versions it should be.
    const alone = { ...env, KUBECONFIG: devNull };
    const options = { env: alone, timeout: RUN_MS, windowsHide: true, encoding: 'utf8' } as const;
    execFile(path, ['version', '--client', '--output=json'], options, (_error, stdout) => {
      try {
        const { clientVersion } = JSON.parse(stdout) as { clientVersion?: { gitVersion?: string } };
        resolve(clientVersion?.gitVersion);
      } catch {
        resolve(undefined);
      }
    }).stdin?.end();
  });
}
