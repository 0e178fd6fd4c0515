import type { Dict, KubeObject } from './json.js';
import { at, dict, dicts, integer, text } from './json.js';

/** The columns of `kubectl get pods -o wide` after the name, told as the API server's printer tells them. */
export function podCells(pod: KubeObject, age: string): (string | number)[] {
  const statuses = dicts(at(pod, 'status.containerStatuses'));
  const ready = statuses.filter((status) => status['ready'] === true).length;
  const restarts = statuses.reduce((sum, status) => sum + integer(status['restartCount']), 0);
  return [
    `${ready}/${dicts(at(pod, 'spec.containers')).length}`,
    statusOf(pod, statuses),
    String(restarts),
    age,
    text(at(pod, 'status.podIP')) || '<none>',
    text(at(pod, 'spec.nodeName')) || '<none>',
    text(at(pod, 'status.nominatedNodeName')) || '<none>',
    '<none>',
  ];
}

function statusOf(pod: KubeObject, statuses: readonly Dict[]): string {
  let reason = text(at(pod, 'status.reason')) || text(at(pod, 'status.phase'));
  for (const status of [...statuses].reverse()) {
    const { waiting, terminated } = dict(status['state']);
    const waitingReason = text(dict(waiting)['reason']);
    const { exitCode, signal } = dict(terminated);
    const terminatedReason = text(dict(terminated)['reason']);
    if (waitingReason !== '') reason = waitingReason;
    else if (terminatedReason !== '') reason = terminatedReason;
    else if (terminated !== undefined) reason = signal ? `Signal:${String(signal)}` : `ExitCode:${String(exitCode)}`;
  }
  const running = statuses.some((status) => status['ready'] === true && dict(status['state'])['running'] !== undefined);
  if (reason === 'Completed' && running) reason = 'Running';
  return pod.metadata.deletionTimestamp === undefined ? reason : 'Terminating';
}
