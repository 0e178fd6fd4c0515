import { describeError } from '../../../base/errors.js';
import type { KubeObject } from '../json.js';
import { controllerOf } from '../json.js';
import type { StoreEvent } from '../store.js';
import { type ControllerContext, TYPES } from './context.js';
import { collectDependents, finishDeletion } from './garbage.js';
import { reconcileJob } from './jobs.js';
import { finishNamespace, furnishNamespace } from './namespaces.js';
import { PodLifecycle } from './pod-lifecycle.js';
import { reconcileServices } from './services.js';
import { reconcileDaemonSet, reconcileDeployment, reconcileReplicaSet, reconcileStatefulSet } from './workloads.js';

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
    }
    const reconcile = RECONCILERS[resource];
    if (reconcile !== undefined && type !== 'DELETED') {
      this.#enqueue(key, () => this.#withCurrent(event, (current) => reconcile(this.#context, current)));
    }
    this.#enqueueOwner(object);
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

  #enqueueOwner(object: KubeObject): void {
    const owner = controllerOf(object);
    const type = owner === undefined ? undefined : BY_KIND.get(owner.kind);
    if (owner === undefined || type === undefined) return;
    const { namespace = '' } = object.metadata;
    this.#enqueue(`${type.id} ${namespace}/${owner.name}`, () => {
      const current = this.#context.store.get(type.id, namespace, owner.name);
      if (current?.metadata.uid === owner.uid) RECONCILERS[type.id]?.(this.#context, current);
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
