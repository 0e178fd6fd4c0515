import t from 'tap';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { dict, dicts, list } from '../../../src/emulator/cluster/json.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { toPartialMetadata, toPartialMetadataList, toTable } from '../../../src/emulator/cluster/table-printer.js';
import { NOW, PODS, REAL_POD } from './cluster-object-bench.js';

t.test('tables', async (t) => {
  const ago = (ms: number): string => new Date(NOW - ms).toISOString();
  const cells = (typeId: string, object: Dict, createdAgo = 0): unknown => {
    const metadata = { name: 'x', creationTimestamp: ago(createdAgo), ...dict(object['metadata']) };
    const full = { kind: 'X', apiVersion: 'v1', ...object, metadata } as KubeObject;
    const table = toTable(resourceById(typeId), [full], { now: NOW, includeObject: 'None', withColumns: true });
    const row = dicts(table['rows'])[0];
    t.equal(
      dicts(table['columnDefinitions']).length,
      list(row?.['cells']).length,
      `${typeId}: as many cells as columns`,
    );
    return row?.['cells'];
  };
  const pod = (status: Dict, more: Dict = {}): unknown =>
    cells('pods', { spec: { containers: [{ name: 'a' }, { name: 'b' }] }, status, ...more });

  t.test('of pods are like a real server’s', async (t) => {
    const now = Date.parse('2026-11-23T20:27:20Z');
    const table = toTable(PODS, [REAL_POD], {
      now,
      includeObject: 'Metadata',
      withColumns: true,
      listMetadata: { resourceVersion: '503' },
    });
    t.match(table, { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: { resourceVersion: '503' } });
    t.same(
      dicts(table['columnDefinitions']).map(({ name, type, format, priority }) => [name, type, format, priority]),
      [
        ['Name', 'string', 'name', 0],
        ['Ready', 'string', '', 0],
        ['Status', 'string', '', 0],
        ['Restarts', 'string', '', 0],
        ['Age', 'string', '', 0],
        ['IP', 'string', '', 1],
        ['Node', 'string', '', 1],
        ['Nominated Node', 'string', '', 1],
        ['Readiness Gates', 'string', '', 1],
      ],
    );
    t.same(table['rows'], [
      {
        cells: ['box', '2/2', 'Running', '0', '5m34s', '10.244.0.20', 'n1', '<none>', '<none>'],
        object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: REAL_POD.metadata },
      },
    ]);
    const bookmark = { kind: 'Pod', apiVersion: 'v1', metadata: { resourceVersion: '9' } } as unknown as KubeObject;
    const next = toTable(PODS, [bookmark], { now, includeObject: 'Object', withColumns: false });
    t.equal(next['columnDefinitions'], null);
    t.same(next['rows'], [
      { cells: ['', '0/0', '', '0', '<unknown>', '<none>', '<none>', '<none>', '<none>'], object: bookmark },
    ]);
  });

  t.test('say in one word what a pod does', async (t) => {
    const running = { ready: true, restartCount: 0, state: { running: {} } };
    const waiting = (reason: string): Dict => ({ restartCount: 0, state: { waiting: { reason } } });
    const ended = (exitCode: number, reason?: string): Dict => ({
      restartCount: 0,
      state: { terminated: { exitCode, ...(reason === undefined ? {} : { reason }) } },
    });
    const ready = [{ type: 'Ready', status: 'True' }];
    const cases: [string, Dict, Dict?][] = [
      ['0/2 Pending', { phase: 'Pending' }],
      ['0/2 Evicted', { phase: 'Failed', reason: 'Evicted' }],
      ['1/2 ContainerCreating', { phase: 'Pending', containerStatuses: [running, waiting('ContainerCreating')] }],
      ['1/2 CrashLoopBackOff', { phase: 'Running', containerStatuses: [waiting('CrashLoopBackOff'), running] }],
      ['0/2 Completed', { phase: 'Succeeded', containerStatuses: [ended(0, 'Completed'), ended(0, 'Completed')] }],
      ['0/2 Error', { phase: 'Failed', containerStatuses: [ended(0, 'Completed'), ended(1, 'Error')] }],
      ['0/2 ExitCode:3', { phase: 'Failed', containerStatuses: [ended(3)] }],
      ['1/2 Running', { phase: 'Running', conditions: ready, containerStatuses: [ended(0, 'Completed'), running] }],
      ['1/2 NotReady', { phase: 'Running', containerStatuses: [ended(0, 'Completed'), running] }],
      ['1/2 Terminating', { phase: 'Running', containerStatuses: [running] }, { deletionTimestamp: ago(0) }],
      ['0/2 Init:0/1', { phase: 'Pending', initContainerStatuses: [{ restartCount: 0, state: { running: {} } }] }],
      ['0/2 Init:Error', { phase: 'Pending', initContainerStatuses: [ended(1, 'Error')] }],
    ];
    for (const [expected, status, metadata] of cases) {
      const containers = [{ name: 'a' }, { name: 'b' }];
      const spec = expected.includes('Init') ? { containers, initContainers: [{ name: 'i' }] } : { containers };
      const found = pod(status, { spec, ...(metadata === undefined ? {} : { metadata }) }) as string[];
      t.equal(`${found[1]} ${found[2]}`, expected);
    }
    const restarted = pod({
      phase: 'Running',
      containerStatuses: [
        { ...running, restartCount: 2, lastState: { terminated: { exitCode: 1, finishedAt: ago(125_000) } } },
        running,
      ],
    }) as string[];
    t.equal(restarted[3], '2 (2m5s ago)');
    const done = toTable(PODS, [{ ...REAL_POD, status: { phase: 'Succeeded' } }], {
      now: NOW,
      includeObject: 'None',
      withColumns: false,
    });
    t.match(done['rows'], [{ conditions: [{ type: 'Completed', status: 'True', reason: 'Succeeded' }], object: null }]);
  });

  t.test('tell ages as kubectl does', async (t) => {
    const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
    const cases: [number, string][] = [
      [-5 * second, '<invalid>'],
      [0, '0s'],
      [119 * second, '119s'],
      [2 * minute, '2m'],
      [5 * minute + 3 * second, '5m3s'],
      [10 * minute + 3 * second, '10m'],
      [3 * hour, '3h'],
      [7 * hour + 5 * minute, '7h5m'],
      [47 * hour, '47h'],
      [2 * day + 3 * hour, '2d3h'],
      [8 * day + 3 * hour, '8d'],
      [729 * day, '729d'],
      [3 * 365 * day + day, '3y1d'],
      [9 * 365 * day, '9y'],
    ];
    for (const [ms, expected] of cases) t.same(cells('serviceaccounts', {}, ms), ['x', expected]);
  });

  t.test('of other types have their own columns', async (t) => {
    const template = {
      spec: {
        containers: [
          { name: 'a', image: 'i' },
          { name: 'b', image: 'j' },
        ],
        nodeSelector: { k: 'v' },
      },
    };
    const selector = { matchLabels: { b: '2', a: '1' } };
    const workload = ['a,b', 'i,j', 'a=1,b=2'];
    const counts = { replicas: 3, readyReplicas: 2, updatedReplicas: 1, availableReplicas: 2 };
    const spec = { replicas: 3, selector, template };
    t.same(cells('deployments.apps', { spec, status: counts }), ['x', '2/3', 1, 2, '0s', ...workload]);
    t.same(cells('replicasets.apps', { spec, status: counts }), ['x', 3, 3, 2, '0s', ...workload]);
    t.same(cells('statefulsets.apps', { spec, status: counts }), ['x', '2/3', '0s', 'a,b', 'i,j']);
    const nodes = { desiredNumberScheduled: 1, currentNumberScheduled: 1, numberReady: 1 };
    t.same(cells('daemonsets.apps', { spec, status: nodes }), ['x', 1, 1, 1, 0, 0, 'k=v', '0s', ...workload]);
    const job = { spec: { completions: 1, selector, template }, status: { startTime: ago(65_000) } };
    t.same(cells('jobs.batch', job), ['x', 'Running', '0/1', '65s', '0s', ...workload]);
    const complete = [{ type: 'Complete', status: 'True' }];
    const finished = { conditions: complete, succeeded: 1, startTime: ago(65_000), completionTime: ago(60_000) };
    t.same(cells('jobs.batch', { ...job, status: finished }), ['x', 'Complete', '1/1', '5s', '0s', ...workload]);
    t.same(cells('cronjobs.batch', { spec: { schedule: '* * * * *', jobTemplate: { spec: { template } } } }), [
      ...['x', '* * * * *', '<none>', 'False', 0, '<none>', '0s', 'a,b', 'i,j', '<none>'],
    ]);
    const ports = [
      { port: 80, protocol: 'TCP' },
      { port: 53, protocol: 'UDP', nodePort: 30053 },
    ];
    t.same(cells('services', { spec: { type: 'LoadBalancer', clusterIP: '10.96.0.2', ports } }), [
      ...['x', 'LoadBalancer', '10.96.0.2', '<pending>', '80/TCP,53:30053/UDP', '0s', '<none>'],
    ]);
    t.same(
      cells('nodes', {
        metadata: { labels: { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/role': 'edge' } },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
          nodeInfo: { kubeletVersion: 'v1.36.2', osImage: 'Linux' },
        },
      }),
      [
        ...['x', 'Ready,SchedulingDisabled', 'control-plane,edge', '0s', 'v1.36.2', '10.0.0.1', '<none>', 'Linux'],
        ...['<unknown>', '<unknown>'],
      ],
    );
    t.same(cells('namespaces', { status: { phase: 'Active' } }), ['x', 'Active', '0s']);
    t.same(cells('configmaps', { data: { a: '' }, binaryData: { b: '' } }), ['x', 2, '0s']);
    t.same(cells('secrets', { type: 'Opaque', data: { a: '' } }), ['x', 'Opaque', 1, '0s']);
    const event = {
      ...{ type: 'Normal', reason: 'Started', message: ' it runs\n', involvedObject: { kind: 'Pod', name: 'box' } },
      ...{
        source: { component: 'kubelet', host: 'n1' },
        firstTimestamp: ago(90_000),
        lastTimestamp: ago(5000),
        count: 3,
      },
    };
    const told = ['5s', 'Normal', 'Started', 'pod/box', '', 'kubelet, n1', 'it runs', '90s', 3, 'x'];
    t.same(cells('events', event), told);
    const renamed = { type: 'Normal', reason: 'Started', note: 'it runs', regarding: event.involvedObject };
    const newer = { deprecatedSource: event.source, deprecatedFirstTimestamp: ago(90_000), deprecatedCount: 3 };
    const both = { ...renamed, ...newer, deprecatedLastTimestamp: ago(5000) };
    t.same(cells('events.events.k8s.io', both), told);
    const addresses = ['1', '2', '3', '4'].map((n) => ({ ip: `10.0.0.${n}` }));
    t.same(cells('endpoints', { subsets: [{ addresses, ports: [{ port: 80 }] }] }), [
      ...['x', '10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...', '0s'],
    ]);
    t.same(cells('endpointslices.discovery.k8s.io', { addressType: 'IPv4', endpoints: [], ports: [{ port: 80 }] }), [
      ...['x', 'IPv4', '80', '<unset>', '0s'],
    ]);
    const volume = { volumeName: 'pv', storageClassName: 'fast', volumeMode: 'Filesystem' };
    const bound = { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] };
    t.same(cells('persistentvolumeclaims', { spec: volume, status: bound }), [
      ...['x', 'Bound', 'pv', '1Gi', 'RWO', 'fast', '<unset>', '0s', 'Filesystem'],
    ]);
    const claimRef = { namespace: 'default', name: 'data' };
    const pv = { capacity: { storage: '1Gi' }, accessModes: ['ReadOnlyMany'], claimRef };
    t.same(cells('persistentvolumes', { spec: { ...pv, persistentVolumeReclaimPolicy: 'Delete' }, status: bound }), [
      ...['x', '1Gi', 'ROX', 'Delete', 'Bound', 'default/data', '', '<unset>', '', '0s', '<unset>'],
    ]);
    t.same(cells('leases.coordination.k8s.io', { spec: { holderIdentity: 'me' } }), ['x', 'me', '0s']);
    const subjects = [
      { kind: 'User', name: 'u' },
      { kind: 'ServiceAccount', namespace: 'n', name: 's' },
    ];
    t.same(cells('rolebindings.rbac.authorization.k8s.io', { roleRef: { kind: 'Role', name: 'r' }, subjects }), [
      ...['x', 'Role/r', '0s', 'u', '', 'n/s'],
    ]);
    t.same(cells('roles.rbac.authorization.k8s.io', {}), ['x', ago(0)]);
  });

  t.test('partial metadata', async (t) => {
    const partial = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: REAL_POD.metadata };
    t.same(toPartialMetadata(REAL_POD), partial);
    t.same(toPartialMetadataList([REAL_POD], { resourceVersion: '1' }), {
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion: '1' },
      items: [partial],
    });
  });
});
