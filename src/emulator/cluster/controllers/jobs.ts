import type { Dict, KubeObject } from '../json.js';
import { dicts, integer, text, timestamp } from '../json.js';
import {
  type ControllerContext,
  isFinished,
  isReady,
  ownedBy,
  recordEvent,
  setStatus,
  TYPES,
  withCondition,
} from './context.js';
import { createPod, positive } from './owned-pods.js';

const COMPONENT = 'job-controller';
const GAVE_UP = 'Job has reached the specified backoff limit';

export function reconcileJob(context: ControllerContext, job: KubeObject): void {
  // What has ended stays as it is: its pods may be cleared away without running it again.
  if (hasEnded(job)) return;
  const pods = ownedBy(context, TYPES.pods, job);
  const count = (phase: string): number => pods.filter((pod) => text(pod.status?.['phase']) === phase).length;
  const succeeded = count('Succeeded');
  const failed = count('Failed');
  const active = pods.filter((pod) => !isFinished(pod));
  const completions = integer(job.spec?.['completions'], 1);
  const now = context.clock.now();
  const { startTime = timestamp(now), conditions } = job.status ?? {};
  const counts = positive({ succeeded, failed });
  if (succeeded >= completions) {
    endPods(context, active);
    setStatus(context, TYPES.jobs, job, {
      ...{ startTime, ready: 0, ...counts, completionTime: timestamp(now) },
      conditions: withConditions(conditions, ['SuccessCriteriaMet', 'Complete'], { reason: 'CompletionsReached' }, now),
    });
    recordEvent(context, job, { reason: 'Completed', message: 'Job completed', component: COMPONENT });
    return;
  }
  if (failed > integer(job.spec?.['backoffLimit'], 6)) {
    endPods(context, active);
    const why = { reason: 'BackoffLimitExceeded', message: GAVE_UP };
    setStatus(context, TYPES.jobs, job, {
      ...{ startTime, ready: 0, ...counts },
      conditions: withConditions(conditions, ['FailureTarget', 'Failed'], why, now),
    });
    recordEvent(context, job, { ...why, component: COMPONENT, type: 'Warning' });
    return;
  }
  if (job.metadata.deletionTimestamp === undefined && job.spec?.['suspend'] !== true) {
    const wanted = Math.min(integer(job.spec?.['parallelism'], 1), completions - succeeded);
    while (active.length < wanted) active.push(createJobPod(context, job));
  }
  setStatus(context, TYPES.jobs, job, {
    ...{ startTime, ready: active.filter(isReady).length },
    ...positive({ active: active.length }),
    ...counts,
    ...(conditions === undefined ? {} : { conditions }),
  });
}

function hasEnded(job: KubeObject): boolean {
  return dicts(job.status?.['conditions']).some(
    ({ type, status }) => ['Complete', 'Failed'].includes(text(type)) && status === 'True',
  );
}

function withConditions(
  conditions: unknown,
  types: readonly string[],
  why: { reason: string; message?: string },
  now: number,
): Dict[] {
  let list = [...dicts(conditions)];
  for (const type of types) list = withCondition(list, { type, status: 'True', ...why }, now);
  return list;
}

function endPods(context: ControllerContext, pods: readonly KubeObject[]): void {
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp === undefined) context.registry.delete(TYPES.pods, pod, {});
  }
}

function createJobPod(context: ControllerContext, job: KubeObject): KubeObject {
  const { name, uid = '' } = job.metadata;
  return createPod(context, TYPES.jobs, job, {
    name: { prefix: `${name}-` },
    // Both spellings: clients of either age select by them.
    labels: {
      'batch.kubernetes.io/controller-uid': uid,
      'batch.kubernetes.io/job-name': name,
      'controller-uid': uid,
      'job-name': name,
    },
  });
}
