/** One life of a container, between a start and the next. */
export interface ContainerInstance {
  readonly containerId?: string;
  readonly startedAt: string;
}

/** What a pod says about the instance that a session belongs to. */
export type InstanceVerdict =
  | { readonly kind: 'running'; readonly instance: ContainerInstance; readonly stdinOnce: boolean }
  | { readonly kind: 'ended'; readonly exitCode: number; readonly stdinOnce: boolean }
  /** Another instance runs, or none; how the session's own ended cannot be told. */
  | { readonly kind: 'lost' };

export interface InstanceQuestion {
  /** The pod's first when it is not named. */
  readonly container?: string;
  /** The instance as an earlier look has shown it. */
  readonly known?: ContainerInstance;
  /** When the session began, in ms on the cluster's clock; used as long as the instance is not known. */
  readonly since: number;
}

/** Whole seconds on both sides, and two clocks: a container that is attached to as soon as it runs is still the same. */
const CLOCK_SLACK_MS = 2000;

/** Judges a pod as the API shows it: does the instance that the session belongs to still run, and how did it end? */
export function judgeInstance(pod: unknown, question: InstanceQuestion): InstanceVerdict {
  const { status, spec } = (pod ?? {}) as PodShape;
  const name = question.container ?? spec?.containers?.[0]?.name;
  const byName = (candidate: { readonly name?: string }): boolean => candidate.name === name;
  const found = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ].find(byName);
  const declared = [
    ...(spec?.containers ?? []),
    ...(spec?.initContainers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ].find(byName);
  const stdinOnce = declared?.stdinOnce === true;
  const running = found?.state?.running;
  if (running?.startedAt !== undefined) {
    const id = found?.containerID;
    const instance = { startedAt: running.startedAt, ...(id === undefined ? {} : { containerId: id }) };
    if (isSame(instance, question)) return { kind: 'running', instance, stdinOnce };
  }
  for (const ended of [found?.state?.terminated, found?.lastState?.terminated]) {
    if (typeof ended?.exitCode !== 'number') continue;
    const { startedAt = '', containerID: id } = ended;
    const finished = Date.parse(ended.finishedAt ?? '');
    // An instance that had ended before the session began is not the session's.
    if (question.known === undefined && finished + CLOCK_SLACK_MS < question.since) continue;
    if (isSame({ startedAt, ...(id === undefined ? {} : { containerId: id }) }, question)) {
      return { kind: 'ended', exitCode: ended.exitCode, stdinOnce };
    }
  }
  return { kind: 'lost' };
}

function isSame(instance: ContainerInstance, { known, since }: InstanceQuestion): boolean {
  if (known === undefined) return Date.parse(instance.startedAt) <= since + CLOCK_SLACK_MS;
  if (known.containerId !== undefined && instance.containerId !== undefined) {
    return known.containerId === instance.containerId;
  }
  return known.startedAt === instance.startedAt;
}

interface PodShape {
  readonly spec?: {
    readonly containers?: readonly ContainerShape[];
    readonly initContainers?: readonly ContainerShape[];
    readonly ephemeralContainers?: readonly ContainerShape[];
  };
  readonly status?: {
    readonly containerStatuses?: readonly ContainerStatusShape[];
    readonly initContainerStatuses?: readonly ContainerStatusShape[];
    readonly ephemeralContainerStatuses?: readonly ContainerStatusShape[];
  };
}

interface ContainerShape {
  readonly name?: string;
  readonly stdinOnce?: boolean;
}

interface ContainerStatusShape {
  readonly name?: string;
  readonly containerID?: string;
  readonly state?: { readonly running?: { readonly startedAt?: string }; readonly terminated?: TerminatedShape };
  readonly lastState?: { readonly terminated?: TerminatedShape };
}

interface TerminatedShape {
  readonly exitCode?: number;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly containerID?: string;
}
