import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
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
  /** How many sessions, this one included, share its connection to the gateway; only where connections are shared. */
  readonly sharing?: number;
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

/** A connection to the gateway that sessions share. */
export interface SharedConnection {
  ageMs(): number;
  clients(): number;
}

/** What a relay tells of its session. */
export interface Session {
  readonly id: string;
  readonly kind: ApiRequestKind;
  readonly target: string;
  /** Aborts when a person ends the session, with a CodedError that its client is to be told. */
  readonly signal: AbortSignal;
  /** The stream goes on over a new connection to the gateway. */
  resumed(gapMs: number): void;
  /** Age in ms of the present connection to the gateway. */
  connectionAgeMs(): number;
  /** From here on its connection to the gateway is one that it may share with other sessions. */
  onTunnel(tunnel: SharedConnection): void;
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

  /** Ends a live session as if its relay had been told to. False when there is none of this id. */
  kill(id: string): boolean {
    const session = this.#live.get(id);
    session?.kill();
    return session !== undefined;
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
  readonly kind: ApiRequestKind;
  readonly target: string;
  readonly #killed = new AbortController();
  readonly #about: SessionStart;
  readonly #clock: Clock;
  readonly #hooks: SessionHooks;
  readonly #startedAt: number;
  readonly #start: number;
  readonly #gaps: number[] = [];
  #tunnel: SharedConnection | undefined;
  #connectedAt: number;
  #resumes = 0;
  #over = false;

  constructor(about: SessionStart, clock: Clock, hooks: SessionHooks) {
    this.id = about.id;
    this.kind = about.api.kind;
    this.target = describeTarget(about.api);
    this.#about = about;
    this.#clock = clock;
    this.#hooks = hooks;
    this.#startedAt = clock.now();
    this.#start = clock.monotonic();
    this.#connectedAt = this.#start;
  }

  get signal(): AbortSignal {
    return this.#killed.signal;
  }

  kill(): void {
    this.#killed.abort(
      new CodedError({
        code: 'session-killed',
        message: 'ended by connect-gateway-proxy sessions kill',
        answer: { status: 410, reason: 'Gone' },
      }),
    );
  }

  connectionAgeMs(): number {
    return this.#tunnel?.ageMs() ?? this.#clock.monotonic() - this.#connectedAt;
  }

  onTunnel(tunnel: SharedConnection): void {
    this.#tunnel = tunnel;
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
    const why = this.signal.aborted ? 'ended by sessions kill' : reason;
    this.#hooks.onEnded({ ...this.view(), endedAt: this.#clock.now(), reason: why, bytesMayBeMissing });
  }

  view(): SessionView {
    const { id, membership, identity, userAgent } = this.#about;
    const { up, down } = this.#about.bytes();
    return {
      id,
      kind: this.kind,
      membership,
      target: this.target,
      identity,
      userAgent,
      startedAt: this.#startedAt,
      ageMs: Math.round(this.#clock.monotonic() - this.#start),
      connectionAgeMs: Math.round(this.connectionAgeMs()),
      ...(this.#tunnel === undefined ? {} : { sharing: this.#tunnel.clients() }),
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
