import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Test } from 'tap';
import { type Logger, silentLogger } from '../../../src/base/log.js';
import { startControllers } from '../../../src/emulator/cluster/controllers/controllers.js';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, dicts } from '../../../src/emulator/cluster/json.js';
import { Registry } from '../../../src/emulator/cluster/registry.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { Store } from '../../../src/emulator/cluster/store.js';
import type { ContainerState, ContainerStatus, PodRuntime, PodSpec } from '../../../src/emulator/pods/pod-runtime.js';
import { FakeClock } from '../../support/fake-clock.js';

/** Containers that do what the test says; they run at once unless `holdsBack`, and stop at once unless `lingers`. */
export class FakeRuntime implements PodRuntime {
  readonly pods = new Map<string, { spec: PodSpec; statuses: ContainerStatus[] }>();
  readonly stops: { uid: string; graceMs: number }[] = [];
  holdsBack = false;
  lingers = false;
  readonly #listeners: ((uid: string) => void)[] = [];
  readonly #waiting: (() => void)[] = [];

  start(spec: PodSpec): void {
    const state = { kind: 'waiting', reason: 'ContainerCreating' } as const;
    const started = spec.containers.map(({ name }) => ({ name, state, restartCount: 0 }));
    this.pods.set(spec.uid, { spec, statuses: [...(this.pods.get(spec.uid)?.statuses ?? []), ...started] });
    const names = spec.containers.map(({ name }) => name);
    if (!this.holdsBack) setImmediate(() => this.run(spec.uid, names));
  }

  /** All of its containers, or those of these names. */
  run(uid: string, names?: readonly string[]): void {
    this.put(uid, { state: { kind: 'running', startedAt: Date.UTC(2026, 10, 24) } }, names);
  }

  runAll(): void {
    for (const uid of this.pods.keys()) this.run(uid);
  }

  exit(uid: string, exitCode: number): void {
    const time = Date.UTC(2026, 10, 24);
    this.put(uid, { state: { kind: 'terminated', exitCode, startedAt: time, finishedAt: time + 5000 } });
  }

  put(
    uid: string,
    change: { state: ContainerState; lastTermination?: ContainerState; restartCount?: number },
    names?: readonly string[],
  ): void {
    const pod = this.pods.get(uid);
    if (pod === undefined) return;
    pod.statuses = pod.statuses.map((status) =>
      names === undefined || names.includes(status.name) ? { ...status, ...change } : status,
    );
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

export class Cluster {
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

export async function openCluster(t: Test): Promise<Cluster> {
  const cluster = new Cluster();
  t.teardown(() => cluster.close());
  await cluster.settle();
  return cluster;
}

export function node(name: string, ready: 'True' | 'False'): Dict {
  return { metadata: { name }, status: { conditions: [{ type: 'Ready', status: ready }] } };
}

export function template(name: string, image = 'emulator.example/hello:1', spec: Dict = {}): Dict {
  return { metadata: { labels: { app: name } }, spec: { containers: [{ name, image }], ...spec } };
}

export function workload(name: string, spec: Dict = {}): Dict {
  return { metadata: { name }, spec: { selector: { matchLabels: { app: name } }, template: template(name), ...spec } };
}

export function job(name: string, spec: Dict = {}): Dict {
  const pod = template(name, 'emulator.example/box:1', { restartPolicy: 'Never' });
  return { metadata: { name }, spec: { template: pod, ...spec } };
}

export function pod(name: string, spec: Dict = {}): Dict {
  return { metadata: { name, labels: { app: name } }, spec: { ...dictOf(template(name)['spec']), ...spec } };
}

function dictOf(value: unknown): Dict {
  return value as Dict;
}

export function condition(object: KubeObject | undefined, type: string): Dict | undefined {
  return dicts(object?.status?.['conditions']).find((one) => one['type'] === type);
}

export function uidOf(object: KubeObject): string {
  return object.metadata.uid ?? '';
}

export function names(objects: readonly KubeObject[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}

export function imagesOf(objects: readonly KubeObject[]): unknown[] {
  return objects.map((object) => dicts(at(object, 'spec.containers'))[0]?.['image']);
}
