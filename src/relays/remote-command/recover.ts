import type { WebSocket } from 'ws';
import { CodedError, describeError } from '../../base/errors.js';
import type { FlatHeaders } from '../../base/flat-headers.js';
import type { Logger } from '../../base/log.js';
import { sleepUntilWake } from '../../base/wake.js';
import type { Redial } from '../../gateway/redial.js';
import type { ApiRequest } from '../../kubernetes/api-request.js';
import type { ContainerInstance } from '../../kubernetes/container-instance.js';
import { judgeInstance } from '../../kubernetes/container-instance.js';
import { formatAge, type RemoteSession } from '../../kubernetes/remote-session.js';
import { askCluster } from '../ask-cluster.js';
import { readRefusal } from '../read-refusal.js';
import type { Dialled } from '../remote-command-upstream.js';
import type { RelayTools, ServedMembership } from '../served-membership.js';

/** An agent that is lost for longer than this is not waited for. */
export const WAIT_LIMIT_MS = 15 * 60_000;
/** What the cluster itself refuses it may refuse for a moment only: the pod's state lags behind the container's. */
const REFUSALS_LIMIT = 3;

export interface RecoverOptions {
  readonly tools: RelayTools;
  readonly served: ServedMembership;
  readonly api: ApiRequest;
  readonly remote: RemoteSession;
  readonly log: Logger;
  /** Of the client's request, without a credential. */
  readonly headers: FlatHeaders;
  readonly redial: Redial;
  readonly dial: (signal: AbortSignal) => Promise<Dialled>;
  /** Monotonic: when the session was last known to be well. */
  readonly cutAt: number;
  /** From then on. `WAIT_LIMIT_MS` where left out. */
  readonly waitLimitMs?: number;
  /** Aborts when nobody waits any longer. */
  readonly signal: AbortSignal;
}

/** `message` says in a few words why there is nothing to go on with; `gone`: nor will there be. */
export type Recovery =
  | { readonly kind: 'open'; readonly upstream: WebSocket; readonly stdinOnce: boolean }
  | { readonly kind: 'ended'; readonly exitCode: number; readonly stdinOnce: boolean }
  | { readonly kind: 'failed'; readonly message: string; readonly gone?: true; readonly cause?: CodedError };

interface Waiting {
  readonly kind: 'wait';
  readonly message: string;
  readonly cause?: CodedError;
}

/** What one session knows of its container, over all its gaps. */
export class Recoverer {
  readonly #started: { readonly now: number; readonly monotonic: number };
  #known: ContainerInstance | undefined;
  #refusals = 0;

  constructor(started: { now: number; monotonic: number }) {
    this.#started = started;
  }

  /** The session goes on: what was refused before counts no longer. */
  succeeded(): void {
    this.#refusals = 0;
  }

  /** True while a refusal of the cluster's own is worth another look. */
  mayTryAgain(): boolean {
    return ++this.#refusals < REFUSALS_LIMIT;
  }

  /** Looks at the container and dials again, as often as it takes. Rejects only when the signal aborts. */
  async recover(o: RecoverOptions): Promise<Recovery> {
    const { tools, redial, signal, log } = o;
    for (;;) {
      let trouble: string;
      let cause: CodedError | undefined;
      try {
        while (await sleepUntilWake({ clock: tools.clock, ms: redial.nextPauseMs(), wakes: tools.wakes, signal })) {
          redial.succeeded();
        }
        const step = await this.#attempt(o);
        if (step.kind !== 'wait') return step;
        trouble = step.message;
        cause = step.cause;
      } catch (error) {
        if (signal.aborted) throw error;
        trouble = describeError(error);
        if (error instanceof CodedError) {
          cause = error;
          if (error.retry === 'never' && !this.mayTryAgain()) return { kind: 'failed', message: trouble, cause };
        }
      }
      if (redial.attempts === 1) log.info({}, `a cut session cannot go on yet: ${trouble}`);
      const limitMs = o.waitLimitMs ?? WAIT_LIMIT_MS;
      if (tools.clock.monotonic() - o.cutAt >= limitMs) {
        const message = `the cluster could not be reached again within ${formatAge(limitMs)}: ${trouble}`;
        return { kind: 'failed', message, ...(cause === undefined ? {} : { cause }) };
      }
    }
  }

  async #attempt(o: RecoverOptions): Promise<Recovery | Waiting> {
    const look = await this.look(o);
    if (look.kind !== 'running') return look;
    const dialled = await o.dial(o.signal);
    if (dialled.kind === 'open') return { kind: 'open', upstream: dialled.upstream, stdinOnce: look.stdinOnce };
    const { tools, served, api } = o;
    const { kind, ...said } = await readRefusal({ clock: tools.clock, served, api }, dialled.response);
    const waits = kind === 'passing' || this.mayTryAgain();
    return { kind: waits ? 'wait' : 'failed', ...said };
  }

  /** Whether the container that the session began in still runs. Rejects where nobody can tell. */
  async look(
    o: Pick<RecoverOptions, 'tools' | 'served' | 'headers' | 'remote' | 'signal'>,
  ): Promise<{ kind: 'running'; stdinOnce: boolean } | Recovery> {
    const { tools, served, headers, remote } = o;
    const answer = await askCluster({ tools, served, headers, clientGone: o.signal }, remote.podTarget);
    if (answer.kind === 'gone') return { kind: 'failed', message: 'the pod is gone', gone: true };
    if (answer.kind === 'forbidden') {
      // A new shell is announced as new wherever it runs; an attach must not take another process for the same.
      if (remote.verb === 'exec') return { kind: 'running', stdinOnce: false };
      return { kind: 'failed', message: `whether its container still runs cannot be seen: ${answer.message}` };
    }
    const verdict = judgeInstance(answer.value, {
      ...(remote.container === undefined ? {} : { container: remote.container }),
      ...(this.#known === undefined ? {} : { known: this.#known }),
      since: this.#startedAt(tools.clock, answer.date),
    });
    if (verdict.kind === 'running') {
      this.#known = verdict.instance;
      return verdict;
    }
    if (verdict.kind === 'lost') {
      const message = 'its container does not run any more, or has been started anew since';
      return { kind: 'failed', message, gone: true };
    }
    return verdict;
  }

  /** The session's start on the clock of whoever dated the answer. Of two elapsed times the longer is right: a machine may have slept. */
  #startedAt(clock: { now(): number; monotonic(): number }, date: number | undefined): number {
    if (date === undefined) return this.#started.now;
    return date - Math.max(clock.now() - this.#started.now, clock.monotonic() - this.#started.monotonic);
  }
}
