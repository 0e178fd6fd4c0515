import type { Dict, KubeObject } from '../json.js';
import { at, clone, dict, integer, text } from '../json.js';
import { hashSuffix } from '../names.js';
import type { ResourceType } from '../resource-table.js';
import {
  CONTROLLER_MANAGER,
  type ControllerContext,
  isFinished,
  isReady,
  ownedBy,
  ownerReference,
  recordEvent,
  setStatus,
  TYPES,
  withCondition,
} from './context.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;
const REVISION = 'deployment.kubernetes.io/revision';
const HASH = 'pod-template-hash';

export function reconcileDeployment(context: ControllerContext, deployment: KubeObject): void {
  if (deployment.metadata.deletionTimestamp !== undefined) return;
  const replicas = integer(deployment.spec?.['replicas'], 1);
  const sets = ownedBy(context, TYPES.replicaSets, deployment);
  const template = dict(deployment.spec?.['template']);
  const hash = hashSuffix(JSON.stringify(template));
  const present = sets.find((set) => set.metadata.labels?.[HASH] === hash);
  const old = sets.filter((set) => set !== present);
  const revisions = old.map((set) => Number(set.metadata.annotations?.[REVISION] ?? 0));
  const revision = Math.max(0, ...revisions) + 1;
  const recreate = text(at(deployment, 'spec.strategy.type')) === 'Recreate';
  const oldRuns = old.some((set) => integer(set.status?.['replicas']) > 0);
  const wanted = recreate && oldRuns ? 0 : replicas;
  const current = present ?? createReplicaSet(context, deployment, { template, hash, revision, replicas: wanted });
  if (present !== undefined) {
    if (integer(present.spec?.['replicas']) !== wanted) scale(context, present, wanted, deployment);
    const known = Number(present.metadata.annotations?.[REVISION] ?? 0);
    // A rollback makes an old template the newest revision.
    if (known < revision) annotate(context, TYPES.replicaSets, present, String(revision));
  }
  const ready = integer(current.status?.['readyReplicas']);
  for (const set of old) {
    // The old ones go when the new ones serve; nothing is unavailable meanwhile.
    if (integer(set.spec?.['replicas']) > 0 && (recreate || ready >= replicas)) scale(context, set, 0, deployment);
  }
  const newest = String(Math.max(revision, Number(current.metadata.annotations?.[REVISION] ?? 0)));
  if (deployment.metadata.annotations?.[REVISION] !== newest) annotate(context, TYPES.deployments, deployment, newest);
  deploymentStatus(context, deployment, { current, sets: [...old, current], replicas });
}

function createReplicaSet(
  context: ControllerContext,
  deployment: KubeObject,
  options: { template: Dict; hash: string; revision: number; replicas: number },
): KubeObject {
  const { template, hash, revision, replicas } = options;
  const labels = { ...dict(dict(template['metadata'])['labels']), [HASH]: hash };
  const selector = dict(deployment.spec?.['selector']);
  const draft: Dict = {
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      labels,
      annotations: { [REVISION]: String(revision) },
      ownerReferences: [ownerReference(TYPES.deployments, deployment)],
    },
    spec: {
      replicas,
      selector: { ...selector, matchLabels: { ...dict(selector['matchLabels']), [HASH]: hash } },
      template: { ...clone(template), metadata: { ...dict(template['metadata']), labels } },
    },
  };
  const set = context.registry.create(TYPES.replicaSets, deployment.metadata.namespace ?? '', draft, WRITE);
  tellScaling(context, deployment, set.metadata.name, replicas, 0);
  return set;
}

function scale(context: ControllerContext, set: KubeObject, replicas: number, deployment: KubeObject): void {
  const before = integer(set.spec?.['replicas']);
  context.registry.change(TYPES.replicaSets, set, WRITE, (draft) => {
    draft.spec = { ...draft.spec, replicas };
  });
  tellScaling(context, deployment, set.metadata.name, replicas, before);
}

function tellScaling(context: ControllerContext, about: KubeObject, name: string, to: number, from: number): void {
  const message = `Scaled ${to >= from ? 'up' : 'down'} replica set ${name} from ${from} to ${to}`;
  recordEvent(context, about, { reason: 'ScalingReplicaSet', message, component: 'deployment-controller' });
}

function annotate(context: ControllerContext, type: ResourceType, object: KubeObject, revision: string): void {
  context.registry.change(type, object, WRITE, (draft) => {
    draft.metadata.annotations = { ...draft.metadata.annotations, [REVISION]: revision };
  });
}

