import { statSync } from 'node:fs';
import type { Clock } from '../base/clock.js';
import { systemCode } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { AccessToken, TokenSnapshot, TokenSource } from './token-source.js';

const LOOK_EVERY_MS = 1000;

/** What a source is made from, and the files that say so. */
export interface WatchedFiles {
  /** A change may mean another principal: no token from before is handed out any more. */
  readonly principal: readonly string[];
  /** A change after a failure may have mended it. */
  readonly login: readonly string[];
}

/**
 * A source that is made anew when the files that it was made from change: who switches the account, or logs in, is not
 * served the previous principal's token, nor the failure from before.
 */
export class WatchedTokenSource implements TokenSource {
  readonly #o: WatchedTokenSourceOptions;
  #inner: TokenSource;
  #principal: string;
  #login: string;
  #failedAt: number | undefined;
  #lookedAt: number;
  #closed = false;

  constructor(options: WatchedTokenSourceOptions) {
    this.#o = options;
    const { principal, login } = options.files();
    this.#principal = signature(principal);
    this.#login = signature(login);
    this.#lookedAt = options.clock.monotonic();
    this.#inner = options.create();
  }

  get description(): string {
    return this.#inner.description;
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
    return this.#inner.snapshot();
  }

  close(): void {
    this.#closed = true;
    this.#inner.close();
  }

  #lookAgain(): void {
    if (this.#o.clock.monotonic() - this.#lookedAt >= LOOK_EVERY_MS) this.#look();
  }

  #look(): void {
    const { files, clock, log, create } = this.#o;
    this.#lookedAt = clock.monotonic();
    if (this.#closed) return;
    const { principal, login } = files();
    const failedAt = this.#inner.snapshot().lastFailure?.at;
    const [nowPrincipal, nowLogin] = [signature(principal), signature(login)];
    const switched = nowPrincipal !== this.#principal;
    const mended = failedAt !== undefined && failedAt === this.#failedAt && nowLogin !== this.#login;
    // Tools write these files on their own account too: only what changed since the failure counts.
    if (failedAt === undefined || failedAt !== this.#failedAt || mended) this.#login = nowLogin;
    this.#failedAt = failedAt;
    if (!switched && !mended) return;
    this.#principal = nowPrincipal;
    const before = this.#inner.description;
    this.#inner = create();
    this.#failedAt = undefined;
    const now = this.#inner.description;
    if (before === now) log.info({ principal: now }, 'the credentials have changed: a new token is fetched');
    else log.warn({ before, now }, 'the principal has changed: tokens of the previous one are not used any more');
  }
}

export interface WatchedTokenSourceOptions {
  readonly create: () => TokenSource;
  /** Asked each time: which files count may change with them. */
  readonly files: () => WatchedFiles;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Differs when one of them was written, replaced, made or removed. */
function signature(paths: readonly string[]): string {
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
