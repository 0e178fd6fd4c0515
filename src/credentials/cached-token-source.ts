import type { Clock } from '../base/clock.js';
import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { credentialsError } from './credentials-error.js';
import { describeSource, type Principal } from './principal.js';
import type {
  AccessToken,
  Credentials,
  TokenFailure,
  TokenOrigin,
  TokenSnapshot,
  TokenSource,
} from './token-source.js';

/** Google's tokens live an hour; a new one is fetched in the background while the old one is still good. */
const REFRESH_BEFORE_MS = 5 * 60_000;
/** A token this close to its end could expire on its way. It is handed out only where no other can be had. */
const EXPIRING_BEFORE_MS = 30_000;
const FIRST_BACK_OFF_MS = 1000;
const LONGEST_BACK_OFF_MS = 60_000;
/** A refusal this long after the last one is a new story. */
const FORGET_REFUSALS_MS = 5 * 60_000;
/** A source that never answers must not make every request wait for ever. */
const FETCH_DEADLINE_MS = 30_000;
/**
 * After a failure the next attempt may be as slow as the one before. Whoever waits for it is told the failure that is
 * known within three seconds, the time on the way included; the attempt goes on for the others.
 */
const PATIENCE_AFTER_FAILURE_MS = 2500;

/**
 * Tokens of `fetch`, fetched once however many ask, ahead of expiry in the background, and with a growing pause after
 * failures, during which callers without a valid token get the last failure at once. Nothing runs while nobody asks, so
 * the first call after a sleep of the machine finds out about it.
 */
export function createCachedTokenSource(options: CachedTokenSourceOptions): TokenSource {
  return new CachedTokenSource(options);
}

export interface CachedTokenSourceOptions extends Credentials {
  /** What `fetch` takes its own tokens from: closed with this one. */
  readonly base?: TokenSource;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 to 1. */
  readonly random?: () => number;
}

/** A token with what is needed to tell its age by two clocks. */
interface HeldToken {
  readonly token: AccessToken;
  /** How long it was good for when it came; infinite where the source does not say. */
  readonly lifetimeMs: number;
  /** With this much of it left a new one is fetched, and with this much it is not handed out where another can be had. */
  readonly refreshMs: number;
  readonly expiringMs: number;
  /** By the monotonic clock. */
  readonly fetchedAt: number;
  /** How many tokens Google had refused one after the other before this one. */
  readonly refusalsBefore: number;
}

class CachedTokenSource implements TokenSource {
  readonly origin: TokenOrigin;
  readonly renewal: string;
  readonly #o: CachedTokenSourceOptions;
  readonly #closing = new AbortController();
  #held: HeldToken | undefined;
  #fetching: Promise<AccessToken> | undefined;
  #refusals = 0;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #lastFailure: (TokenFailure & { readonly error: unknown }) | undefined;
  #retryAt = 0;
  #lastRefreshAt: number | undefined;
  /** As the issuer of the newest token told it. */
  #account: string | undefined;

  constructor(options: CachedTokenSourceOptions) {
    this.#o = options;
    this.origin = options.origin;
    this.renewal = options.renewal;
  }

  get principal(): Principal {
    return this.#o.principal;
  }

  get description(): string {
    return describeSource(this);
  }

  async get(signal?: AbortSignal): Promise<AccessToken> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const held = this.#held;
    const left = held === undefined ? 0 : this.#timeLeft(held);
    const pausing = this.#fetching === undefined && this.#o.clock.monotonic() < this.#retryAt;
    if (held !== undefined && left > held.expiringMs) {
      if (left < held.refreshMs && !pausing) {
        // Whoever asks next finds its outcome; a failure has been noted and logged.
        this.#refresh().catch(() => {});
      }
      return held.token;
    }
    const last = left > 0 ? held : undefined;
    if (pausing && this.#lastFailure !== undefined) {
      if (last !== undefined) return last.token;
      throw this.#lastFailure.error;
    }
    try {
      return await this.#refreshFor(signal);
    } catch (error) {
      signal?.throwIfAborted();
      // It may have been refused or have expired during the wait.
      if (last !== undefined && this.#held === last && this.#timeLeft(last) > 0) return last.token;
      throw error;
    }
  }

  /** Where Google refuses every token, new ones come with growing pauses, and the refused one is handed out meanwhile. */
  invalidate(refused: AccessToken): void {
    const held = this.#held;
    if (held?.token.value !== refused.value) return;
    const now = this.#o.clock.monotonic();
    const before = now - this.#refusedAt < FORGET_REFUSALS_MS ? held.refusalsBefore : 0;
    this.#refusedAt = now;
    if (before > 0 && now - held.fetchedAt < backOffMs(before)) return;
    this.#refusals = before + 1;
    this.#held = undefined;
  }

