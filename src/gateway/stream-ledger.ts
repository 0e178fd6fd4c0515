import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import type { QuotaProject } from './request-pacer.js';

/** Who has a stream, for people. Asked when it is to be shown: a shared tunnel's sessions come and go. */
export interface StreamHolder {
  /** Ids, as `sessions` lists them. */
  readonly sessions: readonly string[];
  /** `exec`, `attach`, `port-forward`, ... */
  readonly kind: string;
  readonly target: string;
}

export interface StreamRequest {
  readonly project: QuotaProject;
  readonly holder: () => StreamHolder;
  /** Leaves the line, and rejects with its reason. */
  readonly signal: AbortSignal;
  /** A session that goes on after a cut comes before new ones. */
  readonly resuming?: boolean;
}

export interface StreamLease {
  /** May be called more than once. */
  release(): void;
}

export interface StreamUse {
  readonly limit: number;
  readonly active: number;
  readonly waiting: number;
  readonly holders: readonly (StreamHolder & { readonly ageMs: number })[];
}

interface Waiting {
  readonly request: StreamRequest;
  readonly grant: () => void;
}

interface Project {
  readonly held: Map<object, { holder: () => StreamHolder; since: number }>;
  readonly waiting: Waiting[];
}

/**
 * Counts the streams (upgraded connections) to the gateway per fleet host project, and lets no more than the quota be
 * open: one too many waits, then is refused with the names of those that hold them.
 */
export class StreamLedger {
  readonly #o: { readonly clock: Clock; readonly limit: number; readonly queueMs: number };
  readonly #projects = new Map<string, Project>();

  constructor(options: { clock: Clock; limit: number; queueMs: number }) {
    this.#o = options;
  }

  /** How long a stream is waited for. */
  get queueMs(): number {
    return this.#o.queueMs;
  }

  /** Rejects with a CodedError (429) when no stream has become free in time. */
  acquire(request: StreamRequest): Promise<StreamLease> {
    const { signal } = request;
    if (signal.aborted) return Promise.reject(signal.reason);
    const lease = this.tryAcquire(request);
    return lease === undefined ? this.#wait(request) : Promise.resolve(lease);
  }

  /** Undefined where all are in use, or somebody waits already. */
  tryAcquire(request: Pick<StreamRequest, 'project' | 'holder'>): StreamLease | undefined {
    const project = this.#project(request.project);
    if (project.waiting.length > 0 || project.held.size >= this.#o.limit) return undefined;
    return this.#lease(project, request.holder);
  }

  use(number: string): StreamUse {
    const { limit, clock } = this.#o;
    const project = this.#projects.get(number);
    const now = clock.monotonic();
    const holders = [...(project?.held.values() ?? [])].map(({ holder, since }) => ({
      ...holder(),
      ageMs: Math.round(now - since),
    }));
    return { limit, active: holders.length, waiting: project?.waiting.length ?? 0, holders };
  }

  projects(): string[] {
    return [...this.#projects.keys()];
  }

  #wait(request: StreamRequest): Promise<StreamLease> {
    const { clock, queueMs } = this.#o;
    const { signal } = request;
    const project = this.#project(request.project);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        cancel();
        signal.removeEventListener('abort', onAbort);
        const at = project.waiting.indexOf(waiting);
        if (at !== -1) project.waiting.splice(at, 1);
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiting: Waiting = {
        request,
        grant: () => {
          leave();
          resolve(this.#lease(project, request.holder));
        },
      };
      const cancel = clock.after(queueMs, () => {
        leave();
        reject(this.#exhausted(request.project));
      });
      signal.addEventListener('abort', onAbort, { once: true });
      const firstNew = project.waiting.findIndex((other) => other.request.resuming !== true);
      if (request.resuming === true && firstNew !== -1) project.waiting.splice(firstNew, 0, waiting);
      else project.waiting.push(waiting);
    });
  }

  #lease(project: Project, holder: () => StreamHolder): StreamLease {
    const lease = {
      release: () => {
        if (project.held.delete(lease)) project.waiting[0]?.grant();
      },
    };
    project.held.set(lease, { holder, since: this.#o.clock.monotonic() });
    return lease;
  }

  #project({ project: number }: QuotaProject): Project {
    let project = this.#projects.get(number);
    if (project === undefined) {
      project = { held: new Map(), waiting: [] };
      this.#projects.set(number, project);
    }
    return project;
  }

  #exhausted({ project, projectId }: QuotaProject): CodedError {
    const { limit, queueMs } = this.#o;
    const { names, oldest } = namesOfHolders(this.use(project).holders);
    return new CodedError({
      code: 'streams-exhausted',
      message:
        `connect-gateway-proxy: all ${limit} streams of fleet host project ${projectId ?? project} are in use, and none ended within ${age(queueMs)}. ` +
        `They are held by the sessions ${names}. ` +
        `End one with: connect-gateway-proxy sessions kill ${oldest ?? 'ID'}`,
      retry: 'later',
      // Without Retry-After: kubectl would wait ten times as long in silence.
      answer: { status: 429, reason: 'TooManyRequests' },
    });
  }
}

/** `3z6wn4g8 (exec default/box, 4m0s), …`, the oldest first, and its session's id. */
export function namesOfHolders(holders: StreamUse['holders']): { names: string; oldest: string | undefined } {
  const oldestFirst = [...holders].sort((a, b) => b.ageMs - a.ageMs);
  const names = oldestFirst.map(
    ({ sessions, kind, target, ageMs }) => `${sessions.join('+')} (${kind} ${target}, ${age(ageMs)})`,
  );
  return { names: names.join(', '), oldest: oldestFirst[0]?.sessions[0] };
}

function age(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}m${seconds % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}
