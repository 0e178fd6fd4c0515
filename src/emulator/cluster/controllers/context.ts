import type { Clock } from '../../../base/clock.js';
import type { Logger } from '../../../base/log.js';
import type { PodRuntime } from '../../pods/pod-runtime.js';
import type { Dict, KubeObject } from '../json.js';
import { controllerOf, dicts, isDict, list, ownersOf, same, text, timestamp } from '../json.js';
import { hashSuffix } from '../names.js';
import type { Registry } from '../registry.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf, resourceById } from '../resource-table.js';
import { labelSelectorMatcher } from '../selectors.js';
import type { Store } from '../store.js';

/** What every controller works with. */
export interface ControllerContext {
  readonly registry: Registry;
  readonly store: Store;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly log: Logger;
}

export const TYPES = {
  pods: resourceById('pods'),
  nodes: resourceById('nodes'),
  events: resourceById('events'),
  deployments: resourceById('deployments.apps'),
  replicaSets: resourceById('replicasets.apps'),
  statefulSets: resourceById('statefulsets.apps'),
  daemonSets: resourceById('daemonsets.apps'),
  jobs: resourceById('jobs.batch'),
  namespaces: resourceById('namespaces'),
  services: resourceById('services'),
  endpoints: resourceById('endpoints'),
  endpointSlices: resourceById('endpointslices.discovery.k8s.io'),
} as const;

/** In managedFields. */
export const CONTROLLER_MANAGER = 'kube-controller-manager';
const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;

/** The objects of a type whose controller is `owner`, those that are being deleted included. */
export function ownedBy(context: ControllerContext, type: ResourceType, owner: KubeObject): KubeObject[] {
  const { namespace, uid } = owner.metadata;
  return context.store.list(type.id, namespace).filter((object) => controllerOf(object)?.uid === uid);
}

/**
 * Like `ownedBy`, after taking in those without a controller that the owner's selector matches, and letting go of those
 * that it does not match any more.
 */
export function claim(
  context: ControllerContext,
  type: ResourceType,
  options: { owner: KubeObject; ownerType: ResourceType; mayAdopt?: (object: KubeObject) => boolean },
): KubeObject[] {
  const { owner, ownerType, mayAdopt = () => true } = options;
  const selector = owner.spec?.['selector'];
  if (!isDict(selector) || owner.metadata.deletionTimestamp !== undefined) return ownedBy(context, type, owner);
  const matches = labelSelectorMatcher(selector);
  const { namespace, uid } = owner.metadata;
  const claimed: KubeObject[] = [];
  for (const object of context.store.list(type.id, namespace)) {
    const controller = controllerOf(object);
    const isLeaving = object.metadata.deletionTimestamp !== undefined;
    if (controller?.uid === uid) {
      if (matches(object) || isLeaving) claimed.push(object);
      else setOwners(context, type, object, (owners) => owners.filter((other) => other['uid'] !== uid));
    } else if (controller === undefined && !isLeaving && matches(object) && mayAdopt(object)) {
      const reference = ownerReference(ownerType, owner);
      // It may be known as an owner already, only not as the controller.
      const adopted = setOwners(context, type, object, (owners) => [
        ...owners.filter((other) => other['uid'] !== uid),
        reference,
      ]);
      if (adopted !== undefined) claimed.push(adopted);
    }
  }
  return claimed;
}

function setOwners(
  context: ControllerContext,
  type: ResourceType,
  object: KubeObject,
  change: (owners: readonly Dict[]) => Dict[],
): KubeObject | undefined {
  return context.registry.change(type, object, WRITE, (draft) => {
    draft.metadata['ownerReferences'] = change(ownersOf(draft).map((owner) => ({ ...owner })));
  });
}

/** The same for templates that mean the same: neither the order of keys nor what is null or absent counts. */
export function templateHash(template: unknown): string {
  return hashSuffix(JSON.stringify(canonical(template)));
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return list(value).map(canonical);
  if (!isDict(value)) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.filter((key) => value[key] != null).map((key) => [key, canonical(value[key])]));
}

/** Whether pods may be put there: ready and not cordoned. */
export function takesPods(node: KubeObject): boolean {
  const condition = dicts(node.status?.['conditions']).find(({ type }) => type === 'Ready');
  return condition?.['status'] === 'True' && node.spec?.['unschedulable'] !== true;
}

export function ownerReference(type: ResourceType, owner: KubeObject): Dict {
  return {
    apiVersion: apiVersionOf(type),
    kind: type.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Writes a status when it differs. */
export function setStatus(context: ControllerContext, type: ResourceType, object: KubeObject, status: Dict): void {
  context.registry.change(type, object, { manager: CONTROLLER_MANAGER, subresource: 'status' }, (draft) => {
    draft.status = { ...status };
  });
}

/** Keeps the time of a condition whose status is the same. */
export function withCondition(
  conditions: unknown,
  wanted: { type: string; status: 'True' | 'False'; reason?: string; message?: string },
  now: number,
): Dict[] {
  const list = [...dicts(conditions)];
  const index = list.findIndex(({ type }) => type === wanted.type);
  const old = list[index];
  const time = old !== undefined && old['status'] === wanted.status ? old['lastTransitionTime'] : timestamp(now);
  const next: Dict = { ...wanted, lastTransitionTime: time };
  if (wanted.type === 'Progressing' || wanted.type === 'Available') {
    const unchanged = old !== undefined && same({ ...old, lastUpdateTime: undefined }, next);
    next['lastUpdateTime'] = unchanged ? old['lastUpdateTime'] : timestamp(now);
  }
  if (index === -1) list.push(next);
  else list[index] = next;
  return list;
}

export function isReady(pod: KubeObject): boolean {
  const condition = dicts(pod.status?.['conditions']).find(({ type }) => type === 'Ready');
  return condition?.['status'] === 'True' && pod.metadata.deletionTimestamp === undefined;
}

export function isFinished(pod: KubeObject): boolean {
  const phase = text(pod.status?.['phase']);
  return phase === 'Succeeded' || phase === 'Failed';
}

/** As `kubectl describe` shows it. */
export function recordEvent(
  context: ControllerContext,
  about: KubeObject,
  event: { reason: string; message: string; component: string; fieldPath?: string; type?: 'Normal' | 'Warning' },
): void {
  const { name, namespace = 'default', uid, resourceVersion } = about.metadata;
  const now = context.clock.now();
  const time = timestamp(now);
  const draft: Dict = {
    metadata: { generateName: `${name}.` },
    involvedObject: {
      kind: about.kind,
      namespace,
      name,
      uid,
      apiVersion: about.apiVersion,
      resourceVersion,
      ...(event.fieldPath === undefined ? {} : { fieldPath: event.fieldPath }),
    },
    reason: event.reason,
    message: event.message,
    source: { component: event.component },
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
    type: event.type ?? 'Normal',
    eventTime: null,
    reportingComponent: event.component,
    reportingInstance: '',
  };
  if (context.store.get('namespaces', '', namespace) === undefined) return;
  context.registry.create(TYPES.events, namespace, draft, { manager: event.component, fieldValidation: 'Ignore' });
}
