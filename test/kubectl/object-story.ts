import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Scene } from './story.js';

const deployment = (image: string, replicas: number): string => `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: ${image}, ports: [{containerPort: 8080}]}
`;

/** Everything that writes, in a namespace of its own. */
export async function tellObjectStory(t: Test, { kubectl, folder, namespace, context }: Scene): Promise<void> {
  const n = `--namespace=${namespace}`;
  const ok = async (args: readonly string[], expected: RegExp, input?: string): Promise<string> => {
    const result = await kubectl.run(args, input === undefined ? {} : { input });
    t.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    t.match(result.stdout, expected, args.join(' '));
    return result.stdout;
  };
  await ok(['create', 'namespace', namespace], /created/);
  const watch = kubectl.start(['get', 'configmaps', n, '--watch', '-o', 'name']);
  await ok(['create', 'configmap', 'plain', n, '--from-literal=a=1'], /configmap\/plain created/);
  await watch.until(/configmap\/plain/);

  const file = join(folder, `${context}-web.yaml`);
  writeFileSync(file, deployment('emulator.example/hello', 2));
  await ok(['apply', n, '-f', file], /deployment\.apps\/web created/);
  await ok(['apply', n, '-f', file], /deployment\.apps\/web unchanged/);
  await ok(['rollout', 'status', 'deployment/web', n, '--timeout=30s'], /successfully rolled out/);
  writeFileSync(file, deployment('emulator.example/hello:2', 2));
  await ok(['apply', n, '-f', file], /deployment\.apps\/web configured/);
  await ok(['scale', 'deployment/web', n, '--replicas=3'], /scaled/);
  await ok(
    ['get', 'deployment', 'web', n, '-o', 'jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}'],
    /^3 emulator\.example\/hello:2$/,
  );
  await ok(['patch', 'deployment', 'web', n, '--type=merge', '-p', '{"spec":{"replicas":1}}'], /patched/);
  await ok(
    [
      'patch',
      'deployment',
      'web',
      n,
      '--type=json',
      '-p',
      '[{"op":"add","path":"/metadata/annotations/note","value":"x"}]',
    ],
    /patched/,
  );
  await ok(
    [
      'patch',
      'deployment',
      'web',
      n,
      '-p',
      '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}',
    ],
    /patched/,
  );
  await ok(
    ['get', 'deployment', 'web', n, '-o', 'jsonpath={.spec.template.spec.containers[0]}'],
    /"image":"emulator\.example\/hello:2".*|.*"env"/,
  );
  await ok(['label', 'configmap', 'plain', n, 'tier=test'], /labeled/);
  await ok(['get', 'configmaps', n, '-l', 'tier=test', '-o', 'name'], /^configmap\/plain$/m);

  const ssa = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {owner: one}\n';
  await ok(['apply', '--server-side', '--field-manager=one', n, '-f', '-'], /serverside-applied/, ssa);
  const conflict = await kubectl.run(['apply', '--server-side', '--field-manager=two', n, '-f', '-'], {
    input: ssa.replace('one}', 'two}'),
  });
  t.equal(conflict.code, 1);
  t.match(conflict.stderr, /conflict/i);
  await ok(
    ['apply', '--server-side', '--force-conflicts', '--field-manager=two', n, '-f', '-'],
    /serverside-applied/,
    ssa.replace('one}', 'two}'),
  );
  await ok(['get', 'configmap', 'shared', n, '-o', 'jsonpath={.data.owner}'], /^two$/);

  const refused = await kubectl.run(['create', 'configmap', 'plain', n]);
  t.match(refused.stderr, /already exists/);
  await ok(['delete', 'deployment', 'web', n], /deleted/);
  await ok(['delete', 'configmap', 'plain', 'shared', n], /"plain" deleted/);
  t.not(await watch.stop(), 0, 'it was still going on when it was interrupted');
  await ok(['delete', 'namespace', namespace], /deleted/);
}
