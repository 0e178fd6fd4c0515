import type { Clock } from '../base/clock.js';
import type { ApiRequest, ApiRequestKind } from '../kubernetes/api-request.js';

/** Everything that lives longer than a request: what `sessions` lists. Times are ms. */
export interface SessionView {
  readonly id: string;
  readonly kind: ApiRequestKind;
  /** The membership's alias. */
  readonly membership: string;
  /** What it is about, e.g. `default/box` or `pods -n default`. */
  readonly target: string;
  readonly identity: string;
  readonly userAgent: string;
  /** Since the epoch. */
  readonly startedAt: number;
  readonly ageMs: number;
  /** Age of the present connection to the gateway. */
  readonly connectionAgeMs: number;
  readonly resumes: number;
  /** How long the gaps of its resumes were, the last ones. */
  readonly gapsMs: readonly number[];
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface EndedSessionView extends SessionView {
  readonly endedAt: number;
  readonly reason: string;
  /** Whether the client may lack something that was sent. */
  readonly bytesMayBeMissing: boolean;
}

export type SessionEvent =
  | { readonly type: 'started' | 'resumed'; readonly session: SessionView }
  | { readonly type: 'ended'; readonly session: EndedSessionView };

/** What a relay tells of its session. */
export interface Session {
  readonly id: string;
  /** The stream goes on over a new connection to the gateway. */
  resumed(gapMs: number): void;
  /** Age in ms of the present connection to the gateway. */
  connectionAgeMs(): number;
  end(reason: string, options?: { bytesMayBeMissing?: boolean }): void;
}

/** How many ended sessions are remembered, and gaps of each session. */
const HISTORY = 100;
const GAPS = 20;

/** The live sessions and the last ended ones. */
export class SessionRegistry {
  readonly #clock: Clock;
  readonly #live = new Map<string, LiveSession>();
  readonly #ended: EndedSessionView[] = [];
  readonly #listeners = new Set<(event: SessionEvent) => void>();

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  open(about: SessionStart): Session {
    const session = new LiveSession(about, this.#clock, {
      onResumed: () => this.#tell({ type: 'resumed', session: session.view() }),
      onEnded: (view) => {
        this.#live.delete(about.id);
        this.#ended.push(view);
        if (this.#ended.length > HISTORY) this.#ended.shift();
        this.#tell({ type: 'ended', session: view });
      },
    });
    this.#live.set(about.id, session);
    this.#tell({ type: 'started', session: session.view() });
    return session;
  }

  live(): SessionView[] {
    return [...this.#live.values()].map((session) => session.view());
  }

  /** Newest first. */
  ended(): EndedSessionView[] {
    return [...this.#ended].reverse();
  }

  /** Answers the way to stop listening. */
  onEvent(listener: (event: SessionEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(event: SessionEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

export interface SessionStart {
  readonly id: string;
  readonly api: ApiRequest;
  readonly membership: string;
  readonly identity: string;
  readonly userAgent: string;
  /** Bytes so far, from and to the client. */
  readonly bytes: () => { readonly up: number; readonly down: number };
}

interface SessionHooks {
  onResumed(): void;
  onEnded(view: EndedSessionView): void;
}

class LiveSession implements Session {
  readonly id: string;
  readonly #about: SessionStart;
  readonly #clock: Clock;
  readonly #hooks: SessionHooks;
  readonly #startedAt: number;
  readonly #start: number;
  readonly #gaps: number[] = [];
  #connectedAt: number;
  #resumes = 0;
  #over = false;

  constructor(about: SessionStart, clock: Clock, hooks: SessionHooks) {
    this.id = about.id;
    this.#about = about;
    this.#clock = clock;
    this.#hooks = hooks;
    this.#startedAt = clock.now();
    this.#start = clock.monotonic();
    this.#connectedAt = this.#start;
  }

  connectionAgeMs(): number {
    return this.#clock.monotonic() - this.#connectedAt;
  }

  resumed(gapMs: number): void {
    this.#resumes++;
    this.#connectedAt = this.#clock.monotonic();
    this.#gaps.push(Math.round(gapMs));
    if (this.#gaps.length > GAPS) this.#gaps.shift();
    this.#hooks.onResumed();
  }

  end(reason: string, options: { bytesMayBeMissing?: boolean } = {}): void {
    if (this.#over) return;
    this.#over = true;
    const { bytesMayBeMissing = false } = options;
    this.#hooks.onEnded({ ...this.view(), endedAt: this.#clock.now(), reason, bytesMayBeMissing });
  }

  view(): SessionView {
    const { id, api, membership, identity, userAgent } = this.#about;
    const { up, down } = this.#about.bytes();
    return {
      id,
      kind: api.kind,
      membership,
      target: describeTarget(api),
      identity,
      userAgent,
      startedAt: this.#startedAt,
      ageMs: Math.round(this.#clock.monotonic() - this.#start),
      connectionAgeMs: Math.round(this.connectionAgeMs()),
      resumes: this.#resumes,
      gapsMs: [...this.#gaps],
      bytesUp: up,
      bytesDown: down,
    };
  }
}

function describeTarget({ resource = '', namespace, name, group }: ApiRequest): string {
  const type = group === '' ? resource : `${resource}.${group}`;
  if (name !== undefined && resource === 'pods') return `${namespace ?? ''}/${name}`;
  const what = name === undefined ? type : `${type}/${name}`;
  return namespace === undefined ? what : `${what} -n ${namespace}`;
}
