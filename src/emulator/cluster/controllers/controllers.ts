import { describeError } from '../../../base/errors.js';
import type { KubeObject } from '../json.js';
import { controllerOf, isDict, ownersOf } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { labelSelectorMatcher } from '../selectors.js';
import type { StoreEvent } from '../store.js';
import { type ControllerContext, TYPES } from './context.js';
import { collectDependents, finishDeletion, finishOwners } from './garbage.js';
import { reconcileJob } from './jobs.js';
import { finishNamespace, furnishNamespace } from './namespaces.js';
import { reconcileDaemonSet, reconcileStatefulSet } from './node-and-stateful-sets.js';
import { PodLifecycle } from './pod-lifecycle.js';
import { forgetService, reconcileServices } from './services.js';
import { reconcileDeployment, reconcileReplicaSet } from './workloads.js';

type Reconcile = (context: ControllerContext, object: KubeObject) => void;

/** By the id of the resource type. */
const RECONCILERS: Readonly<Record<string, Reconcile>> = {
  [TYPES.deployments.id]: reconcileDeployment,
  [TYPES.replicaSets.id]: reconcileReplicaSet,
  [TYPES.statefulSets.id]: reconcileStatefulSet,
  [TYPES.daemonSets.id]: reconcileDaemonSet,
  [TYPES.jobs.id]: reconcileJob,
};
const BY_KIND = new Map(
  [TYPES.deployments, TYPES.replicaSets, TYPES.statefulSets, TYPES.daemonSets, TYPES.jobs].map((type) => [
    type.kind,
    type,
  ]),
);

/** Whose selectors take in objects of the type that have no controller. */
const ADOPTERS: Readonly<Record<string, readonly ResourceType[]>> = {
  [TYPES.pods.id]: [TYPES.replicaSets, TYPES.statefulSets, TYPES.daemonSets],
  [TYPES.replicaSets.id]: [TYPES.deployments],
};

/** Makes what is wished happen. Driven by events alone; work is done after the write that caused it, never inside. */
export function startControllers(context: ControllerContext): { close(): void } {
  const controllers = new Controllers(context);
  return { close: () => controllers.close() };
}

class Controllers {
  readonly #context: ControllerContext;
  readonly #pods: PodLifecycle;
  readonly #queue = new Map<string, () => void>();
  readonly #unsubscribe: () => void;
  #scheduled = false;
  #closed = false;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#pods = new PodLifecycle(context);
    context.runtime.onChange((uid) => this.#enqueue(`pod-status ${uid}`, () => this.#pods.syncStatus(uid)));
    this.#unsubscribe = context.store.subscribe((event) => this.#onEvent(event));
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#queue.clear();
  }

  #onEvent(event: StoreEvent): void {
    const { object, resource, type } = event;
    const { namespace = '', name, uid = '' } = object.metadata;
    const key = `${resource} ${namespace}/${name}`;
    if (resource === TYPES.pods.id) {
      if (type === 'DELETED') this.#enqueue(`gone ${uid}`, () => this.#pods.gone(object));
      else this.#enqueue(key, () => this.#withCurrent(event, (pod) => this.#pods.sync(pod)));
      this.#enqueue(`services ${namespace}`, () => reconcileServices(this.#context, namespace));
    }
    if (resource === TYPES.services.id) {
      this.#enqueue(`services ${namespace}`, () => reconcileServices(this.#context, namespace));
      if (type === 'DELETED') this.#enqueue(`forget ${key}`, () => forgetService(this.#context, object));
    }
    if (resource === TYPES.nodes.id) {
      this.#enqueue('unplaced pods', () => this.#pods.syncUnplaced());
      for (const set of this.#context.store.list(TYPES.daemonSets.id)) this.#enqueueWorkload(TYPES.daemonSets, set);
    }
    const reconcile = RECONCILERS[resource];
    if (reconcile !== undefined && type !== 'DELETED') {
      this.#enqueue(key, () => this.#withCurrent(event, (current) => reconcile(this.#context, current)));
    }
    this.#enqueueOwner(object);
    // Whose it was before has one less.
    if (event.previous !== undefined) this.#enqueueOwner(event.previous);
    if (type !== 'DELETED') this.#enqueueAdopters(resource, object);
    if (type === 'DELETED' && ownersOf(object).length > 0) {
      this.#enqueue(`owners of ${uid}`, () => finishOwners(this.#context, object));
    }
    if (type === 'DELETED') this.#enqueue(`collect ${uid}`, () => collectDependents(this.#context, object));
    else if (object.metadata.deletionTimestamp !== undefined) {
      this.#enqueue(`finish ${uid}`, () =>
        this.#withCurrent(event, (current) => finishDeletion(this.#context, resource, current)),
      );
    }
    if (resource === TYPES.namespaces.id && type !== 'DELETED') {
      this.#enqueue(key, () => this.#withCurrent(event, (current) => this.#namespace(current)));
    } else if (type === 'DELETED' && namespace !== '') {
      this.#enqueue(`namespace ${namespace}`, () => {
        const found = this.#context.store.get(TYPES.namespaces.id, '', namespace);
        if (found?.metadata.deletionTimestamp !== undefined) finishNamespace(this.#context, found);
      });
    }
  }

  #namespace(namespace: KubeObject): void {
    if (namespace.metadata.deletionTimestamp === undefined) furnishNamespace(this.#context, namespace);
    else finishNamespace(this.#context, namespace);
  }

  /** The controller of the object, and that one's: a deployment waits for the pods of its replica sets. */
  #enqueueOwner(object: KubeObject): void {
    const owner = controllerOf(object);
    const type = owner === undefined ? undefined : BY_KIND.get(owner.kind);
    if (owner === undefined || type === undefined) return;
    const found = this.#context.store.get(type.id, object.metadata.namespace ?? '', owner.name);
    if (found === undefined || found.metadata.uid !== owner.uid) return;
    this.#enqueueWorkload(type, found);
    this.#enqueueOwner(found);
  }

  #enqueueAdopters(resource: string, object: KubeObject): void {
    if (controllerOf(object) !== undefined) return;
    for (const type of ADOPTERS[resource] ?? []) {
      for (const workload of this.#context.store.list(type.id, object.metadata.namespace)) {
        const selector = workload.spec?.['selector'];
        if (isDict(selector) && labelSelectorMatcher(selector)(object)) this.#enqueueWorkload(type, workload);
      }
    }
  }

  #enqueueWorkload(type: ResourceType, workload: KubeObject): void {
    const { namespace = '', name, uid } = workload.metadata;
    this.#enqueue(`${type.id} ${namespace}/${name}`, () => {
      const current = this.#context.store.get(type.id, namespace, name);
      if (current !== undefined && current.metadata.uid === uid) RECONCILERS[type.id]?.(this.#context, current);
    });
  }

  #withCurrent(event: StoreEvent, act: (object: KubeObject) => void): void {
    const { namespace = '', name, uid } = event.object.metadata;
    const current = this.#context.store.get(event.resource, namespace, name);
    if (current !== undefined && current.metadata.uid === uid) act(current);
  }

  /** The same work waiting twice is done once. */
  #enqueue(key: string, act: () => void): void {
    if (this.#closed) return;
    this.#queue.set(key, act);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#work());
  }

  #work(): void {
    this.#scheduled = false;
    const batch = [...this.#queue];
    this.#queue.clear();
    for (const [key, act] of batch) {
      if (this.#closed) return;
      try {
        act();
      } catch (error) {
        this.#context.log.warn({ work: key }, `controller: ${describeError(error)}`);
      }
    }
  }
}
