import { isTrue } from './query-boolean.js';

/** What a client that follows a log has asked for. */
export interface LogRequest {
  readonly timestamps: boolean;
  /** Bytes after which the server ends the log. */
  readonly limitBytes?: number;
  readonly tailLines?: number;
  /** It leaves out what is older, by tailLines or sinceSeconds. */
  readonly beginsInside: boolean;
  readonly container?: string;
  /** The log of the container's last instance: it does not grow, and a cut of it is an ordinary broken body. */
  readonly previous: boolean;
  /** What to ask at first: the client's request, with timestamps and without the limit, which would count them. */
  readonly firstTarget: string;
  /** What to ask after a cut; without a time, from where the client began. */
  nextTarget(options: { sinceTime?: string; previous: boolean }): string;
  /** The pod itself, to see whether the container is still there. */
  readonly podTarget: string;
}

/** Reads a `…/pods/P/log?follow=true` target; everything that is not named here stays byte for byte. */
export function parseLogRequest(target: string): LogRequest {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  const limitBytes = Number(query.get('limitBytes') ?? 0);
  const tailLines = query.get('tailLines') ?? '';
  const container = query.get('container') ?? '';
  const build = (remove: readonly string[], set: Readonly<Record<string, string>>): string => {
    const parts = (mark === -1 ? '' : target.slice(mark + 1)).split('&');
    const kept = parts.filter((part) => {
      const name = part.split('=')[0] ?? '';
      return part !== '' && !remove.includes(name) && set[name] === undefined;
    });
    const added = Object.entries(set).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return `${path}?${[...kept, ...added].join('&')}`;
  };
  return {
    timestamps: isTrue(query.get('timestamps')),
    ...(limitBytes > 0 ? { limitBytes } : {}),
    ...(/^\d+$/.test(tailLines) ? { tailLines: Number(tailLines) } : {}),
    beginsInside: tailLines !== '' || query.has('sinceSeconds'),
    ...(container === '' ? {} : { container }),
    previous: isTrue(query.get('previous')),
    firstTarget: build(['limitBytes'], { timestamps: 'true' }),
    nextTarget: ({ sinceTime, previous }) =>
      build(['limitBytes', ...(sinceTime === undefined ? [] : ['tailLines', 'sinceSeconds'])], {
        timestamps: 'true',
        ...(sinceTime === undefined ? {} : { sinceTime }),
        ...(previous ? { previous: 'true' } : {}),
      }),
    podTarget: path.replace(/\/log$/, ''),
  };
}

/** What to do with a followed log whose connection has ended. */
export type LogVerdict = 'follow-on' | 'fetch-the-rest' | 'fetch-the-rest-of-previous' | 'end';

/**
 * Judges by the pod as the API shows it after the end. `since` is the newest time (ms, the cluster's clock) at which the
 * followed instance is known to have been there: that of its last line, or of the answer's head.
 */
export function judgeLogEnd(pod: unknown, options: { container?: string; since: number }): LogVerdict {
  const { status, spec } = (pod ?? {}) as PodShape;
  const statuses = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  const name = options.container ?? spec?.containers?.[0]?.name;
  const found = statuses.find((candidate) => candidate.name === name);
  const { running, terminated } = found?.state ?? {};
  const previous = found?.lastState?.terminated;
  // Whole seconds on both sides: an instance that started in the very second of the last line is taken for the same.
  const isFollowed = ({ startedAt }: InstanceShape): boolean =>
    startedAt === undefined || startedAt === null || Date.parse(startedAt) <= options.since;
  if (running !== undefined && isFollowed(running)) return 'follow-on';
  if (terminated !== undefined && isFollowed(terminated)) return 'fetch-the-rest';
  if (previous !== undefined) return isFollowed(previous) ? 'fetch-the-rest-of-previous' : 'end';
  return running === undefined ? 'end' : 'fetch-the-rest-of-previous';
}

interface PodShape {
  readonly spec?: { readonly containers?: readonly { readonly name?: string }[] };
  readonly status?: {
    readonly containerStatuses?: readonly ContainerStatusShape[];
    readonly initContainerStatuses?: readonly ContainerStatusShape[];
    readonly ephemeralContainerStatuses?: readonly ContainerStatusShape[];
  };
}

interface ContainerStatusShape {
  readonly name?: string;
  readonly state?: { readonly running?: InstanceShape; readonly terminated?: InstanceShape };
  readonly lastState?: { readonly terminated?: InstanceShape };
}

interface InstanceShape {
  readonly startedAt?: string | null;
}
