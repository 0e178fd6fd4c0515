import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';

/** A fleet host project, whose quotas all its memberships share. */
export interface QuotaProject {
  /** Its number. */
  readonly project: string;
  readonly projectId?: string;
}

/** One request in line. */
export interface Turn {
  readonly project: QuotaProject;
  /** Writes, and whatever a person waits for; discovery and what controllers' caches ask are not. */
  readonly urgent: boolean;
  /** Whoever asks (a connection): of those in line the one that has had least goes first. */
  readonly client: object;
}

export interface RequestUse {
  readonly perMinute: number;
  readonly lastMinute: number;
  readonly waiting: number;
  /** How often Google has said 429. */
  readonly refused: number;
}

/** In any minute at most this part of the quota is used: a burst, and what comes in meanwhile. Others share it. */
const BURST_PART = 0.25;
const STEADY_PART = 0.7;
const MINUTE_MS = 60_000;
/** Every so many turns the one goes that has waited longest, whoever it is: nobody starves. */
const OLDEST_EVERY = 4;
/** What a client has had counts half after this long. */
const HALF_LIFE_MS = 30_000;
const FIRST_REFUSAL_PAUSE_MS = 1000;
const LONGEST_REFUSAL_PAUSE_MS = 16_000;

/** Lets requests leave below the quota of their fleet host project, the urgent ones first. Pure: the clock is injected. */
export class RequestPacer {
  readonly #clock: Clock;
  readonly #perMinute: number;
  readonly #lines = new Map<string, Line>();

  constructor(options: { clock: Clock; perMinute: number }) {
    this.#clock = options.clock;
    this.#perMinute = options.perMinute;
  }

  /**
   * Calls `go` when it is this request's turn: at once where nobody waits. The answer leaves the line. Throws a
   * CodedError (429) when a minute's worth of requests wait; an urgent one only when as many urgent ones do.
   */
  enter(turn: Turn, go: () => void): () => void {
    return this.#line(turn.project).enter(turn, go);
  }

  /** Google has refused a request of the project for its quota: somebody else uses it too. */
  refused(project: QuotaProject): void {
    this.#line(project).refused();
  }

  use(project: string): RequestUse {
    return this.#lines.get(project)?.use() ?? { perMinute: this.#perMinute, lastMinute: 0, waiting: 0, refused: 0 };
  }

  projects(): QuotaProject[] {
    return [...this.#lines.values()].map(({ project }) => project);
  }

  #line(project: QuotaProject): Line {
    let line = this.#lines.get(project.project);
    if (line === undefined) {
      line = new Line({ project, clock: this.#clock, perMinute: this.#perMinute });
      this.#lines.set(project.project, line);
    }
    return line;
  }
}

interface Waiting {
  readonly turn: Turn;
  readonly go: () => void;
}

/** What a client has had, as it counted at that time. */
interface Had {
  amount: number;
  at: number;
}

function remaining({ amount, at }: Had, now: number): number {
  return amount * 0.5 ** ((now - at) / HALF_LIFE_MS);
}

/** The requests of one project. */
class Line {
  readonly project: QuotaProject;
  readonly #clock: Clock;
  readonly #perMinute: number;
  readonly #burst: number;
  readonly #perMs: number;
  /** In the order of arrival. */
  #waiting: Waiting[] = [];
  readonly #had = new WeakMap<object, Had>();
  readonly #seconds = new SecondCounts();
  #tokens: number;
  #filledAt: number;
  #turns = 0;
  #closedUntil = 0;
  #refusalPauseMs = FIRST_REFUSAL_PAUSE_MS;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #refused = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(options: { project: QuotaProject; clock: Clock; perMinute: number }) {
    const { project, projectId } = options.project;
    // A membership is that and more.
    this.project = { project, ...(projectId === undefined ? {} : { projectId }) };
    this.#clock = options.clock;
    this.#perMinute = options.perMinute;
    this.#burst = Math.max(1, Math.floor(options.perMinute * BURST_PART));
    this.#perMs = (options.perMinute * STEADY_PART) / MINUTE_MS;
    this.#tokens = this.#burst;
    this.#filledAt = options.clock.monotonic();
  }

  enter(turn: Turn, go: () => void): () => void {
    const now = this.#clock.monotonic();
    this.#fill(now);
    if (this.#waiting.length === 0 && this.#open(now)) {
      this.#spend(turn, now);
      go();
      return () => {};
    }
    if (this.#isFullFor(turn)) throw this.#tooMany(turn.project);
    const waiting = { turn, go };
    this.#waiting.push(waiting);
    this.#schedule(now);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
    };
  }

  refused(): void {
    const now = this.#clock.monotonic();
    this.#refused++;
    // Requests that left together are refused together: that is one event.
    if (now < this.#closedUntil) return;
    if (now - this.#refusedAt > MINUTE_MS) this.#refusalPauseMs = FIRST_REFUSAL_PAUSE_MS;
    this.#refusedAt = now;
    this.#closedUntil = now + this.#refusalPauseMs;
    this.#refusalPauseMs = Math.min(LONGEST_REFUSAL_PAUSE_MS, this.#refusalPauseMs * 2);
    this.#tokens = 0;
    this.#filledAt = this.#closedUntil;
  }

  use(): RequestUse {
    return {
      perMinute: this.#perMinute,
      lastMinute: this.#seconds.total(this.#clock.monotonic()),
      waiting: this.#waiting.length,
      refused: this.#refused,
    };
  }

  #fill(now: number): void {
    if (now <= this.#filledAt) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }

  #open(now: number): boolean {
    // Sums of fractions fall a little short of whole tokens.
    return this.#tokens >= 1 - 1e-6 && now >= this.#closedUntil;
  }

  #spend({ client }: Turn, now: number): void {
    this.#tokens--;
    this.#turns++;
    this.#seconds.add(now);
    const had = this.#had.get(client);
    if (had === undefined) {
      this.#had.set(client, { amount: 1, at: now });
    } else {
      had.amount = remaining(had, now) + 1;
      had.at = now;
    }
  }

  #amountOf(client: object, now: number): number {
    const had = this.#had.get(client);
    return had === undefined ? 0 : remaining(had, now);
  }

  #schedule(now: number): void {
    if (this.#cancelTimer !== undefined || this.#waiting.length === 0) return;
    const forToken = (1 - this.#tokens) / this.#perMs + Math.max(0, this.#filledAt - now);
    this.#cancelTimer = this.#clock.after(Math.max(1, forToken, this.#closedUntil - now), () => {
      this.#cancelTimer = undefined;
      this.#serve();
    });
  }