  renew(): void {
    this.#o.base?.renew();
    this.#retryAt = 0;
    if (this.#closing.signal.aborted || (this.#held === undefined && this.#failures === 0)) return;
    // Whoever asks next finds its outcome; a failure has been noted and logged.
    this.#refresh().catch(() => {});
  }

  snapshot(): TokenSnapshot {
    const held = this.#held;
    const expiresAt = held?.token.expiresAt;
    const { at, code, message } = this.#lastFailure ?? {};
    const account = this.#account ?? this.#o.base?.snapshot().account;
    return {
      ...(account === undefined ? {} : { account }),
      hasToken: held !== undefined && this.#timeLeft(held) > 0,
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(this.#lastRefreshAt === undefined ? {} : { lastRefreshAt: this.#lastRefreshAt }),
      ...(at === undefined || code === undefined || message === undefined
        ? {}
        : { lastFailure: { at, code, message } }),
    };
  }

  close(): void {
    this.#o.base?.close();
    this.#closing.abort(
      new CodedError({
        code: 'daemon-stopping',
        message: 'the daemon is stopping',
        retry: 'later',
        answer: { status: 503, reason: 'ServiceUnavailable' },
      }),
    );
  }

  /**
   * By whichever clock says less: the wall clock knows of a sleep of the machine that the monotonic one does not, and
   * the monotonic one of the time that went by when somebody set the wall clock back.
   */
  #timeLeft({ token, lifetimeMs, fetchedAt }: HeldToken): number {
    const { clock } = this.#o;
    if (token.expiresAt === undefined) return Number.POSITIVE_INFINITY;
    return Math.min(token.expiresAt - clock.now(), lifetimeMs - (clock.monotonic() - fetchedAt));
  }

  async #refreshFor(signal: AbortSignal | undefined): Promise<AccessToken> {
    const refresh = withSignal(this.#refresh(), signal);
    const known = this.#lastFailure;
    if (known === undefined) return await refresh;
    let cancel = (): void => {};
    const impatient = new Promise<never>((_resolve, reject) => {
      cancel = this.#o.clock.after(PATIENCE_AFTER_FAILURE_MS, () => reject(known.error));
    });
    return await Promise.race([refresh, impatient]).finally(() => cancel());
  }

  #refresh(): Promise<AccessToken> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<AccessToken> {
    const { clock, log } = this.#o;
    const deadline = new AbortController();
    const cancel = clock.after(FETCH_DEADLINE_MS, () => {
      deadline.abort(this.#unavailable(`did not answer within ${FETCH_DEADLINE_MS / 1000} s`));
    });
    const signal = AbortSignal.any([this.#closing.signal, deadline.signal]);
    try {
      const token = await withSignal(this.#o.fetch(signal, { refused: this.#refusals > 0 }), signal);
      const lifetimeMs = token.expiresAt === undefined ? Number.POSITIVE_INFINITY : token.expiresAt - clock.now();
      // Without the pause that follows a failure, such a source would be asked at every call.
      if (lifetimeMs <= 0) {
        throw credentialsError(
          'clock-skewed',
          `the token of ${this.description} had expired already when it came; set the clock of this machine`,
        );
      }
      this.#noteAccount(token.account);
      this.#held = {
        token,
        lifetimeMs,
        ...margins(lifetimeMs),
        fetchedAt: clock.monotonic(),
        refusalsBefore: this.#refusals,
      };
      this.#refusals = 0;
      this.#failures = 0;
      this.#retryAt = 0;
      this.#lastFailure = undefined;
      this.#lastRefreshAt = clock.now();
      log.debug({ principal: this.description, expiresAt: token.expiresAt }, 'token fetched');
      return token;
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#noteFailure(error);
      throw error;
    } finally {
      cancel();
    }
  }

  #noteFailure(error: unknown): void {
    const { clock, log, random = Math.random } = this.#o;
    this.#failures++;
    // Half fixed, half random: daemons that failed together do not come back together.
    this.#retryAt = clock.monotonic() + backOffMs(this.#failures) * (0.5 + random() / 2);
    const code = error instanceof CodedError ? error.code : 'token-unavailable';
    this.#lastFailure = { at: clock.now(), code, message: describeError(error), error };
    const principal = this.description;
    log.warn({ principal, code, failures: this.#failures }, `no token: ${describeError(error)}`);
  }

  #noteAccount(account: string | undefined): void {
    if (account === undefined) return;
    const before = this.#account;
    this.#account = account;
    if (before === undefined || before === account) return;
    this.#o.log.warn({ before, now: account }, 'the principal has changed: the issuer gives tokens of another account');
  }

  #unavailable(what: string): CodedError {
    return credentialsError('token-unavailable', `the source of tokens for ${this.description} ${what}`);
  }
}

function backOffMs(failures: number): number {
  return Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (failures - 1));
}

/** The margins before the end shrink with a short life, else a short-lived token would be replaced at every call. */
function margins(lifetimeMs: number): { refreshMs: number; expiringMs: number } {
  return {
    refreshMs: Math.min(REFRESH_BEFORE_MS, lifetimeMs / 2),
    expiringMs: Math.min(EXPIRING_BEFORE_MS, lifetimeMs / 10),
  };
}

/** The promise goes on for others; this caller stops waiting. */
function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}
