import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

for (const version of ['1.27', '1.31', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version} meets the policies`, async (t: Test) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-policy-'));
    const policy = (id: string, location: string, name: string): unknown => ({
      name: `projects/demo-project/locations/${location}/memberships/${id}`,
      policy: name,
    });
    const memberships = [policy('prod', 'us-central1', 'read-only'), policy('edge-store', 'global', 'no-exec')];
    const daemon = await startDemoDaemon({ folder, flags: { memberships: JSON.stringify(memberships) } });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    t.match(daemon.daemon.memberships(), [
      { alias: 'prod', policy: 'read-only' },
      { alias: 'edge-store', policy: 'no-exec' },
    ]);
    const kubectl = (context: string): Kubectl =>
      new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context, home: join(folder, context) });
    const readOnly = kubectl('prod');
    const refusedByPolicy = /the policy read-only of membership prod refuses this .*policy: of projects\//s;

    for (const args of [
      ['get', 'pods', '-o', 'wide'],
      ['get', 'pod', 'box', '-o', 'yaml'],
      ['describe', 'pod', 'box'],
      ['logs', 'box', '--tail=1'],
      ['api-resources'],
      ['explain', 'pod.spec'],
      ['get', '--raw', '/version'],
      ['get', '--raw', '/readyz?verbose'],
      ['version'],
    ]) {
      const { code, stderr } = await readOnly.run(args);
      t.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    }
    const canI = await readOnly.run(['auth', 'can-i', 'get', 'pods']);
    t.match(canI.stdout, /^(yes|no)/, canI.stderr);
    for (const args of [
      ['delete', 'pod', 'box', '--wait=false'],
      ['label', 'pod', 'box', 'a=b'],
      ['create', 'configmap', 'new', '--from-literal=a=b'],
      ['create', 'configmap', 'new', '--from-literal=a=b', '--dry-run=server'],
      ['scale', 'deployment', 'hello', '--replicas=3'],
      ['exec', 'box', '--', 'true'],
      ['attach', 'box'],
      ['port-forward', 'box', ':80'],
      ['get', 'secrets'],
      ['get', '--raw', '/api/v1/namespaces/default/services/hello:80/proxy/'],
      ['create', 'token', 'default'],
    ]) {
      const { code, stderr } = await readOnly.run(args);
      t.not(code, 0, args.join(' '));
      t.match(stderr, refusedByPolicy, args.join(' '));
    }

    const noExec = kubectl('edge-store');
    t.match(await noExec.run(['create', 'configmap', 'new', '--from-literal=a=b']), { code: 0 });
    t.match(await noExec.run(['exec', 'box', '--', 'true']), {
      code: 1,
      stderr: /the policy no-exec of membership edge-store/,
    });
    if (version !== '1.27') t.match(await kubectl('datacenter').run(['exec', 'box', '--', 'true']), { code: 0 });
  });
}