  #serve(): void {
    const now = this.#clock.monotonic();
    this.#fill(now);
    while (this.#open(now)) {
      const at = this.#nextAt(now);
      const [next] = this.#waiting.splice(at, 1);
      if (next === undefined) break;
      this.#spend(next.turn, now);
      next.go();
    }
    this.#schedule(now);
  }

  /** A flood in the background must not cost a write. */
  #isFullFor({ urgent }: Turn): boolean {
    const most = Math.max(100, this.#perMinute);
    if (this.#waiting.length < most) return false;
    return !urgent || this.#waiting.filter(({ turn }) => turn.urgent).length >= most;
  }

  #nextAt(now: number): number {
    if (this.#turns % OLDEST_EVERY === 0) return 0;
    let best = 0;
    let bestAmount = Number.POSITIVE_INFINITY;
    let bestUrgent = false;
    for (const [at, { turn }] of this.#waiting.entries()) {
      if (bestUrgent && !turn.urgent) continue;
      const amount = this.#amountOf(turn.client, now);
      if (turn.urgent === bestUrgent && amount >= bestAmount) continue;
      best = at;
      bestAmount = amount;
      bestUrgent = turn.urgent;
    }
    return best;
  }

  #tooMany({ project, projectId }: QuotaProject): CodedError {
    return new CodedError({
      code: 'request-line-full',
      message: `connect-gateway-proxy: ${this.#waiting.length} requests to fleet host project ${projectId ?? project} wait already for its quota of ${this.#perMinute} a minute (requests.perMinute); ask less often, or see who asks with: connect-gateway-proxy status`,
      retry: 'later',
      // It has not left this machine, and the line moves.
      answer: { status: 429, reason: 'TooManyRequests', retryAfterSeconds: 10 },
    });
  }
}

/** How many in the last minute, second by second. */
class SecondCounts {
  readonly #counts = new Array<number>(60).fill(0);
  #second = 0;

  add(now: number): void {
    this.#forget(now);
    const at = this.#second % 60;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  total(now: number): number {
    this.#forget(now);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  #forget(now: number): void {
    const second = Math.floor(now / 1000);
    const passed = Math.min(60, second - this.#second);
    for (let i = 0; i < passed; i++) this.#counts[(second - i) % 60] = 0;
    this.#second = Math.max(this.#second, second);
  }
}
