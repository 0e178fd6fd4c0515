import type { Test } from 'tap';
import { parse } from 'yaml';
import type { Scene } from './story.js';

/** Everything that only reads. */
export async function tellReadStory(
  t: Test,
  { kubectl, daemon, context, version: kubectlVersion }: Scene,
): Promise<void> {
  const version = await kubectl.run(['version', '-o', 'json']);
  t.equal(version.code, 0, version.stderr);
  t.match(JSON.parse(version.stdout).serverVersion, { major: '1', gitVersion: /^v1\./ });

  const resources = await kubectl.run(['api-resources']);
  t.equal(resources.code, 0, resources.stderr);
  t.match(resources.stdout, /^deployments +deploy +apps\/v1 +true +Deployment$/m);
  t.match(resources.stdout, /^pods +po +v1 +true +Pod$/m);

  const table = await kubectl.run(['get', 'pods']);
  t.equal(table.code, 0, table.stderr);
  t.match(table.stdout, /^NAME +READY +STATUS +RESTARTS +AGE$/m);
  t.match(table.stdout, /^box +1\/1 +Running +0 +\S+$/m);
  const wide = await kubectl.run(['get', 'pods', '-o', 'wide']);
  t.match(wide.stdout, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/m);
  const all = await kubectl.run(['get', 'pods', '-A']);
  t.match(all.stdout, /^NAMESPACE +NAME +READY/m);
  t.match(all.stdout, /^default +box/m);
  const json = await kubectl.run(['get', 'pod', 'box', '-o', 'json']);
  t.match(JSON.parse(json.stdout), {
    kind: 'Pod',
    metadata: { name: 'box', namespace: 'default' },
    status: { phase: 'Running' },
  });
  const yaml = await kubectl.run(['get', 'pod', 'box', '-o', 'yaml']);
  t.match(parse(yaml.stdout), { kind: 'Pod', metadata: { name: 'box' } });
  const selected = await kubectl.run(['get', 'pods', '-l', 'app=hello', '-o', 'name']);
  t.match(selected.stdout, /^pod\/hello-/m);
  t.notMatch(selected.stdout, 'box');

  for (const what of ['pod/box', 'deployment/hello', 'service/hello', 'node', 'namespace/default']) {
    const described = await kubectl.run(['describe', what]);
    t.equal(described.code, 0, `${what}: ${described.stderr}`);
    t.match(described.stdout, /^Name: +/m, what);
  }

  for (const what of ['pod.spec.containers', 'deployment.spec.replicas']) {
    const explained = await kubectl.run(['explain', what]);
    t.equal(explained.code, 0, `${what}: ${explained.stderr}`);
    t.match(explained.stdout, /FIELD|DESCRIPTION/, what);
  }

  t.match((await kubectl.run(['auth', 'can-i', 'create', 'deployments'])).stdout, /^yes/);
  const whoami = await kubectl.run(['auth', 'whoami', '-o', 'json']);
  if (kubectlVersion === '1.27') {
    t.match(
      whoami.stderr,
      /selfsubjectreviews API is not enabled/,
      'it knows only the beta API, which new clusters lack',
    );
  } else {
    t.equal(whoami.code, 0, whoami.stderr);
    t.equal(JSON.parse(whoami.stdout).status.userInfo.username, 'dev@example.com');
  }

  const missing = await kubectl.run(['get', 'pod', 'no-such-pod']);
  t.equal(missing.code, 1);
  t.equal(missing.stderr.trim(), 'Error from server (NotFound): pods "no-such-pod" not found');

  const before = daemon.emulator.requests.length;
  const as = ['--as=ann', '--as-group=zebra', '--as-group=apple', '--as-group=mango'];
  const asked = await kubectl.run(['get', 'configmap', 'settings', '-o', 'name', ...as]);
  t.equal(asked.stdout, 'configmap/settings\n', asked.stderr);
  if (kubectlVersion !== '1.27') {
    const asAnn = await kubectl.run(['auth', 'whoami', '-o', 'json', ...as]);
    t.match(JSON.parse(asAnn.stdout).status.userInfo, { username: 'ann', groups: ['zebra', 'apple', 'mango'] });
  }
  const review = daemon.emulator.requests
    .slice(before)
    .find((request) => request.membership === context && request.target.includes('configmaps/settings'));
  const impersonation: string[] = [];
  const raw = review?.rawHeaders ?? [];
  for (let i = 0; i < raw.length; i += 2)
    if (/^impersonate-/i.test(raw[i] ?? '')) impersonation.push(`${raw[i]}: ${raw[i + 1]}`);
  t.strictSame(
    impersonation.filter((line) => line.startsWith('Impersonate-Group')),
    ['Impersonate-Group: zebra', 'Impersonate-Group: apple', 'Impersonate-Group: mango'],
    'groups arrive upstream one by one and in order',
  );
  t.ok(impersonation.includes('Impersonate-User: ann'));
}
