import type { Dict, KubeObject } from '../json.js';
import { dicts, integer, text, timestamp } from '../json.js';
import { type ControllerContext, isFinished, isReady, ownedBy, setStatus, TYPES, withCondition } from './context.js';
import { createPod } from './workloads.js';

export function reconcileJob(context: ControllerContext, job: KubeObject): void {
  const pods = ownedBy(context, TYPES.pods, job);
  const count = (phase: string): number => pods.filter((pod) => text(pod.status?.['phase']) === phase).length;
  const succeeded = count('Succeeded');
  const failed = count('Failed');
  const active = pods.filter((pod) => !isFinished(pod));
  const completions = integer(job.spec?.['completions'], 1);
  const over = dicts(job.status?.['conditions']).some(
    ({ type, status }) => ['Complete', 'Failed'].includes(text(type)) && status === 'True',
  );
  const complete = succeeded >= completions;
  const givenUp = failed > integer(job.spec?.['backoffLimit'], 6);
  if (
    !over &&
    !complete &&
    !givenUp &&
    job.metadata.deletionTimestamp === undefined &&
    job.spec?.['suspend'] !== true
  ) {
    const wanted = Math.min(integer(job.spec?.['parallelism'], 1), completions - succeeded);
    while (active.length < wanted) {
      active.push(createPod(context, TYPES.jobs, job, { generateName: `${job.metadata.name}-` }));
    }
  }
  const now = context.clock.now();
  const { startTime = timestamp(now), completionTime, conditions } = job.status ?? {};
  const status: Dict = { startTime, ready: active.filter(isReady).length };
  if (active.length > 0) status['active'] = active.length;
  if (succeeded > 0) status['succeeded'] = succeeded;
  if (failed > 0) status['failed'] = failed;
  if (complete) {
    status['completionTime'] = completionTime ?? timestamp(now);
    status['conditions'] = withCondition(
      withCondition(conditions, { type: 'SuccessCriteriaMet', status: 'True', reason: 'CompletionsReached' }, now),
      { type: 'Complete', status: 'True', reason: 'CompletionsReached' },
      now,
    );
  } else if (givenUp) {
    const message = 'Job has reached the specified backoff limit';
    const gaveUp = { type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded', message } as const;
    status['conditions'] = withCondition(conditions, gaveUp, now);
  }
  setStatus(context, TYPES.jobs, job, status);
}