function deploymentStatus(
  context: ControllerContext,
  deployment: KubeObject,
  options: { current: KubeObject; sets: readonly KubeObject[]; replicas: number },
): void {
  const { current, sets, replicas } = options;
  const sum = (field: string): number => sets.reduce((total, set) => total + integer(set.status?.[field]), 0);
  const ready = sum('readyReplicas');
  const total = sum('replicas');
  const updated = integer(current.status?.['replicas']);
  const now = context.clock.now();
  const available = ready >= replicas;
  const done = available && updated >= replicas && total === updated;
  const name = `ReplicaSet "${current.metadata.name}"`;
  let conditions = withCondition(
    deployment.status?.['conditions'],
    available
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    now,
  );
  conditions = withCondition(
    conditions,
    done
      ? {
          type: 'Progressing',
          status: 'True',
          reason: 'NewReplicaSetAvailable',
          message: `${name} has successfully progressed.`,
        }
      : { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated', message: `${name} is progressing.` },
    now,
  );
  setStatus(context, TYPES.deployments, deployment, {
    observedGeneration: deployment.metadata.generation ?? 1,
    ...positive({ replicas: total, updatedReplicas: updated, readyReplicas: ready, availableReplicas: ready }),
    ...positive({ unavailableReplicas: Math.max(0, replicas - ready) }),
    conditions,
  });
}

function positive(counts: Record<string, number>): Dict {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

export function reconcileReplicaSet(context: ControllerContext, set: KubeObject): void {
  const pods = ownedBy(context, TYPES.pods, set).filter((pod) => !isFinished(pod));
  const active = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const replicas = integer(set.spec?.['replicas'], 1);
  if (set.metadata.deletionTimestamp === undefined) {
    for (let missing = replicas - active.length; missing > 0; missing--) {
      const pod = createPod(context, TYPES.replicaSets, set, { generateName: `${set.metadata.name}-` });
      const message = `Created pod: ${pod.metadata.name}`;
      recordEvent(context, set, { reason: 'SuccessfulCreate', message, component: 'replicaset-controller' });
      active.push(pod);
    }
    const surplus = [...active].sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || newerFirst(a, b));
    for (const pod of surplus.slice(0, Math.max(0, active.length - replicas))) {
      context.registry.delete(TYPES.pods, pod, {});
      active.splice(active.indexOf(pod), 1);
    }
  }
  const ready = active.filter(isReady).length;
  setStatus(context, TYPES.replicaSets, set, {
    replicas: active.length,
    ...positive({ fullyLabeledReplicas: active.length, readyReplicas: ready, availableReplicas: ready }),
    observedGeneration: set.metadata.generation ?? 1,
  });
}

function newerFirst(a: KubeObject, b: KubeObject): number {
  return Number(b.metadata.resourceVersion ?? 0) - Number(a.metadata.resourceVersion ?? 0);
}

export function reconcileStatefulSet(context: ControllerContext, set: KubeObject): void {
  const replicas = integer(set.spec?.['replicas'], 1);
  const pods = new Map(ownedBy(context, TYPES.pods, set).map((pod) => [pod.metadata.name, pod]));
  if (set.metadata.deletionTimestamp === undefined) {
    for (let ordinal = 0; ordinal < replicas; ordinal++) {
      const name = `${set.metadata.name}-${ordinal}`;
      const pod = pods.get(name) ?? createPod(context, TYPES.statefulSets, set, { name });
      pods.set(name, pod);
      if (!isReady(pod) && text(set.spec?.['podManagementPolicy']) !== 'Parallel') break;
    }
    for (const pod of pods.values()) {
      const ordinal = Number(pod.metadata.name.split('-').at(-1));
      if (ordinal >= replicas && pod.metadata.deletionTimestamp === undefined)
        context.registry.delete(TYPES.pods, pod, {});
    }
  }
  const all = [...pods.values()];
  const ready = all.filter(isReady).length;
  const revision = `${set.metadata.name}-${hashSuffix(JSON.stringify(set.spec?.['template']))}`;
  setStatus(context, TYPES.statefulSets, set, {
    observedGeneration: set.metadata.generation ?? 1,
    replicas: all.length,
    ...positive({ readyReplicas: ready, currentReplicas: all.length, updatedReplicas: all.length }),
    availableReplicas: ready,
    currentRevision: revision,
    updateRevision: revision,
    collisionCount: 0,
  });
}

export function reconcileDaemonSet(context: ControllerContext, set: KubeObject): void {
  const nodes = context.store.list('nodes').map((node) => node.metadata.name);
  const pods = ownedBy(context, TYPES.pods, set).filter((pod) => pod.metadata.deletionTimestamp === undefined);
  if (set.metadata.deletionTimestamp === undefined) {
    for (const nodeName of nodes) {
      if (pods.some((pod) => pod.spec?.['nodeName'] === nodeName)) continue;
      pods.push(createPod(context, TYPES.daemonSets, set, { generateName: `${set.metadata.name}-` }, { nodeName }));
    }
  }
  const ready = pods.filter(isReady).length;
  setStatus(context, TYPES.daemonSets, set, {
    currentNumberScheduled: pods.length,
    numberMisscheduled: 0,
    desiredNumberScheduled: nodes.length,
    numberReady: ready,
    observedGeneration: set.metadata.generation ?? 1,
    updatedNumberScheduled: pods.length,
    numberAvailable: ready,
  });
}

/** A pod by its owner's template. */
export function createPod(
  context: ControllerContext,
  type: ResourceType,
  owner: KubeObject,
  name: { name: string } | { generateName: string },
  spec: Dict = {},
): KubeObject {
  const template = clone(dict(owner.spec?.['template']));
  const draft: Dict = {
    metadata: {
      ...dict(template['metadata']),
      ...name,
      ownerReferences: [ownerReference(type, owner)],
    },
    spec: { ...dict(template['spec']), ...spec },
  };
  return context.registry.create(TYPES.pods, owner.metadata.namespace ?? '', draft, WRITE);
}
