import type { Clock } from '../base/clock.js';
import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { AccessToken, TokenSnapshot, TokenSource } from './token-source.js';

/** Google's tokens live an hour; a new one is fetched in the background while the old one is still good. */
const REFRESH_BEFORE_MS = 5 * 60_000;
/** A token this close to its end could expire on its way. It is handed out only where no other can be had. */
const EXPIRING_BEFORE_MS = 30_000;
const FIRST_BACK_OFF_MS = 1000;
const LONGEST_BACK_OFF_MS = 60_000;
/** A source that never answers must not make every request wait for ever. */
const FETCH_DEADLINE_MS = 30_000;

/**
 * Tokens of `fetch`, fetched once however many ask, ahead of expiry in the background, and with a growing pause after
 * failures, during which callers without a valid token get the last failure at once. Nothing runs while nobody asks, so
 * the first call after a sleep of the machine finds out about it.
 */
export function createCachedTokenSource(options: CachedTokenSourceOptions): TokenSource {
  return new CachedTokenSource(options);
}

export interface CachedTokenSourceOptions {
  readonly description: string;
  /** `refused`: Google has refused the last token, so that a copy of it from a cache will not do. */
  readonly fetch: (signal: AbortSignal, why: { readonly refused: boolean }) => Promise<AccessToken>;
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
  /** By the monotonic clock. */
  readonly fetchedAt: number;
}

class CachedTokenSource implements TokenSource {
  readonly description: string;
  readonly #o: CachedTokenSourceOptions;
  readonly #closing = new AbortController();
  #held: HeldToken | undefined;
  #fetching: Promise<AccessToken> | undefined;
  #refused = false;
  #failures = 0;
  #lastFailure: { at: number; message: string; error: unknown } | undefined;
  #retryAt = 0;
  #lastRefreshAt: number | undefined;

  constructor(options: CachedTokenSourceOptions) {
    this.#o = options;
    this.description = options.description;
  }

  async get(signal?: AbortSignal): Promise<AccessToken> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const held = this.#held;
    const left = held === undefined ? 0 : this.#timeLeft(held);
    const pausing = this.#fetching === undefined && this.#o.clock.monotonic() < this.#retryAt;
    if (held !== undefined && left > margins(held).expiringMs) {
      if (left < margins(held).refreshMs && !pausing) {
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
      return await withSignal(this.#refresh(), signal);
    } catch (error) {
      signal?.throwIfAborted();
      // It may have been refused or have expired during the wait.
      if (last !== undefined && this.#held === last && this.#timeLeft(last) > 0) return last.token;
      throw error;
    }
  }

  invalidate(refused: AccessToken): void {
    if (this.#held?.token.value !== refused.value) return;
    this.#held = undefined;
    this.#refused = true;
  }

  renew(): void {
    this.#retryAt = 0;
    if (this.#closing.signal.aborted || (this.#held === undefined && this.#failures === 0)) return;
    // Whoever asks next finds its outcome; a failure has been noted and logged.
    this.#refresh().catch(() => {});
  }

  snapshot(): TokenSnapshot {
    const failure = this.#lastFailure;
    const expiresAt = this.#held?.token.expiresAt;
    return {
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(this.#lastRefreshAt === undefined ? {} : { lastRefreshAt: this.#lastRefreshAt }),
      ...(failure === undefined ? {} : { lastFailure: { at: failure.at, message: failure.message } }),
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
      deadline.abort(this.#failure(`${this.description} did not answer within ${FETCH_DEADLINE_MS / 1000} s`));
    });
    const signal = AbortSignal.any([this.#closing.signal, deadline.signal]);
    try {
      const token = await withSignal(this.#o.fetch(signal, { refused: this.#refused }), signal);
      const lifetimeMs = token.expiresAt === undefined ? Number.POSITIVE_INFINITY : token.expiresAt - clock.now();
      // Without the pause that follows a failure, such a source would be asked at every call.
      if (lifetimeMs <= 0) {
        throw this.#failure(
          `${this.description} gave a token that has expired already; check the clock of this machine`,
        );
      }
      this.#refused = false;
      this.#held = { token, lifetimeMs, fetchedAt: clock.monotonic() };
      this.#failures = 0;
      this.#retryAt = 0;
      this.#lastFailure = undefined;
      this.#lastRefreshAt = clock.now();
      log.debug({ source: this.description, expiresAt: token.expiresAt }, 'token fetched');
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
    const longest = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (this.#failures - 1));
    // Half fixed, half random: daemons that failed together do not come back together.
    this.#retryAt = clock.monotonic() + longest * (0.5 + random() / 2);
    this.#lastFailure = { at: clock.now(), message: describeError(error), error };
    log.warn({ source: this.description, failures: this.#failures }, `no token: ${describeError(error)}`);
  }

  #failure(message: string): CodedError {
    return new CodedError({
      code: 'token-unavailable',
      message,
      retry: 'later',
      answer: { status: 503, reason: 'ServiceUnavailable' },
    });
  }
}

/** The margins before the end shrink with a short life, else a short-lived token would be replaced at every call. */
function margins({ lifetimeMs }: HeldToken): { refreshMs: number; expiringMs: number } {
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
