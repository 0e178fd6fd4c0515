import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.js';
import { type Logger, silentLogger } from '../../../src/base/log.js';
import { startControllers } from '../../../src/emulator/cluster/controllers/controllers.js';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, controllerOf, dicts, text } from '../../../src/emulator/cluster/json.js';
import { Registry } from '../../../src/emulator/cluster/registry.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { seedCluster } from '../../../src/emulator/cluster/seed.js';
import { Store, type StoreEvent } from '../../../src/emulator/cluster/store.js';
import { createPodRuntime } from '../../../src/emulator/pods/local-pod-runtime.js';
import type { ContainerState, ContainerStatus, PodRuntime, PodSpec } from '../../../src/emulator/pods/pod-runtime.js';
import { FakeClock } from '../../support/fake-clock.js';

/** Containers that do what the test says; they run at once unless `holdsBack`, and stop at once unless `lingers`. */
class FakeRuntime implements PodRuntime {
  readonly pods = new Map<string, { spec: PodSpec; statuses: ContainerStatus[] }>();
  readonly stops: { uid: string; graceMs: number }[] = [];
  holdsBack = false;
  lingers = false;
  readonly #listeners: ((uid: string) => void)[] = [];
  readonly #waiting: (() => void)[] = [];

  start(spec: PodSpec): void {
    const state = { kind: 'waiting', reason: 'ContainerCreating' } as const;
    this.pods.set(spec.uid, { spec, statuses: spec.containers.map(({ name }) => ({ name, state, restartCount: 0 })) });
    if (!this.holdsBack) setImmediate(() => this.run(spec.uid));
  }

  run(uid: string): void {
    this.put(uid, { state: { kind: 'running', startedAt: Date.UTC(2026, 10, 24) } });
  }

  runAll(): void {
    for (const uid of this.pods.keys()) this.run(uid);
  }

  exit(uid: string, exitCode: number): void {
    const time = Date.UTC(2026, 10, 24);
    this.put(uid, { state: { kind: 'terminated', exitCode, startedAt: time, finishedAt: time + 5000 } });
  }

