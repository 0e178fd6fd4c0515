import type { Clock } from '../../../base/clock.js';
import type { Logger } from '../../../base/log.js';
import type { PodRuntime } from '../../pods/pod-runtime.js';
import type { Dict, KubeObject } from '../json.js';
import { controllerOf, dicts, same, text, timestamp } from '../json.js';
import type { Registry } from '../registry.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf, resourceById } from '../resource-table.js';
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

/** The objects of a type whose controller is `owner`, those that are being deleted included. */
export function ownedBy(context: ControllerContext, type: ResourceType, owner: KubeObject): KubeObject[] {
  const { namespace, uid } = owner.metadata;
  return context.store.list(type.id, namespace).filter((object) => controllerOf(object)?.uid === uid);
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
