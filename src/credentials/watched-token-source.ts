import { statSync } from 'node:fs';
import type { Clock } from '../base/clock.js';
import { systemCode } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { describePrincipal, type Principal } from './principal.js';
import type { AccessToken, TokenOrigin, TokenSnapshot, TokenSource } from './token-source.js';

const LOOK_EVERY_MS = 1000;

/** What a source is made from, as texts that differ when it does. */
export interface Signs {
  /** A change may mean another principal: no token from before is handed out any more. */
  readonly principal: string;
  /** A change after a failure may have mended it. */
  readonly login: string;
}

/**
 * A source that is made anew when what it was made from changes: who switches the account, or logs in, is not served
 * the previous principal's token, nor the failure from before.
 */
export class WatchedTokenSource implements TokenSource {
  readonly #o: WatchedTokenSourceOptions;
  #inner: TokenSource;
  #signs: Signs;
  #failedAt: number | undefined;
  #lookedAt: number;
  #closed = false;

  constructor(options: WatchedTokenSourceOptions) {
    this.#o = options;
    this.#signs = options.signs();
    this.#lookedAt = options.clock.monotonic();
    this.#inner = options.create();
  }

  get principal(): Principal {
    this.#lookAgain();
    return this.#inner.principal;
  }

  get description(): string {
    this.#lookAgain();
    return this.#inner.description;
  }

  get origin(): TokenOrigin {
    this.#lookAgain();
    return this.#inner.origin;
  }

  get renewal(): string {
    return this.#inner.renewal;
  }

  async get(signal?: AbortSignal): Promise<AccessToken> {
    for (;;) {
      this.#lookAgain();
      const inner = this.#inner;
      try {
        const token = await inner.get(signal);
        // Somebody may have switched while it was fetched.
        this.#lookAgain();
        if (inner === this.#inner) return token;
      } catch (error) {
        if (inner === this.#inner) this.#noteFailure();
        if (inner === this.#inner || signal?.aborted || this.#closed) throw error;
      }
    }
  }

  invalidate(refused: AccessToken): void {
    this.#inner.invalidate(refused);
  }

  renew(): void {
    this.#look();
    this.#inner.renew();
  }

  snapshot(): TokenSnapshot {
    this.#lookAgain();
    return this.#inner.snapshot();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inner.close();
    this.#o.onClose?.();
  }

  /**
   * Tools write the files of a login on their own account too: only what changes after a failure may have mended it.
   * Answers whether there is one that had not been noted.
   */
  #noteFailure(): boolean {
    const failedAt = this.#inner.snapshot().lastFailure?.at;
    if (failedAt === this.#failedAt) return false;
    this.#failedAt = failedAt;
    this.#signs = { ...this.#signs, login: this.#o.signs().login };
    return failedAt !== undefined;
  }

  #lookAgain(): void {
    if (this.#o.clock.monotonic() - this.#lookedAt >= LOOK_EVERY_MS) this.#look();
  }

  #look(): void {
    const { signs, clock, log, create } = this.#o;
    this.#lookedAt = clock.monotonic();
    if (this.#closed) return;
    const now = signs();
    const switched = now.principal !== this.#signs.principal;
    const mended = this.#failedAt !== undefined && now.login !== this.#signs.login && !this.#noteFailure();
    if (!switched && !mended) return;
    this.#signs = now;
    const before = this.#inner;
    this.#inner = create();
    this.#failedAt = undefined;
    // Whoever waits for a token of the previous principal asks the new one.
    before.close();
    tellOfSwitch(before, this.#inner, log);
  }
}

export interface WatchedTokenSourceOptions {
  readonly create: () => TokenSource;
  /** Asked each time: what counts may change with it. */
  readonly signs: () => Signs;
  readonly onClose?: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Differs when one of the files was written, replaced, made or removed. */
export function signOfFiles(paths: readonly string[]): string {
  return paths
    .map((path) => {
      try {
        const { ino, size, mtimeMs } = statSync(path);
        return `${path}:${ino}:${size}:${mtimeMs}`;
      } catch (error) {
        return `${path}:${systemCode(error)}`;
      }
    })
    .join('|');
}

function tellOfSwitch(was: TokenSource, is: TokenSource, log: Logger): void {
  const [before, now] = [was.description, is.description];
  const [configurationBefore, configurationNow] = [was.principal.configuration, is.principal.configuration];
  if (
    describePrincipal(was.principal) === describePrincipal(is.principal) &&
    configurationBefore === configurationNow
  ) {
    log.info({ principal: now }, 'the credentials have changed: a new token is fetched');
    return;
  }
  log.warn(
    { before, now, ...(configurationBefore === configurationNow ? {} : { configurationBefore, configurationNow }) },
    'the principal has changed: tokens of the previous one are not used any more',
  );
}
