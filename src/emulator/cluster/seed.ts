import type { Dict } from './json.js';
import { timestamp } from './json.js';
import type { Registry } from './registry.js';
import { resourceById } from './resource-table.js';

const HELLO = 'emulator.example/hello:1';
const BOX = 'emulator.example/box:1';

/** What a built-in cluster begins with: enough to try every command on. */
export function seedCluster(options: { registry: Registry; now: number; name: string; version: string }): void {
  const { registry } = options;
  const create = (id: string, namespace: string, draft: Dict): void => {
    registry.create(resourceById(id), namespace, draft, { manager: 'emulator', fieldValidation: 'Ignore' });
  };
  for (const name of ['default', 'kube-system', 'kube-public', 'demo']) {
    create('namespaces', '', { metadata: { name, labels: { 'kubernetes.io/metadata.name': name } } });
  }
  for (const index of [1, 2]) create('nodes', '', node(index, options));
  create('clusterroles.rbac.authorization.k8s.io', '', {
    metadata: { name: 'cluster-admin' },
    rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
  });
  create('clusterroles.rbac.authorization.k8s.io', '', {
    metadata: { name: 'view' },
    rules: [{ apiGroups: [''], resources: ['pods', 'services', 'configmaps'], verbs: ['get', 'list', 'watch'] }],
  });
  create('clusterrolebindings.rbac.authorization.k8s.io', '', {
    metadata: { name: 'viewers' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'viewer@example.com' }],
  });
  create('services', 'default', {
    metadata: { name: 'kubernetes', labels: { component: 'apiserver', provider: 'kubernetes' } },
    spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443, targetPort: 6443 }] },
  });
  create('configmaps', 'default', { metadata: { name: 'settings' }, data: { cluster: options.name, color: 'blue' } });
  create('secrets', 'default', { metadata: { name: 'sample' }, stringData: { password: 'not-a-secret' } });
  create('deployments.apps', 'default', {
    metadata: { name: 'hello', labels: { app: 'hello' } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'hello' } },
      template: {
        metadata: { labels: { app: 'hello' } },
        spec: { containers: [{ name: 'hello', image: HELLO, ports: [{ name: 'http', containerPort: 8080 }] }] },
      },
    },
  });
  create('services', 'default', {
    metadata: { name: 'hello', labels: { app: 'hello' } },
    spec: { selector: { app: 'hello' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  });
  create('pods', 'default', {
    metadata: { name: 'box', labels: { app: 'box' } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'box', image: BOX, stdin: true }] },
  });
  create('pods', 'default', {
    metadata: { name: 'two', labels: { app: 'two' } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [
        { name: 'main', image: HELLO, ports: [{ containerPort: 8080 }] },
        { name: 'sidecar', image: BOX },
      ],
    },
  });
}

function node(index: number, options: { now: number; version: string }): Dict {
  const name = `node-${index}`;
  const time = timestamp(options.now);
  const resources = { cpu: '4', memory: '16Gi', pods: '110', 'ephemeral-storage': '100Gi' };
  const condition = (type: string, status: string, reason: string): Dict => ({
    ...{ type, status, reason, message: reason, lastHeartbeatTime: time, lastTransitionTime: time },
  });
  return {
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' },
    },
    spec: { podCIDR: `10.244.${index}.0/24`, podCIDRs: [`10.244.${index}.0/24`] },
    status: {
      capacity: resources,
      allocatable: resources,
      conditions: [
        condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory'),
        condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure'),
        condition('PIDPressure', 'False', 'KubeletHasSufficientPID'),
        condition('Ready', 'True', 'KubeletReady'),
      ],
      addresses: [
        { type: 'InternalIP', address: `192.168.49.${index + 1}` },
        { type: 'Hostname', address: name },
      ],
      nodeInfo: {
        ...{
          machineID: name,
          systemUUID: name,
          bootID: name,
          kernelVersion: 'emulated',
          osImage: 'processes of this machine',
        },
        ...{
          containerRuntimeVersion: 'emulator://1.0.0',
          kubeletVersion: options.version,
          kubeProxyVersion: options.version,
        },
        ...{ operatingSystem: 'linux', architecture: 'amd64' },
      },
    },
  };
}
