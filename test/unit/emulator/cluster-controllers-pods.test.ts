import t from 'tap';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, controllerOf, dicts, text } from '../../../src/emulator/cluster/json.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { seedCluster } from '../../../src/emulator/cluster/seed.js';
import type { StoreEvent } from '../../../src/emulator/cluster/store.js';
import { createPodRuntime } from '../../../src/emulator/pods/local-pod-runtime.js';
import { Cluster, condition, names, node, openCluster, pod, uidOf, workload } from './cluster-controllers-bench.js';

t.test('pods', async (t) => {
  t.test('are placed, started and described', async (t) => {
    const cluster = await openCluster(t);
    cluster.runtime.holdsBack = true;
    cluster.create('pods', pod('box'));
    await cluster.settle();
    const waiting = cluster.get('pods', 'box');
    t.equal(waiting.status?.['phase'], 'Pending');
    t.match(dicts(waiting.status?.['containerStatuses'])[0], {
      ...{ ready: false, started: false, state: { waiting: { reason: 'ContainerCreating' } } },
    });
    cluster.clock.advance(3000);
    cluster.runtime.runAll();
    await cluster.settle();
    const box = cluster.get('pods', 'box');
    t.equal(box.spec?.['nodeName'], 'node-1');
    t.match(box.status, { phase: 'Running', qosClass: 'BestEffort', podIP: /^10\.244\.\d+\.\d+$/, startTime: String });
    t.same(box.status?.['podIPs'], [{ ip: box.status?.['podIP'] }]);
    for (const type of ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready']) {
      t.match(condition(box, type), { status: 'True' }, type);
    }
    t.equal(condition(box, 'PodScheduled')?.['lastTransitionTime'], '2026-11-24T00:00:00Z');
    t.equal(condition(box, 'Ready')?.['lastTransitionTime'], '2026-11-24T00:00:03Z');
    t.same(Object.keys(dicts(box.status?.['containerStatuses'])[0] ?? {}).sort(), [
      ...['containerID', 'image', 'imageID', 'lastState', 'name', 'ready', 'restartCount', 'started', 'state'],
    ]);
    const events = cluster.list('events').filter(({ involvedObject }) => at(involvedObject, 'uid') === uidOf(box));
    t.same(new Set(events.map(({ reason }) => reason)), new Set(['Scheduled', 'Pulled', 'Created', 'Started']));
  });

  for (const exitCode of [0, 1]) {
    t.test(`begin with their init containers, here one that ends with ${exitCode}`, async (t) => {
      const cluster = await openCluster(t);
      const { metadata, spec } = pod('prepared') as { metadata: Dict; spec: Dict };
      const initContainers = [{ name: 'setup', image: 'x' }];
      cluster.create('pods', { metadata, spec: { ...spec, restartPolicy: 'Never', initContainers } });
      await cluster.settle();
      const begun = cluster.get('pods', 'prepared');
      t.equal(begun.status?.['phase'], 'Pending');
      t.match(condition(begun, 'Initialized'), { status: 'False', reason: 'ContainersNotInitialized' });
      t.match(begun.status?.['initContainerStatuses'], [{ name: 'setup', ready: false, state: { running: {} } }]);
      t.match(begun.status?.['containerStatuses'], [{ state: { waiting: { reason: 'PodInitializing' } } }]);
      cluster.runtime.exit(uidOf(begun), exitCode);
      await cluster.settle();
      const { status } = cluster.get('pods', 'prepared');
      t.equal(status?.['phase'], exitCode === 0 ? 'Running' : 'Failed');
      t.match(condition(cluster.get('pods', 'prepared'), 'Initialized'), { status: exitCode === 0 ? 'True' : 'False' });
      t.equal(cluster.runtime.statuses(uidOf(begun)).length, exitCode === 0 ? 2 : 1);
    });
  }

  t.test('tell of restarts', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('pods', pod('box'));
    await cluster.settle();
    const time = Date.UTC(2026, 10, 24);
    const lastTermination = { kind: 'terminated', exitCode: 7, startedAt: time, finishedAt: time + 1000 } as const;
    const state = { kind: 'waiting', reason: 'CrashLoopBackOff' } as const;
    const uid = uidOf(cluster.get('pods', 'box'));
    cluster.runtime.put(uid, { state, lastTermination, restartCount: 2 });
    await cluster.settle();
    const { status } = cluster.get('pods', 'box');
    t.equal(status?.['phase'], 'Running');
    t.match(dicts(status?.['containerStatuses'])[0], {
      restartCount: 2,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 7, reason: 'Error', finishedAt: '2026-11-24T00:00:01Z' } },
    });
    t.match(condition(cluster.get('pods', 'box'), 'Ready'), { status: 'False', reason: 'ContainersNotReady' });
  });

  t.test('never share an address, nor get that of another who lives', async (t) => {
    const cluster = await openCluster(t);
    for (const name of ['a', 'b', 'c']) cluster.create('pods', pod(name));
    await cluster.settle();
    cluster.delete('pods', 'a', { gracePeriodSeconds: 0 });
    await cluster.settle();
    cluster.create('pods', pod('d'));
    await cluster.settle();
    const addresses = cluster.list('pods').map(({ status }) => text(status?.['podIP']));
    t.equal(new Set(addresses).size, 3, addresses.join(' '));
  });

  t.test('are told the address of the node they are on', async (t) => {
    const cluster = new Cluster();
    t.teardown(() => cluster.close());
    for (const [index, name] of ['node-1', 'node-2'].entries()) {
      cluster.registry.change(
        ...([
          resourceById('nodes'),
          cluster.get('nodes', name, ''),
          { manager: 'test', subresource: 'status' },
        ] as const),
        (draft) => {
          draft.status = { ...draft.status, addresses: [{ type: 'InternalIP', address: `192.168.49.${index + 7}` }] };
        },
      );
    }
    cluster.create('daemonsets.apps', workload('agent'));
    await cluster.settle();
    const hosts = new Map(cluster.list('pods').map(({ spec, status }) => [spec?.['nodeName'], status?.['hostIP']]));
    t.same(
      hosts,
      new Map([
        ['node-1', '192.168.49.7'],
        ['node-2', '192.168.49.8'],
      ]),
    );
  });

  t.test('wait for a node that takes them', async (t) => {
    const cluster = await openCluster(t);
    const cordon = (name: string, unschedulable: boolean): void =>
      cluster.change(
        'nodes',
        name,
        (draft) => {
          draft.spec = { ...draft.spec, unschedulable };
        },
        '',
      );
    cordon('node-1', true);
    cordon('node-2', true);
    cluster.create('nodes', node('node-3', 'False'), '');
    cluster.create('pods', pod('box'));
    await cluster.settle();
    t.notOk(cluster.get('pods', 'box').spec?.['nodeName']);
    t.match(condition(cluster.get('pods', 'box'), 'PodScheduled'), { status: 'False', reason: 'Unschedulable' });
    cordon('node-2', false);
    await cluster.settle();
    t.equal(cluster.get('pods', 'box').spec?.['nodeName'], 'node-2');
    t.match(condition(cluster.get('pods', 'box'), 'PodScheduled'), { status: 'True' });
    t.equal(cluster.get('pods', 'box').status?.['phase'], 'Running');
  });

  t.test('go only after their processes', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('pods', pod('box'));
    await cluster.settle();
    cluster.runtime.lingers = true;
    cluster.delete('pods', 'box', { gracePeriodSeconds: 5 });
    await cluster.settle();
    t.match(cluster.get('pods', 'box').metadata, { deletionGracePeriodSeconds: 5, deletionTimestamp: String });
    t.ok(cluster.list('events').some(({ reason }) => reason === 'Killing'));
    t.match(cluster.runtime.stops, [{ graceMs: 5000 }]);
    cluster.delete('pods', 'box', { gracePeriodSeconds: 2 });
    await cluster.settle();
    t.match(cluster.runtime.stops, [{ graceMs: 5000 }, { graceMs: 2000 }], 'a shorter time is passed on');
    cluster.runtime.letGo();
    await cluster.settle();
    t.equal(cluster.find('pods', 'box'), undefined);
    t.same(cluster.warnings, []);
  });

  t.test('that a finalizer keeps are stopped once and then wait for it', async (t) => {
    const cluster = await openCluster(t);
    const draft = pod('box');
    cluster.create('pods', { ...draft, metadata: { name: 'box', finalizers: ['example.com/hold'] } });
    await cluster.settle();
    cluster.delete('pods', 'box', { gracePeriodSeconds: 5 });
    await cluster.settle();
    t.equal(cluster.get('pods', 'box').metadata.deletionGracePeriodSeconds, 0);
    t.match(cluster.runtime.stops, { length: 1 });
    cluster.change('pods', 'box', (held) => {
      held.metadata['finalizers'] = [];
    });
    await cluster.settle();
    t.equal(cluster.find('pods', 'box'), undefined);
  });

  t.test('that are forced out leave no process behind', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('pods', pod('box'));
    await cluster.settle();
    cluster.delete('pods', 'box', { gracePeriodSeconds: 0 });
    t.equal(cluster.find('pods', 'box'), undefined);
    await cluster.settle();
    t.equal(cluster.runtime.pods.size, 0);
  });
});

