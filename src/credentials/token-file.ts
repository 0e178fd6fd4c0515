import { readFileSync, statSync } from 'node:fs';
import { CodedError, systemCode } from '../base/errors.js';
import { shellQuoted } from '../base/shell-quoted.js';
import { credentialsError } from './credentials-error.js';
import type { Principal } from './principal.js';
import type { AccessToken, TokenFailure, TokenSnapshot, TokenSource } from './token-source.js';

/** Google's tokens are about 1 to 2 kB; ten times that is some other file. */
const MAX_TOKEN_BYTES = 16 * 1024;
/** A changed file is noticed within this time; looking at every request would cost a busy daemon 5 % of its time. */
const LOOK_EVERY_MS = 100;

/** An access token that somebody else keeps fresh in a file. It is read again when the file has changed. */
export class TokenFile implements TokenSource {
  readonly principal: Principal;
  readonly description: string;
  readonly origin = 'token-file';
  readonly renewal: string;
  readonly #path: string;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #seen: { readonly stamp: string; readonly token: AccessToken; readonly at: number } | undefined;
  #lastFailure: TokenFailure | undefined;
  readonly #now: () => number;

  constructor(options: { path: string; now: () => number; universe: string; quotaProject?: string }) {
    const { path, now, universe, quotaProject } = options;
    this.#path = path;
    this.#now = now;
    this.principal = {
      account: `token file ${path}`,
      chain: [],
      universe,
      ...(quotaProject === undefined ? {} : { quotaProject }),
    };
    this.description = this.principal.account;
    this.renewal = `put a fresh access token into the file, or run: gcloud auth print-access-token > ${shellQuoted(path)}`;
  }

  async get(signal?: AbortSignal): Promise<AccessToken> {
    signal?.throwIfAborted();
    try {
      const token = this.#read();
      this.#lastFailure = undefined;
      return token;
    } catch (error) {
      const failure = error instanceof CodedError ? error : this.#unreadable(error);
      this.#lastFailure = { at: this.#now(), code: failure.code, message: failure.message };
      throw failure;
    }
  }

  /** Google refused it: look into the file again even if its times say that it is the same. */
  invalidate(refused: AccessToken): void {
    if (this.#seen?.token.value === refused.value) this.#seen = undefined;
  }

  renew(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY;
  }

  snapshot(): TokenSnapshot {
    return {
      hasToken: this.#seen !== undefined,
      ...(this.#seen === undefined ? {} : { lastRefreshAt: this.#seen.at }),
      ...(this.#lastFailure === undefined ? {} : { lastFailure: this.#lastFailure }),
    };
  }

  close(): void {}

  #read(): AccessToken {
    const age = this.#now() - this.#lookedAt;
    if (this.#seen !== undefined && age >= 0 && age < LOOK_EVERY_MS) return this.#seen.token;
    this.#lookedAt = this.#now();
    const about = statSync(this.#path, { bigint: true });
    const { mtimeNs, size, ino } = about;
    const stamp = `${mtimeNs} ${size} ${ino}`;
    if (this.#seen?.stamp === stamp) return this.#seen.token;
    // Reading a pipe that nobody writes to would stop the whole daemon.
    if (!about.isFile()) throw this.#refuse('it is not a regular file');
    if (size > MAX_TOKEN_BYTES) throw this.#refuse(`it has ${size} bytes`);
    const value = readFileSync(this.#path, 'utf8').trim();
    if (value === '') {
      // Whoever fills it by `>` empties it first; should it stay so, Google refuses the old token in time.
      if (this.#seen !== undefined) return this.#seen.token;
      throw this.#refuse('it is empty');
    }
    // Anything else would break out of the header it is put into.
    if (!/^[\x21-\x7e]+$/.test(value)) throw this.#refuse('it holds spaces, line breaks or other characters');
    this.#seen = { stamp, token: { value }, at: this.#now() };
    return this.#seen.token;
  }

  #refuse(why: string): CodedError {
    return this.#failure(
      `the token file ${this.#path} cannot be used: ${why}; expected one access token and nothing else, as gcloud auth print-access-token prints it`,
    );
  }

  #unreadable(error: unknown): CodedError {
    const code = systemCode(error) ?? String(error);
    const why = code === 'ENOENT' ? 'it does not exist (ENOENT)' : code;
    return this.#failure(
      `cannot read the token file ${this.#path}: ${why}; expected one access token, as gcloud auth print-access-token prints it; check identities.*.tokenFile`,
      error,
    );
  }

  #failure(message: string, cause?: unknown): CodedError {
    return credentialsError('token-file-unusable', message, cause);
  }
}
