import type { ContainerState, ContainerStatus } from '../../pods/pod-runtime.js';
import { qosClassOf } from '../defaults.js';
import type { Dict, KubeObject } from '../json.js';
import { at, dicts, text, timestamp } from '../json.js';
import { isSidecar } from '../pod-cells.js';
import { withCondition } from './context.js';

/** The status of a pod that has a node, from what its containers do. */
export function podStatus(pod: KubeObject, all: readonly ContainerStatus[], now: number): Dict {
  const specs = dicts(at(pod, 'spec.containers'));
  const init = dicts(at(pod, 'spec.initContainers'));
  const initialized = init.every((spec) => initDone(spec, all));
  const ephemeral = dicts(at(pod, 'spec.ephemeralContainers'));
  const statuses = all.filter(({ name }) => specs.some((spec) => spec['name'] === name));
  const ready = statuses.length === specs.length && statuses.every(({ state }) => state.kind === 'running');
  const phase = initFailed(pod, init, all) ? 'Failed' : phaseOf(pod, statuses);
  const over = phase === 'Succeeded' || phase === 'Failed';
  const readiness = ready
    ? ({ status: 'True' } as const)
    : ({ status: 'False', reason: over ? 'PodCompleted' : 'ContainersNotReady' } as const);
  let conditions: unknown = pod.status?.['conditions'];
  for (const type of ['PodScheduled', 'PodReadyToStartContainers']) {
    conditions = withCondition(conditions, { type, status: 'True' }, now);
  }
  const initialization = initialized
    ? ({ status: 'True' } as const)
    : ({ status: 'False', reason: 'ContainersNotInitialized' } as const);
  conditions = withCondition(conditions, { type: 'Initialized', ...initialization }, now);
  for (const type of ['ContainersReady', 'Ready']) conditions = withCondition(conditions, { type, ...readiness }, now);
  return {
    ...pod.status,
    phase,
    conditions,
    qosClass: qosClassOf(pod.spec ?? {}),
    containerStatuses: specs.map((spec) => {
      const running = statuses.some(({ name, state }) => name === spec['name'] && state.kind === 'running');
      return { ...containerStatus(pod, spec, all), ready: running, started: running };
    }),
    ...(init.length === 0
      ? {}
      : {
          initContainerStatuses: init.map((spec) => {
            const ready = initDone(spec, all);
            return { ...containerStatus(pod, spec, all), ready, started: isSidecar(spec) && ready };
          }),
        }),
    // They count for nothing: neither for the pod's phase nor for its readiness.
    ...(ephemeral.length === 0
      ? {}
      : {
          ephemeralContainerStatuses: ephemeral.map((spec) => ({ ...containerStatus(pod, spec, all), ready: false })),
        }),
  };
}

/** What comes after it may start. */
export function initDone(spec: Dict, statuses: readonly ContainerStatus[]): boolean {
  const state = statuses.find(({ name }) => name === spec['name'])?.state;
  if (isSidecar(spec)) return state?.kind === 'running';
  return state?.kind === 'terminated' && state.exitCode === 0;
}

function initFailed(pod: KubeObject, init: readonly Dict[], statuses: readonly ContainerStatus[]): boolean {
  if (text(at(pod, 'spec.restartPolicy')) !== 'Never') return false;
  return init.some((spec) => {
    const state = statuses.find(({ name }) => name === spec['name'])?.state;
    return !isSidecar(spec) && state?.kind === 'terminated' && state.exitCode !== 0;
  });
}

function containerStatus(pod: KubeObject, spec: Dict, statuses: readonly ContainerStatus[]): Dict {
  const name = text(spec['name']);
  const image = text(spec['image']);
  const found = statuses.find((status) => status.name === name);
  const containerID = `emulator://${pod.metadata.uid ?? ''}-${name}-${found?.restartCount ?? 0}`;
  const state = found?.state ?? { kind: 'waiting' as const, reason: waitingReason(pod, statuses) };
  return {
    name,
    state: stateOf(state, containerID),
    lastState: found?.lastTermination === undefined ? {} : stateOf(found.lastTermination, containerID),
    restartCount: found?.restartCount ?? 0,
    image,
    imageID: image,
    ...(found === undefined ? {} : { containerID }),
  };
}

/** The kubelet's word for a container that has not begun. */
function waitingReason(pod: KubeObject, statuses: readonly ContainerStatus[]): string {
  const initialized = dicts(at(pod, 'spec.initContainers')).every((spec) => initDone(spec, statuses));
  return initialized ? 'ContainerCreating' : 'PodInitializing';
}

function stateOf(state: ContainerState, containerID: string): Dict {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason } };
    case 'running':
      return { running: { startedAt: timestamp(state.startedAt) } };
    case 'terminated': {
      const { exitCode, startedAt, finishedAt } = state;
      const reason = exitCode === 0 ? 'Completed' : 'Error';
      const times = { startedAt: timestamp(startedAt), finishedAt: timestamp(finishedAt) };
      return { terminated: { exitCode, reason, ...times, containerID } };
    }
  }
}

function phaseOf(pod: KubeObject, statuses: readonly ContainerStatus[]): string {
  if (statuses.length === 0) return 'Pending';
  const policy = text(at(pod, 'spec.restartPolicy'));
  const codes = statuses.map(({ state }) => (state.kind === 'terminated' ? state.exitCode : undefined));
  const allEnded = codes.every((code) => code !== undefined);
  const failed = codes.some((code) => code !== 0);
  if (allEnded && (policy === 'Never' || (policy === 'OnFailure' && !failed))) return failed ? 'Failed' : 'Succeeded';
  const begun = statuses.some(({ state, restartCount }) => state.kind !== 'waiting' || restartCount > 0);
  return begun ? 'Running' : 'Pending';
}