t.test('services', async (t) => {
  const web: Dict = {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  };
  const addressesOf = (cluster: Cluster): unknown[] =>
    dicts(cluster.find('endpoints', 'web')?.['subsets']).flatMap(({ addresses }) =>
      dicts(addresses).map(({ ip }) => ip),
    );
  const sliceOf = (cluster: Cluster): KubeObject | undefined =>
    cluster
      .list('endpointslices.discovery.k8s.io')
      .find(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'web');

  t.test('have the ready pods as endpoints', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('services', web);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    const ips = cluster.list('pods').map(({ status }) => status?.['podIP']);
    t.same(addressesOf(cluster).sort(), ips.sort());
    t.match(cluster.get('endpoints', 'web')['subsets'], [{ ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] }]);
    t.equal(dicts(sliceOf(cluster)?.['endpoints']).length, 2);
    cluster.scale('deployments.apps', 'web', 0);
    await cluster.settle();
    t.same(addressesOf(cluster), []);
    t.same(sliceOf(cluster)?.['endpoints'], []);
  });

  t.test('take their endpoints with them', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('services', web);
    await cluster.settle();
    t.ok(cluster.find('endpoints', 'web'));
    cluster.delete('services', 'web');
    await cluster.settle();
    t.equal(cluster.find('endpoints', 'web'), undefined);
    t.equal(sliceOf(cluster), undefined);
  });

  t.test('without a selector are left to whoever writes their endpoints', async (t) => {
    const cluster = await openCluster(t);
    const endpoints = {
      metadata: { name: 'web' },
      subsets: [{ addresses: [{ ip: '10.0.0.9' }], ports: [{ port: 1 }] }],
    };
    cluster.create('endpoints', endpoints);
    cluster.create('services', { metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } });
    await cluster.settle();
    t.same(addressesOf(cluster), ['10.0.0.9']);
  });
});