  put(uid: string, change: { state: ContainerState; lastTermination?: ContainerState; restartCount?: number }): void {
    const pod = this.pods.get(uid);
    if (pod === undefined) return;
    pod.statuses = pod.statuses.map((status) => ({ ...status, ...change }));
    for (const listener of this.#listeners) listener(uid);
  }

  async stop(uid: string, options: { graceMs: number }): Promise<void> {
    if (!this.pods.has(uid)) return;
    this.stops.push({ uid, graceMs: options.graceMs });
    if (this.lingers && options.graceMs > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.pods.delete(uid);
  }

  letGo(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  statuses(uid: string): readonly ContainerStatus[] {
    return this.pods.get(uid)?.statuses ?? [];
  }

  onChange(listener: (uid: string) => void): void {
    this.#listeners.push(listener);
  }

  openLog(): never {
    throw new Error('no logs here');
  }

  upgrade(): never {
    throw new Error('no streams here');
  }

  async close(): Promise<void> {}
}

class Cluster {
  readonly clock = new FakeClock();
  readonly runtime = new FakeRuntime();
  readonly store = new Store({ clock: this.clock });
  readonly warnings: string[] = [];
  readonly registry: Registry;
  readonly #controllers: { close(): void };

  constructor(options: { bare?: true; runtime?: PodRuntime } = {}) {
    let address = 1;
    const help = { serviceAddress: () => `10.96.0.${++address}`, nodePort: () => 30_000 + address++ };
    this.registry = new Registry({ store: this.store, clock: this.clock, random: Math.random, help });
    const { registry, store, clock } = this;
    const runtime = options.runtime ?? this.runtime;
    const log: Logger = { ...silentLogger, warn: (_fields, message) => void this.warnings.push(message) };
    this.#controllers = startControllers({ registry, store, runtime, clock, log });
    if (options.bare === true) return;
    for (const name of ['default', 'demo']) this.create('namespaces', { metadata: { name } }, '');
    for (const name of ['node-1', 'node-2']) this.create('nodes', node(name, 'True'), '');
  }

  close(): void {
    this.#controllers.close();
  }

  create(id: string, draft: Dict, namespace = 'default'): KubeObject {
    return this.registry.create(resourceById(id), namespace, structuredClone(draft), { manager: 'test' });
  }

  find(id: string, name: string, namespace = 'default'): KubeObject | undefined {
    return this.store.get(id, namespace, name);
  }

  get(id: string, name: string, namespace = 'default'): KubeObject {
    return this.registry.find(resourceById(id), namespace, name);
  }

  list(id: string, namespace = 'default'): KubeObject[] {
    return this.store.list(id, namespace);
  }

  change(id: string, name: string, act: (draft: KubeObject) => void, namespace = 'default'): void {
    this.registry.change(resourceById(id), this.get(id, name, namespace), { manager: 'test' }, act);
  }

  scale(id: string, name: string, replicas: number): void {
    this.change(id, name, (draft) => {
      draft.spec = { ...draft.spec, replicas };
    });
  }

  delete(id: string, name: string, options: Dict = {}, namespace = 'default'): void {
    this.registry.delete(resourceById(id), this.get(id, name, namespace), options);
  }

  /** Resolves with the object, or undefined for none, as soon as it is as wanted. */
  until(
    id: string,
    name: string,
    wanted: (object: KubeObject | undefined) => boolean,
  ): Promise<KubeObject | undefined> {
    return new Promise((resolve) => {
      const look = (): boolean => {
        const found = this.find(id, name);
        if (!wanted(found)) return false;
        resolve(found);
        return true;
      };
      if (look()) return;
      const forget = this.store.subscribe(() => {
        if (look()) forget();
      });
    });
  }

  /** Until nothing has been written for some turns: the controllers have no more to do. */
  async settle(): Promise<void> {
    for (let quiet = 0, revision = -1; quiet < 5; quiet++) {
      if (this.store.revision !== revision) quiet = 0;
      revision = this.store.revision;
      await nextTurn();
    }
  }
}

async function openCluster(t: Test): Promise<Cluster> {
  const cluster = new Cluster();
  t.teardown(() => cluster.close());
  await cluster.settle();
  return cluster;
}

function node(name: string, ready: 'True' | 'False'): Dict {
  return { metadata: { name }, status: { conditions: [{ type: 'Ready', status: ready }] } };
}

function template(name: string, image = 'emulator.example/hello:1', spec: Dict = {}): Dict {
  return { metadata: { labels: { app: name } }, spec: { containers: [{ name, image }], ...spec } };
}

function workload(name: string, spec: Dict = {}): Dict {
  return { metadata: { name }, spec: { selector: { matchLabels: { app: name } }, template: template(name), ...spec } };
}

function job(name: string, spec: Dict = {}): Dict {
  const pod = template(name, 'emulator.example/box:1', { restartPolicy: 'Never' });
  return { metadata: { name }, spec: { template: pod, ...spec } };
}

function pod(name: string, spec: Dict = {}): Dict {
  return { metadata: { name, labels: { app: name } }, spec: { ...dictOf(template(name)['spec']), ...spec } };
}

function dictOf(value: unknown): Dict {
  return value as Dict;
}

function condition(object: KubeObject | undefined, type: string): Dict | undefined {
  return dicts(object?.status?.['conditions']).find((one) => one['type'] === type);
}

function uidOf(object: KubeObject): string {
  return object.metadata.uid ?? '';
}

function names(objects: readonly KubeObject[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}

function imagesOf(objects: readonly KubeObject[]): unknown[] {
  return objects.map((object) => dicts(at(object, 'spec.containers'))[0]?.['image']);
}

t.test('deployments', async (t) => {
  t.test('become a replica set and pods, and say so as `kubectl rollout status` wants it', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    t.same(cluster.list('pods'), [], 'nothing happens inside the write');
    await cluster.settle();
    const [set, ...others] = cluster.list('replicasets.apps');
    t.equal(others.length, 0);
    const hash = set?.metadata.labels?.['pod-template-hash'] ?? '';
    t.match(hash, /^[bcdfghjklmnpqrstvwxz2456789]{8,10}$/);
    t.equal(set?.metadata.name, `web-${hash}`);
    t.match(set?.spec, { replicas: 2, selector: { matchLabels: { app: 'web', 'pod-template-hash': hash } } });
    const pods = cluster.list('pods');
    t.equal(pods.length, 2);
    for (const one of pods) {
      t.match(one.metadata.name, new RegExp(`^web-${hash}-[a-z0-9]{5}$`));
      t.match(controllerOf(one), {
        kind: 'ReplicaSet',
        apiVersion: 'apps/v1',
        uid: set?.metadata.uid,
        controller: true,
      });
    }
    const deployment = cluster.get('deployments.apps', 'web');
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '1');
    t.match(deployment.status, {
      ...{ observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
    });
    t.match(condition(deployment, 'Available'), { status: 'True' });
    t.match(condition(deployment, 'Progressing'), { status: 'True', reason: 'NewReplicaSetAvailable' });
    t.same(cluster.warnings, []);
  });

  t.test('are scaled up and down, to nothing too', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [first] = cluster.list('pods');
    for (const replicas of [4, 1, 0]) {
      cluster.scale('deployments.apps', 'web', replicas);
      await cluster.settle();
      t.equal(cluster.list('pods').length, replicas);
      t.match(cluster.get('deployments.apps', 'web').status, {
        observedGeneration: cluster.get('deployments.apps', 'web').metadata.generation,
        ...(replicas > 0 ? { readyReplicas: replicas } : {}),
      });
      if (replicas === 1) t.same(names(cluster.list('pods')), [first?.metadata.name], 'the oldest stays');
    }
    t.equal(cluster.list('replicasets.apps').length, 1);
  });

  t.test('roll: old pods stay until the new ones are ready', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    cluster.runtime.holdsBack = true;
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    const one = 'emulator.example/hello:1';
    const two = 'emulator.example/hello:2';
    t.same(imagesOf(cluster.list('pods')).sort(), [one, one, two, two]);
    t.match(cluster.get('deployments.apps', 'web').status, { observedGeneration: 2, updatedReplicas: 2, replicas: 4 });
    t.match(condition(cluster.get('deployments.apps', 'web'), 'Progressing'), { reason: 'ReplicaSetUpdated' });
    t.match(condition(cluster.get('deployments.apps', 'web'), 'Available'), { status: 'True' });
    cluster.runtime.runAll();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), [two, two]);
    const deployment = cluster.get('deployments.apps', 'web');
    t.match(deployment.status, { replicas: 2, updatedReplicas: 2, availableReplicas: 2 });
    t.match(condition(deployment, 'Progressing'), { reason: 'NewReplicaSetAvailable' });
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '2');
    t.equal(cluster.list('replicasets.apps').length, 2, 'the old one is kept for a rollback');
  });

  t.test('take an earlier replica set again, however its template is written', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [old] = names(cluster.list('replicasets.apps'));
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    cluster.change('deployments.apps', 'web', (draft) => {
      // As `kubectl rollout undo` sends it: other order of keys, null for what is empty.
      const spec = { containers: [{ image: 'emulator.example/hello:1', name: 'web' }] };
      draft.spec = { ...draft.spec, template: { spec, metadata: { labels: { app: 'web' }, creationTimestamp: null } } };
    });
    await cluster.settle();
    const sets = cluster.list('replicasets.apps');
    t.equal(sets.length, 2);
    const again = sets.find(({ metadata }) => metadata.name === old);
    t.equal(again?.spec?.['replicas'], 1);
    t.equal(again?.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
    const deployment = cluster.get('deployments.apps', 'web');
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
  });

  t.test('of type Recreate end the old pods first', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { strategy: { type: 'Recreate' } }));
    await cluster.settle();
    cluster.runtime.lingers = true;
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:1'], 'still ending');
    cluster.runtime.letGo();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:2']);
  });

  t.test('replace a pod that is deleted', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [before = ''] = names(cluster.list('pods'));
    cluster.delete('pods', before);
    await cluster.settle();
    const after = names(cluster.list('pods'));
    t.equal(after.length, 1);
    t.not(after[0], before);
  });
});

