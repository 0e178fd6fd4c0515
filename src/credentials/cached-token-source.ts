import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { AccessToken, TokenSnapshot, TokenSource } from './token-source.js';

/** Google's tokens live an hour; a new one is fetched in the background while the old one is still good. */
const REFRESH_BEFORE_MS = 5 * 60_000;
/** A token this close to its end could expire on its way. */
const UNUSABLE_BEFORE_MS = 30_000;
const FIRST_BACK_OFF_MS = 1000;
const LONGEST_BACK_OFF_MS = 60_000;
/** A source that never answers must not make every request wait for ever. */
const FETCH_DEADLINE_MS = 30_000;

/**
 * Tokens of `fetch`, fetched once however many ask, ahead of expiry in the background, and with a growing pause after
 * failures, during which callers without a valid token get the last failure at once. Times are compared with the wall
 * clock at every call, so that a sleep of the machine is noticed by the first request after it.
 */
export class CachedTokenSource implements TokenSource {
  readonly description: string;
  readonly #o: CachedTokenSourceOptions;
  readonly #closing = new AbortController();
  #current: AccessToken | undefined;
  #fetching: Promise<AccessToken> | undefined;
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
    const { clock } = this.#o;
    const current = this.#current;
    const left = current === undefined ? 0 : (current.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now();
    if (current !== undefined && left > UNUSABLE_BEFORE_MS) {
      if (left < REFRESH_BEFORE_MS && clock.monotonic() >= this.#retryAt) {
        // Whoever asks next finds its outcome; a failure has been noted and logged.
        this.#refresh().catch(() => {});
      }
      return current;
    }
    if (this.#fetching === undefined && this.#lastFailure !== undefined && clock.monotonic() < this.#retryAt) {
      throw this.#lastFailure.error;
    }
    return await withSignal(this.#refresh(), signal);
  }

  invalidate(refused: AccessToken): void {
    if (this.#current?.value === refused.value) this.#current = undefined;
  }

  snapshot(): TokenSnapshot {
    const failure = this.#lastFailure;
    const expiresAt = this.#current?.expiresAt;
    return {
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(this.#lastRefreshAt === undefined ? {} : { lastRefreshAt: this.#lastRefreshAt }),
      ...(failure === undefined ? {} : { lastFailure: { at: failure.at, message: failure.message } }),
    };
  }

  close(): void {
    this.#closing.abort(new Error('the daemon is stopping'));
  }

  #refresh(): Promise<AccessToken> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<AccessToken> {
    const { clock, log, random = Math.random } = this.#o;
    const deadline = new AbortController();
    const cancel = clock.after(FETCH_DEADLINE_MS, () => {
      deadline.abort(new Error(`${this.description} did not answer within ${FETCH_DEADLINE_MS / 1000} s`));
    });
    const signal = AbortSignal.any([this.#closing.signal, deadline.signal]);
    try {
      const token = await withSignal(this.#o.fetch(signal), signal);
      this.#current = token;
      this.#failures = 0;
      this.#retryAt = 0;
      this.#lastFailure = undefined;
      this.#lastRefreshAt = clock.now();
      log.debug({ source: this.description, expiresAt: token.expiresAt }, 'token fetched');
      return token;
    } catch (error) {
      this.#failures++;
      const longest = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (this.#failures - 1));
      // Half fixed, half random: daemons that failed together do not come back together.
      this.#retryAt = clock.monotonic() + longest * (0.5 + random() / 2);
      this.#lastFailure = { at: clock.now(), message: describeError(error), error };
      log.warn({ source: this.description, failures: this.#failures }, `no token: ${describeError(error)}`);
      throw error;
    } finally {
      cancel();
    }
  }
}

export interface CachedTokenSourceOptions {
  readonly description: string;
  readonly fetch: (signal: AbortSignal) => Promise<AccessToken>;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 to 1. */
  readonly random?: () => number;
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