t.test('namespaces', async (t) => {
  t.test('begin with an account and a certificate', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('namespaces', { metadata: { name: 'mine' } }, '');
    await cluster.settle();
    t.ok(cluster.find('serviceaccounts', 'default', 'mine'));
    t.ok(cluster.find('configmaps', 'kube-root-ca.crt', 'mine'));
  });

  t.test('end when all in them has ended', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }), 'demo');
    cluster.create('pods', pod('box'), 'demo');
    cluster.create(
      'services',
      { metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } },
      'demo',
    );
    cluster.create('configmaps', { metadata: { name: 'held', finalizers: ['example.com/hold'] } }, 'demo');
    cluster.create('configmaps', { metadata: { name: 'elsewhere' } });
    await cluster.settle();
    cluster.runtime.lingers = true;
    cluster.delete('namespaces', 'demo', {}, '');
    await cluster.settle();
    t.equal(cluster.get('namespaces', 'demo', '').status?.['phase'], 'Terminating');
    t.equal(cluster.list('pods', 'demo').length, 3, 'pods have their grace, and are not replaced');
    cluster.runtime.letGo();
    await cluster.settle();
    t.same(names(cluster.list('pods', 'demo')), []);
    t.ok(cluster.find('namespaces', 'demo', ''), 'a finalizer holds it');
    cluster.change(
      'configmaps',
      'held',
      (draft) => {
        draft.metadata['finalizers'] = [];
      },
      'demo',
    );
    await cluster.settle();
    t.equal(cluster.find('namespaces', 'demo', ''), undefined);
    t.same(
      [...cluster.store.all()].filter(({ object }) => object.metadata.namespace === 'demo'),
      [],
    );
    t.ok(cluster.find('configmaps', 'elsewhere'));
    t.equal(cluster.runtime.pods.size, 0);
    t.same(cluster.warnings, []);
  });
});