t.test('stateful sets', async (t) => {
  t.test('start one after the other and end with the highest', async (t) => {
    const cluster = await openCluster(t);
    cluster.runtime.holdsBack = true;
    cluster.create('statefulsets.apps', workload('db', { replicas: 3, serviceName: 'db' }));
    for (const expected of [['db-0'], ['db-0', 'db-1'], ['db-0', 'db-1', 'db-2']]) {
      await cluster.settle();
      t.same(names(cluster.list('pods')), expected);
      cluster.runtime.runAll();
    }
    await cluster.settle();
    t.match(cluster.get('statefulsets.apps', 'db').status, { replicas: 3, readyReplicas: 3, updatedReplicas: 3 });
    cluster.scale('statefulsets.apps', 'db', 1);
    await cluster.settle();
    t.same(names(cluster.list('pods')), ['db-0']);
  });

  t.test('do not call pods of an older template updated, and replace them', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('statefulsets.apps', workload('db', { replicas: 2, serviceName: 'db' }));
    await cluster.settle();
    cluster.runtime.holdsBack = true;
    cluster.change('statefulsets.apps', 'db', (draft) => {
      draft.spec = { ...draft.spec, template: template('db', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(
      imagesOf(cluster.list('pods')),
      ['emulator.example/hello:1', 'emulator.example/hello:2'],
      'the highest first',
    );
    const { status } = cluster.get('statefulsets.apps', 'db');
    t.equal(status?.['updatedReplicas'], 1);
    t.not(status?.['currentRevision'], status?.['updateRevision']);
    cluster.runtime.holdsBack = false;
    cluster.runtime.runAll();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:2', 'emulator.example/hello:2']);
    const after = cluster.get('statefulsets.apps', 'db').status;
    t.match(after, { updatedReplicas: 2, readyReplicas: 2 });
    t.equal(after?.['currentRevision'], after?.['updateRevision']);
  });
});

t.test('daemon sets', async (t) => {
  t.test('have a pod on each node, new nodes too, and roll', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('daemonsets.apps', workload('agent'));
    await cluster.settle();
    cluster.create('nodes', node('node-3', 'True'), '');
    await cluster.settle();
    const nodes = cluster.list('pods').map(({ spec }) => spec?.['nodeName']);
    t.same(nodes.sort(), ['node-1', 'node-2', 'node-3']);
    cluster.change('daemonsets.apps', 'agent', (draft) => {
      draft.spec = { ...draft.spec, template: template('agent', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(new Set(imagesOf(cluster.list('pods'))), new Set(['emulator.example/hello:2']));
    t.match(cluster.get('daemonsets.apps', 'agent').status, {
      ...{ desiredNumberScheduled: 3, numberReady: 3, updatedNumberScheduled: 3, observedGeneration: 2 },
    });
  });
});

t.test('jobs', async (t) => {
  t.test('complete when enough pods have succeeded', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('once', { completions: 2 }));
    await cluster.settle();
    for (const done of [0, 1]) {
      t.equal(cluster.get('jobs.batch', 'once').status?.['succeeded'] ?? 0, done);
      t.equal(cluster.get('jobs.batch', 'once').status?.['active'], 1, 'one at a time');
      for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 0);
      await cluster.settle();
    }
    const { status } = cluster.get('jobs.batch', 'once');
    t.match(status, { succeeded: 2, completionTime: String, startTime: String });
    t.notOk(status?.['active']);
    t.match(condition(cluster.get('jobs.batch', 'once'), 'Complete'), { status: 'True' });
    const pods = cluster.list('pods');
    t.same(
      pods.map((one) => one.status?.['phase']),
      ['Succeeded', 'Succeeded'],
    );
    t.match(pods[0]?.metadata.labels, { 'job-name': 'once', 'batch.kubernetes.io/job-name': 'once' });
    t.match(condition(pods[0], 'Ready'), { status: 'False', reason: 'PodCompleted' });
  });

  t.test('stay complete when their pods are deleted', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('once'));
    await cluster.settle();
    for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 0);
    await cluster.settle();
    const before = cluster.get('jobs.batch', 'once').status;
    for (const name of names(cluster.list('pods'))) cluster.delete('pods', name);
    await cluster.settle();
    t.same(cluster.list('pods'), [], 'it does not run again');
    t.same(cluster.get('jobs.batch', 'once').status, before);
  });

  t.test('give up after their limit', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('never', { backoffLimit: 1 }));
    await cluster.settle();
    for (const failed of [1, 2]) {
      for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 3);
      await cluster.settle();
      t.equal(cluster.get('jobs.batch', 'never').status?.['failed'], failed);
    }
    t.match(condition(cluster.get('jobs.batch', 'never'), 'Failed'), {
      status: 'True',
      reason: 'BackoffLimitExceeded',
    });
    t.equal(cluster.list('pods').length, 2);
  });
});

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
      cluster.change('nodes', name, (draft) => void (draft.spec = { ...draft.spec, unschedulable }), '');
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
  t.test('begin with an account and a certificate, and keep them', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('namespaces', { metadata: { name: 'mine' } }, '');
    await cluster.settle();
    for (const [id, name] of [
      ['serviceaccounts', 'default'],
      ['configmaps', 'kube-root-ca.crt'],
    ] as const) {
      const uid = uidOf(cluster.get(id, name, 'mine'));
      cluster.delete(id, name, {}, 'mine');
      await cluster.settle();
      t.not(uidOf(cluster.get(id, name, 'mine')), uid, `${id} ${name} is made anew`);
    }
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
    cluster.change('configmaps', 'held', (draft) => void (draft.metadata['finalizers'] = []), 'demo');
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
