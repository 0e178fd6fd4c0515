import { ageSince } from './duration-text.js';
import type { Dict, KubeObject } from './json.js';
import { at, dict, dicts, integer, text } from './json.js';

interface PodSummary {
  readonly ready: number;
  readonly restarts: number;
  /** When a container last ended, in ms since the epoch. */
  readonly lastEnd: number;
  readonly reason: string;
}

/** The cells of `kubectl get pods -o wide` behind the name. */
export function podCells(pod: KubeObject, now: number): string[] {
  const { ready, restarts, lastEnd, reason } = summaryOf(pod);
  const sidecars = dicts(at(pod, 'spec.initContainers')).filter(isSidecar).length;
  const total = dicts(at(pod, 'spec.containers')).length + sidecars;
  const ended = restarts > 0 && lastEnd > 0 ? ` (${ageSince(new Date(lastEnd).toISOString(), now)} ago)` : '';
  const [firstIp] = dicts(at(pod, 'status.podIPs'));
  return [
    `${ready}/${total}`,
    endingReason(pod) ?? reason,
    `${restarts}${ended}`,
    ageSince(pod.metadata.creationTimestamp, now),
    text(firstIp?.['ip']) || text(at(pod, 'status.podIP')) || '<none>',
    text(at(pod, 'spec.nodeName')) || '<none>',
    text(at(pod, 'status.nominatedNodeName')) || '<none>',
    readinessGates(pod),
  ];
}

/** What a finished pod's row says beside its cells. */
export function podRowConditions(pod: KubeObject): readonly Dict[] | undefined {
  const phase = at(pod, 'status.phase');
  if (phase !== 'Succeeded' && phase !== 'Failed') return undefined;
  const message = phase === 'Succeeded' ? 'The pod has completed successfully.' : 'The pod failed.';
  return [{ type: 'Completed', status: 'True', reason: phase, message }];
}

function summaryOf(pod: KubeObject): PodSummary {
  const init = initSummary(pod);
  const initialized = hasCondition(pod, 'Initialized');
  return init.waitsFor !== undefined && !initialized ? init.waitsFor : containersSummary(pod, init);
}

function phaseReason(pod: KubeObject): string {
  const gated = conditionsOf(pod).some(({ type, reason }) => type === 'PodScheduled' && reason === 'SchedulingGated');
  return gated ? 'SchedulingGated' : text(at(pod, 'status.reason')) || text(at(pod, 'status.phase'));
}

interface InitSummary {
  readonly readySidecars: number;
  readonly sidecarRestarts: number;
  readonly lastSidecarEnd: number;
  /** The state of a pod that has not got past its init containers. */
  readonly waitsFor: PodSummary | undefined;
}

function initSummary(pod: KubeObject): InitSummary {
  const specs = dicts(at(pod, 'spec.initContainers'));
  const sidecars = new Set(specs.filter(isSidecar).map(({ name }) => name));
  let readySidecars = 0;
  let sidecarRestarts = 0;
  let lastSidecarEnd = 0;
  let restarts = 0;
  let lastEnd = 0;
  for (const [index, status] of dicts(at(pod, 'status.initContainerStatuses')).entries()) {
    const sidecar = sidecars.has(status['name']);
    restarts += integer(status['restartCount']);
    lastEnd = Math.max(lastEnd, endOf(status));
    if (sidecar) {
      sidecarRestarts += integer(status['restartCount']);
      lastSidecarEnd = Math.max(lastSidecarEnd, endOf(status));
    }
    const { waiting, terminated } = dict(status['state']);
    if (terminated !== undefined && integer(dict(terminated)['exitCode']) === 0) continue;
    if (sidecar && status['started'] === true) {
      if (status['ready'] === true) readySidecars++;
      continue;
    }
    const waitingReason = text(dict(waiting)['reason']);
    const why =
      terminated !== undefined
        ? endReason(dict(terminated))
        : waitingReason !== '' && waitingReason !== 'PodInitializing'
          ? waitingReason
          : `${index}/${specs.length}`;
    const waitsFor = { ready: readySidecars, restarts, lastEnd, reason: `Init:${why}` };
    return { readySidecars, sidecarRestarts, lastSidecarEnd, waitsFor };
  }
  return { readySidecars, sidecarRestarts, lastSidecarEnd, waitsFor: undefined };
}

function containersSummary(pod: KubeObject, init: InitSummary): PodSummary {
  let ready = init.readySidecars;
  let restarts = init.sidecarRestarts;
  let lastEnd = init.lastSidecarEnd;
  let reason = init.waitsFor?.reason ?? phaseReason(pod);
  let running = false;
  let failure = '';
  // The first container has the last word.
  for (const status of [...dicts(at(pod, 'status.containerStatuses'))].reverse()) {
    restarts += integer(status['restartCount']);
    lastEnd = Math.max(lastEnd, endOf(status));
    const state = dict(status['state']);
    const waitingReason = text(dict(state['waiting'])['reason']);
    if (waitingReason !== '') {
      reason = waitingReason;
    } else if (state['terminated'] !== undefined) {
      const terminated = dict(state['terminated']);
      reason = endReason(terminated);
      if (integer(terminated['exitCode']) !== 0) failure = reason;
    } else if (status['ready'] === true && state['running'] !== undefined) {
      running = true;
      ready++;
    }
  }
  if (reason === 'Completed') {
    if (running && hasCondition(pod, 'Ready')) reason = 'Running';
    else if (failure !== '') reason = failure;
    else if (running) reason = 'NotReady';
  }
  return { ready, restarts, lastEnd, reason };
}

function endReason(terminated: Dict): string {
  const { reason, signal, exitCode } = terminated;
  return text(reason) || (integer(signal) === 0 ? `ExitCode:${integer(exitCode)}` : `Signal:${integer(signal)}`);
}

/** When the container's last run but the present one ended. */
function endOf(status: Dict): number {
  const finished = at(status, 'lastState.terminated.finishedAt');
  return typeof finished === 'string' ? Date.parse(finished) || 0 : 0;
}

/** What a pod that is being deleted is called, whatever its containers do. */
function endingReason(pod: KubeObject): string | undefined {
  if (pod.metadata.deletionTimestamp === undefined) return undefined;
  if (at(pod, 'status.reason') === 'NodeLost') return 'Unknown';
  const phase = at(pod, 'status.phase');
  return phase === 'Succeeded' || phase === 'Failed' ? undefined : 'Terminating';
}

function readinessGates(pod: KubeObject): string {
  const gates = dicts(at(pod, 'spec.readinessGates'));
  const open = gates.filter(({ conditionType }) => hasCondition(pod, text(conditionType)));
  return gates.length === 0 ? '<none>' : `${open.length}/${gates.length}`;
}

function conditionsOf(pod: KubeObject): readonly Dict[] {
  return dicts(at(pod, 'status.conditions'));
}

function hasCondition(pod: KubeObject, type: string): boolean {
  return conditionsOf(pod).some((condition) => condition['type'] === type && condition['status'] === 'True');
}

export function isSidecar(container: Dict): boolean {
  return container['restartPolicy'] === 'Always';
}