t.test('garbage collection', async (t) => {
  const ownedBy = (name: string, ...owners: KubeObject[]): Dict => ({
    metadata: {
      name,
      ownerReferences: owners.map(({ apiVersion, kind, metadata }) => ({
        ...{ apiVersion, kind, name: metadata.name, uid: metadata.uid },
      })),
    },
  });

  t.test('in the background: dependents go after their owner', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    cluster.delete('deployments.apps', 'web', { propagationPolicy: 'Background' });
    t.equal(cluster.find('deployments.apps', 'web'), undefined);
    await cluster.settle();
    t.same(cluster.list('replicasets.apps'), []);
    t.same(cluster.list('pods'), []);
    t.equal(cluster.runtime.pods.size, 0);
  });

  t.test('in the foreground: dependents go before their owner', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    const gone: string[] = [];
    const forget = cluster.store.subscribe((event: StoreEvent) => {
      if (event.type === 'DELETED' && event.resource !== 'events') gone.push(event.object.kind);
    });
    t.teardown(forget);
    cluster.runtime.lingers = true;
    cluster.delete('deployments.apps', 'web', { propagationPolicy: 'Foreground' });
    await cluster.settle();
    t.same(cluster.get('deployments.apps', 'web').metadata['finalizers'], ['foregroundDeletion']);
    t.equal(cluster.list('pods').length, 2, 'no pod is made anew');
    cluster.runtime.letGo();
    await cluster.settle();
    t.same(gone, ['Pod', 'Pod', 'ReplicaSet', 'Deployment']);
  });

  t.test('orphans are left alone, and taken in by the next of their kind', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    const before = { sets: names(cluster.list('replicasets.apps')), pods: names(cluster.list('pods')) };
    cluster.delete('deployments.apps', 'web', { propagationPolicy: 'Orphan' });
    await cluster.settle();
    t.equal(cluster.find('deployments.apps', 'web'), undefined);
    t.same({ sets: names(cluster.list('replicasets.apps')), pods: names(cluster.list('pods')) }, before);
    t.notOk(cluster.list('replicasets.apps').some((set) => controllerOf(set)));
    const again = cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    t.same({ sets: names(cluster.list('replicasets.apps')), pods: names(cluster.list('pods')) }, before);
    t.equal(controllerOf(cluster.list('replicasets.apps')[0] ?? again)?.uid, uidOf(again));
    t.match(condition(cluster.get('deployments.apps', 'web'), 'Progressing'), { reason: 'NewReplicaSetAvailable' });
    t.same(cluster.warnings, []);
  });

  t.test('what has two owners goes with the last', async (t) => {
    const cluster = await openCluster(t);
    const one = cluster.create('configmaps', { metadata: { name: 'one' } });
    const two = cluster.create('configmaps', { metadata: { name: 'two' } });
    cluster.create('secrets', ownedBy('both', one, two));
    cluster.delete('configmaps', 'one');
    await cluster.settle();
    t.ok(cluster.find('secrets', 'both'));
    cluster.delete('configmaps', 'two');
    await cluster.settle();
    t.equal(cluster.find('secrets', 'both'), undefined);
  });
});

