import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { KubectlTerminal } from '../support/kubectl-terminal.js';
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

const image = 'emulator.example/box';
const PREPARED = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'prepared' },
  spec: {
    terminationGracePeriodSeconds: 0,
    initContainers: [{ name: 'setup', image, command: ['sh', '-c', 'echo prepared'] }],
    containers: [
      { name: 'main', image, command: ['sh', '-c', 'echo begun; sleep 1000'] },
      { name: 'beside', image, command: ['sh', '-c', 'echo too; sleep 1000'] },
    ],
  },
};

// Most of a day is waiting for controllers.
t.jobs = 2;

for (const version of ['1.27', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`an everyday with kubectl ${version}`, { buffered: true }, async (t: Test) => {
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
    await Promise.all([
      initLogs(t, kubectl, folder),
      oneOff(t, kubectl),
      debug(t, kubectl),
      largeList(t, kubectl, folder),
    ]);
  });
}

async function initLogs(t: Test, kubectl: Kubectl, folder: string): Promise<void> {
  const file = join(folder, 'prepared.yaml');
  writeFileSync(file, JSON.stringify(PREPARED));
  t.match(await kubectl.run(['apply', '-f', file]), { code: 0 });
  t.match(await kubectl.run(['wait', '--for=condition=Ready', 'pod/prepared', '--timeout=30s']), { code: 0 });
  t.match(await kubectl.run(['logs', 'prepared', '-c', 'setup']), { code: 0, stdout: /^prepared$/m });
  const all = kubectl.start(['logs', 'prepared', '-f', '--all-containers', '--prefix']);
  await all.until(/^\[pod\/prepared\/setup\] prepared$/m);
  await all.until(/^\[pod\/prepared\/main\] begun$/m);
  await all.until(/^\[pod\/prepared\/beside\] too$/m);
  await all.stop();
}

/** A list that is read and written in many pieces, up and down. */
async function largeList(t: Test, kubectl: Kubectl, folder: string): Promise<void> {
  const file = join(folder, 'large.json');
  const items = ['a', 'b', 'c', 'd'].map((name) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `large-${name}`, labels: { size: 'large' } },
    data: { text: Array.from({ length: 100_000 }, (_, i) => `${name}${i}`).join(' ') },
  }));
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  t.match(await kubectl.run(['create', '-f', file]), { code: 0 });
  const listed = await kubectl.run(['get', 'configmaps', '-l', 'size=large', '-o', 'json']);
  t.equal(listed.code, 0, listed.stderr);
  const got = (JSON.parse(listed.stdout) as { items: typeof items }).items;
  t.ok(
    items.every(({ data }, i) => got[i]?.data.text === data.text),
    `${listed.stdout.length} bytes are as they were sent`,
  );
}

async function oneOff(t: Test, kubectl: Kubectl): Promise<void> {
  const words = ['run', 'one-off', '-it', '--rm', '--restart=Never', '--image=emulator.example/box', '--command'];
  const terminal = await KubectlTerminal.start(kubectl, [...words, '--', 'sh']);
  await typed(terminal, 'echo answer=$((40+2))', /answer=42/);
  terminal.type('exit\r');
  t.equal(await terminal.exited, 0, terminal.screen);
  t.match(terminal.screen, /pod "one-off" deleted/);
}

async function debug(t: Test, kubectl: Kubectl): Promise<void> {
  const words = ['debug', 'box', '-it', '--image=emulator.example/box', '--container=look'];
  const terminal = await KubectlTerminal.start(kubectl, [...words, '--', 'sh']);
  await typed(terminal, 'echo answer=$((40+3))', /answer=43/);
  terminal.type('exit\r');
  t.equal(await terminal.exited, 0, terminal.screen);
}

/** A terminal that is attached to has no prompt that would say when it hears. */
async function typed(terminal: KubectlTerminal, line: string, answer: RegExp): Promise<void> {
  const timer = setInterval(() => terminal.type(`${line}\r`), 500);
  await terminal.shows(answer).finally(() => clearInterval(timer));
}
