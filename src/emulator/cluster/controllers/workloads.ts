import type { Dict, KubeObject } from '../json.js';
import { at, clone, dict, integer, text } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import {
  CONTROLLER_MANAGER,
  type ControllerContext,
  claim,
  isFinished,
  isReady,
  ownedBy,
  ownerReference,
  recordEvent,
  setStatus,
  TYPES,
  templateHash,
  withCondition,
} from './context.js';
import { createPod, positive } from './owned-pods.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;
const REVISION = 'deployment.kubernetes.io/revision';
const HASH = 'pod-template-hash';

export function reconcileDeployment(context: ControllerContext, deployment: KubeObject): void {
  if (deployment.metadata.deletionTimestamp !== undefined) return;
  const replicas = integer(deployment.spec?.['replicas'], 1);
  const sets = claim(context, TYPES.replicaSets, { owner: deployment, ownerType: TYPES.deployments });
  const template = dict(deployment.spec?.['template']);
  const hash = templateHash(template);
  const present = sets.find((set) => set.metadata.labels?.[HASH] === hash);
  const old = sets.filter((set) => set !== present);
  const revisions = old.map((set) => Number(set.metadata.annotations?.[REVISION] ?? 0));
  const revision = Math.max(0, ...revisions) + 1;
  const recreate = text(at(deployment, 'spec.strategy.type')) === 'Recreate';
  // Those that are still ending run, too.
  const oldRuns = old.some((set) => ownedBy(context, TYPES.pods, set).some((pod) => !isFinished(pod)));
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

export function reconcileReplicaSet(context: ControllerContext, set: KubeObject): void {
  const mayAdopt = (pod: KubeObject): boolean => !isFinished(pod);
  const claimed = claim(context, TYPES.pods, { owner: set, ownerType: TYPES.replicaSets, mayAdopt });
  const pods = claimed.filter((pod) => !isFinished(pod));
  const active = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const replicas = integer(set.spec?.['replicas'], 1);
  if (set.metadata.deletionTimestamp === undefined) {
    for (let missing = replicas - active.length; missing > 0; missing--) {
      active.push(createPod(context, TYPES.replicaSets, set, { name: { prefix: `${set.metadata.name}-` } }));
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