t.test('the seeded cluster', async (t) => {
  t.test('comes up with everything that commands are tried on', async (t) => {
    const cluster = new Cluster({ bare: true });
    t.teardown(() => cluster.close());
    seedCluster({ registry: cluster.registry, now: cluster.clock.now(), name: 'prod', version: 'v1.36.2' });
    await cluster.settle();
    t.same(names(cluster.store.list('namespaces')), ['default', 'demo', 'kube-public', 'kube-system']);
    const nodes = cluster.store.list('nodes');
    t.same(names(nodes), ['node-1', 'node-2']);
    for (const one of nodes) {
      t.match(condition(one, 'Ready'), { status: 'True' });
      t.match(one.status, { nodeInfo: { kubeletVersion: 'v1.36.2' }, capacity: { cpu: String }, addresses: Array });
    }
    t.match(names(cluster.list('pods')), ['box', /^hello-/, /^hello-/, 'two']);
    for (const one of cluster.list('pods')) {
      t.match(condition(one, 'Ready'), { status: 'True' }, one.metadata.name);
      const host = nodes.find(({ metadata }) => metadata.name === one.spec?.['nodeName']);
      t.match(dicts(host?.status?.['addresses'])[0], { address: one.status?.['hostIP'] });
    }
    t.match(at(cluster.get('pods', 'box'), 'spec.containers'), [{ name: 'box', stdin: true }]);
    t.same(names(cluster.list('services')), ['hello', 'kubernetes']);
    t.match(cluster.get('endpoints', 'hello')['subsets'], [{ addresses: [{}, {}], ports: [{ port: 8080 }] }]);
    for (const [id, name] of [
      ...([
        ['serviceaccounts', 'default'],
        ['configmaps', 'settings'],
        ['secrets', 'sample'],
      ] as const),
    ]) {
      t.ok(cluster.find(id, name), name);
    }
    for (const name of ['cluster-admin', 'view']) {
      t.ok(cluster.find('clusterroles.rbac.authorization.k8s.io', name, ''), name);
    }
    t.same(cluster.warnings, []);
  });
});

t.test('with real processes', async (t) => {
  t.test('a job runs to its end, a pod crashes and one is ended with grace', { timeout: 30_000 }, async (t) => {
    const env = { PATH: process.env['PATH'] ?? '' };
    const runtime = createPodRuntime({ rootDir: t.testdir(), clock: systemClock, log: silentLogger, env });
    const cluster = new Cluster({ runtime });
    t.teardown(async () => {
      cluster.close();
      await runtime.close();
    });
    const run = (script: string, spec: Dict): Dict => ({
      ...{ terminationGracePeriodSeconds: 5, ...spec },
      containers: [{ name: 'main', image: 'emulator.example/box:1', command: ['sh', '-c', script] }],
    });
    cluster.create('jobs.batch', {
      metadata: { name: 'once' },
      spec: { template: { spec: run('exit 0', { restartPolicy: 'Never' }) } },
    });
    cluster.create('pods', { metadata: { name: 'crashing' }, spec: run('exit 4', {}) });
    cluster.create('pods', {
      metadata: { name: 'polite' },
      spec: run('trap "exit 0" TERM; while :; do sleep 0.05; done', {}),
    });
    const job = await cluster.until('jobs.batch', 'once', (one) => condition(one, 'Complete')?.['status'] === 'True');
    t.match(job?.status, { succeeded: 1 });
    const crashing = await cluster.until('pods', 'crashing', (one) =>
      dicts(one?.status?.['containerStatuses']).some(({ restartCount }) => Number(restartCount) > 0),
    );
    t.match(dicts(crashing?.status?.['containerStatuses'])[0], { lastState: { terminated: { exitCode: 4 } } });
    const polite = await cluster.until('pods', 'polite', (one) => condition(one, 'Ready')?.['status'] === 'True');
    cluster.delete('pods', 'polite');
    t.ok(cluster.find('pods', 'polite'), 'it has its grace');
    await cluster.until('pods', 'polite', (one) => one === undefined);
    t.same(runtime.statuses(polite?.metadata.uid ?? ''), []);
  });
});
