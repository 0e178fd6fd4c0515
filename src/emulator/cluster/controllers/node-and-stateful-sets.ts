import type { KubeObject } from '../json.js';
import { at, integer, text } from '../json.js';
import { type ControllerContext, claim, isReady, setStatus, TYPES, templateHash } from './context.js';
import { createPod, positive } from './owned-pods.js';

const REVISION_LABEL = 'controller-revision-hash';

export function reconcileStatefulSet(context: ControllerContext, set: KubeObject): void {
  const { name } = set.metadata;
  const replicas = integer(set.spec?.['replicas'], 1);
  const updateRevision = `${name}-${templateHash(set.spec?.['template'])}`;
  const mayAdopt = (pod: KubeObject): boolean => ordinalOf(pod, name) !== undefined;
  const claimed = claim(context, TYPES.pods, { owner: set, ownerType: TYPES.statefulSets, mayAdopt });
  const pods = new Map(claimed.map((pod) => [pod.metadata.name, pod]));
  if (set.metadata.deletionTimestamp === undefined) {
    fillOrdinals(context, set, { pods, replicas, updateRevision });
    const surplus = [...pods.values()].filter((pod) => (ordinalOf(pod, name) ?? 0) >= replicas);
    for (const pod of surplus) remove(context, pod);
    if (surplus.length === 0) replaceOutdated(context, set, { pods, replicas, updateRevision });
  }
  const all = [...pods.values()];
  const ready = all.filter(isReady).length;
  const updated = all.filter((pod) => revisionOf(pod) === updateRevision).length;
  const known = text(set.status?.['currentRevision']);
  const isComplete = updated === replicas && ready === replicas && all.length === replicas;
  const currentRevision = known === '' || isComplete ? updateRevision : known;
  setStatus(context, TYPES.statefulSets, set, {
    observedGeneration: set.metadata.generation ?? 1,
    replicas: all.length,
    ...positive({
      readyReplicas: ready,
      currentReplicas: all.filter((pod) => revisionOf(pod) === currentRevision).length,
      updatedReplicas: updated,
    }),
    availableReplicas: ready,
    currentRevision,
    updateRevision,
    collisionCount: 0,
  });
}

interface StatefulPods {
  readonly pods: Map<string, KubeObject>;
  readonly replicas: number;
  readonly updateRevision: string;
}

/** One after the other unless the set allows all at once; adds what it makes to `pods`. */
function fillOrdinals(
  context: ControllerContext,
  set: KubeObject,
  { pods, replicas, updateRevision }: StatefulPods,
): void {
  for (let ordinal = 0; ordinal < replicas; ordinal++) {
    const name = `${set.metadata.name}-${ordinal}`;
    const labels = {
      'apps.kubernetes.io/pod-index': String(ordinal),
      [REVISION_LABEL]: updateRevision,
      'statefulset.kubernetes.io/pod-name': name,
    };
    const pod = pods.get(name) ?? createPod(context, TYPES.statefulSets, set, { name, labels });
    pods.set(name, pod);
    if (!isReady(pod) && text(set.spec?.['podManagementPolicy']) !== 'Parallel') return;
  }
}

/** The highest first, and the next one only when all are ready again. */
function replaceOutdated(context: ControllerContext, set: KubeObject, options: StatefulPods): void {
  const { pods, replicas, updateRevision } = options;
  if (text(at(set, 'spec.updateStrategy.type')) === 'OnDelete') return;
  const all = [...pods.values()];
  if (all.length < replicas || !all.every(isReady)) return;
  const partition = integer(at(set, 'spec.updateStrategy.rollingUpdate.partition'));
  const ordinal = (pod: KubeObject): number => ordinalOf(pod, set.metadata.name) ?? 0;
  const [next] = all
    .filter((pod) => revisionOf(pod) !== updateRevision && ordinal(pod) >= partition)
    .sort((a, b) => ordinal(b) - ordinal(a));
  if (next !== undefined) remove(context, next);
}

function ordinalOf(pod: KubeObject, setName: string): number | undefined {
  const { name } = pod.metadata;
  const ordinal = name.startsWith(`${setName}-`) ? name.slice(setName.length + 1) : '';
  return /^\d+$/.test(ordinal) ? Number(ordinal) : undefined;
}

function revisionOf(pod: KubeObject): string | undefined {
  return pod.metadata.labels?.[REVISION_LABEL];
}

function remove(context: ControllerContext, pod: KubeObject): void {
  if (pod.metadata.deletionTimestamp === undefined) context.registry.delete(TYPES.pods, pod, {});
}

export function reconcileDaemonSet(context: ControllerContext, set: KubeObject): void {
  const nodes = context.store.list(TYPES.nodes.id).map((node) => node.metadata.name);
  const hash = templateHash(set.spec?.['template']);
  const all = claim(context, TYPES.pods, { owner: set, ownerType: TYPES.daemonSets });
  if (set.metadata.deletionTimestamp === undefined) {
    for (const nodeName of nodes) {
      // One that is ending holds its place until it has gone.
      if (all.some((pod) => pod.spec?.['nodeName'] === nodeName)) continue;
      const options = {
        name: { prefix: `${set.metadata.name}-` },
        labels: { [REVISION_LABEL]: hash },
        spec: { nodeName },
      };
      all.push(createPod(context, TYPES.daemonSets, set, options));
    }
    for (const pod of all) if (!nodes.includes(text(pod.spec?.['nodeName']))) remove(context, pod);
    const outdated = all.filter((pod) => revisionOf(pod) !== hash);
    if (text(at(set, 'spec.updateStrategy.type')) !== 'OnDelete') {
      // One that does not serve anyway goes at once, one that serves when all others do.
      const next = outdated.find((pod) => !isReady(pod)) ?? (all.every(isReady) ? outdated[0] : undefined);
      if (next !== undefined) remove(context, next);
    }
  }
  const pods = all.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const ready = pods.filter(isReady).length;
  setStatus(context, TYPES.daemonSets, set, {
    currentNumberScheduled: pods.length,
    numberMisscheduled: 0,
    desiredNumberScheduled: nodes.length,
    numberReady: ready,
    observedGeneration: set.metadata.generation ?? 1,
    ...positive({
      updatedNumberScheduled: pods.filter((pod) => revisionOf(pod) === hash).length,
      numberAvailable: ready,
      numberUnavailable: nodes.length - ready,
    }),
  });
}
