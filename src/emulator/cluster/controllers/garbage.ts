import type { KubeObject } from '../json.js';
import { ownersOf, strings } from '../json.js';
import { resourceById } from '../resource-table.js';
import { CONTROLLER_MANAGER, type ControllerContext } from './context.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;

interface Found {
  readonly resource: string;
  readonly object: KubeObject;
}

function dependentsOf(context: ControllerContext, uid: string): Found[] {
  return [...context.store.all()].filter(({ object }) => ownersOf(object).some((owner) => owner.uid === uid));
}

/** After an object has gone: those that belonged to nobody else go as well. */
export function collectDependents(context: ControllerContext, gone: KubeObject): void {
  const { uid = '' } = gone.metadata;
  const alive = new Set([...context.store.all()].map(({ object }) => object.metadata.uid));
  for (const { resource, object } of dependentsOf(context, uid)) {
    if (object.metadata.deletionTimestamp !== undefined) continue;
    if (ownersOf(object).some((owner) => alive.has(owner.uid))) continue;
    context.registry.delete(resourceById(resource), object, { propagationPolicy: 'Background' });
  }
}

/** When a dependent has gone: an owner that waits for it may be able to go as well. */
export function finishOwners(context: ControllerContext, gone: KubeObject): void {
  const uids = new Set(ownersOf(gone).map(({ uid }) => uid));
  for (const { resource, object } of [...context.store.all()]) {
    const { uid = '', deletionTimestamp } = object.metadata;
    if (deletionTimestamp !== undefined && uids.has(uid)) finishDeletion(context, resource, object);
  }
}

/** Does what the finalizers of the garbage collector ask for, then removes them. */
export function finishDeletion(context: ControllerContext, resource: string, object: KubeObject): void {
  const finalizers = strings(object.metadata['finalizers']);
  const { uid = '' } = object.metadata;
  if (finalizers.includes('orphan')) {
    for (const dependent of dependentsOf(context, uid)) disown(context, dependent, uid);
    dropFinalizer(context, resource, object, 'orphan');
  } else if (finalizers.includes('foregroundDeletion')) {
    const dependents = dependentsOf(context, uid);
    for (const dependent of dependents) {
      if (dependent.object.metadata.deletionTimestamp !== undefined) continue;
      context.registry.delete(resourceById(dependent.resource), dependent.object, { propagationPolicy: 'Foreground' });
    }
    if (dependentsOf(context, uid).length === 0) dropFinalizer(context, resource, object, 'foregroundDeletion');
  }
}

function disown(context: ControllerContext, { resource, object }: Found, uid: string): void {
  context.registry.change(resourceById(resource), object, WRITE, (draft) => {
    draft.metadata['ownerReferences'] = ownersOf(draft).filter((owner) => owner.uid !== uid);
  });
}

function dropFinalizer(context: ControllerContext, resource: string, object: KubeObject, finalizer: string): void {
  context.registry.change(resourceById(resource), object, WRITE, (draft) => {
    draft.metadata['finalizers'] = strings(draft.metadata['finalizers']).filter((name) => name !== finalizer);
  });
}
