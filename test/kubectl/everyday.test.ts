import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const N = '--namespace=everyday';

/** What people type beside the list of issue 2: the arguments, what must be printed, and the exit code where it is not 0. */
type Step = readonly [args: readonly string[], printed: RegExp, code?: number];

const steps = (file: string): readonly Step[] => [
  [['api-versions'], /^apps\/v1$[\s\S]*^v1$/m],
  [['cluster-info'], /is running at/],
  [['explain', 'deployment.spec.strategy', '--recursive'], /maxSurge/],
  [['create', 'namespace', 'everyday'], /created/],
  [['create', 'secret', 'generic', 'key', N, '--from-literal=p=x'], /secret\/key created/],
  [['create', 'serviceaccount', 'robot', N], /created/],
  [['create', 'token', 'robot', N], /^[\w-]+\.[\w-]+\.[\w-]+$/],
  [['auth', 'can-i', '--list', N], /\*\.\* +\[\] +\[\] +\[\*\]/],
  [['create', 'deployment', 'web', N, '--image=emulator.example/hello', '--replicas=2', '--port=8080'], /created/],
  [['rollout', 'status', 'deployment/web', N, '--timeout=30s'], /successfully rolled out/],
  [['expose', 'deployment', 'web', N, '--port=80', '--target-port=8080'], /exposed/],
  [['get', 'endpointslices', N], /web.* 8080 +10\.244\./],
  [['set', 'image', 'deployment/web', N, 'hello=emulator.example/hello:2'], /image updated/],
  [['rollout', 'status', 'deployment/web', N, '--timeout=30s'], /successfully rolled out/],
  [['rollout', 'history', 'deployment/web', N], /^2 +/m],
  [['rollout', 'undo', 'deployment/web', N], /rolled back/],
  [['wait', '--for=condition=Available', 'deployment/web', N, '--timeout=30s'], /condition met/],
  [['autoscale', 'deployment', 'web', N, '--min=1', '--max=3', '--cpu-percent=50'], /autoscaled/],
  [['get', 'hpa', N], /Deployment\/web +cpu: <unknown>\/50% +1 +3 +0/],
  [['run', 'one', N, '--image=emulator.example/box', '--restart=Never'], /pod\/one created/],
  [['wait', '--for=condition=Ready', 'pod/one', N, '--timeout=30s'], /condition met/],
  [['debug', 'one', N, '--image=emulator.example/box', '--container=dbg', '--', 'echo', 'from the debugger'], /^/],
  [['wait', '--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0', 'pod/one', N], /met/],
  [['logs', 'one', N, '-c', 'dbg'], /^from the debugger$/m],
  [['create', 'configmap', 'plain', N, '--from-literal=a=1'], /created/],
  [['diff', '-f', file], /^\+ +a: "2"$/m, 1],
  [['replace', '-f', file], /replaced/],
  [['diff', '-f', file], /^$/],
  [['edit', 'configmap', 'plain', N], /configmap\/plain edited/],
  [['get', 'configmap', 'plain', N, '-o', 'jsonpath={.data.a}'], /^3$/],
  [['annotate', 'configmap', 'plain', N, 'note=x'], /annotate/],
  [['cordon', 'node-1'], /cordoned/],
  [['get', 'node', 'node-1'], /Ready,SchedulingDisabled/],
  [['uncordon', 'node-1'], /uncordoned/],
  [['top', 'nodes'], /Metrics API not available/, 1],
  [['delete', 'deployment', 'web', N, '--cascade=orphan'], /deleted/],
  [['get', 'replicasets', N, '-o', 'name'], /replicaset\.apps\/web-/],
  [['delete', 'replicasets', '--all', N, '--cascade=foreground'], /deleted/],
  [['delete', 'namespace', 'everyday', '--timeout=30s'], /deleted/],
  [['get', 'namespace', 'everyday'], /namespaces "everyday" not found/, 1],
];

for (const version of ['1.27', '1.33', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`an everyday with kubectl ${version}`, async (t: Test) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-everyday-'));
    const daemon = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    kubectl.env['EDITOR'] = String.raw`sed -i s/\"2\"/\"3\"/`;
    const file = join(folder, 'plain.yaml');
    writeFileSync(
      file,
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain, namespace: everyday}\ndata: {a: "2"}\n',
    );
    for (const [args, printed, code = 0] of steps(file)) {
      const result = await kubectl.run(args);
      t.equal(result.code, code, `${args.join(' ')}: ${result.stderr}`);
      t.match(code > 0 && result.stdout === '' ? result.stderr : result.stdout, printed, args.join(' '));
    }
  });
}
