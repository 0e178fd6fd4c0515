import type { Principal } from './principal.js';

/** A Google OAuth 2.0 access token. */
export interface AccessToken {
  readonly value: string;
  /** ms since the epoch, by this machine's clock; absent where the source does not say. */
  readonly expiresAt?: number;
  /** Whose it is, where the issuer has told more than the configuration does. */
  readonly account?: string;
}

/** Where tokens begin, behind any chain. */
export type TokenOrigin = 'adc' | 'gcloud' | 'key-file' | 'metadata-server' | 'token-file';

/** One principal's tokens, always fresh, fetched once however many ask. */
export interface TokenSource {
  /** Who this is, as far as known without asking Google. May change with the files that it is made from. */
  readonly principal: Principal;
  /** The same for people, with what the issuer of the tokens has told: `dev@example.com`, `b@p (through dev@example.com)`. */
  readonly description: string;
  readonly origin: TokenOrigin;
  /** What a person does where Google refuses the tokens, ending in a command: `run: gcloud auth login`. */
  readonly renewal: string;
  /** A valid token; waits only where none is at hand. Rejects with a CodedError that says what to type. */
  get(signal?: AbortSignal): Promise<AccessToken>;
  /** Upstream answered 401 to this token: the next `get` fetches a new one, unless that has happened already. */
  invalidate(refused: AccessToken): void;
  /**
   * The machine has slept, or is in another network: what failed before says nothing any more, and a token of doubtful
   * age is replaced in the background.
   */
  renew(): void;
  /** For display: the newest token's expiry and the last failure. */
  snapshot(): TokenSnapshot;
  close(): void;
}

export interface TokenSnapshot {
  /** Who begins, as the issuer of the tokens has told it. */
  readonly account?: string;
  /** A token is held that is good as far as known; it may have no expiry. */
  readonly hasToken: boolean;
  readonly expiresAt?: number;
  readonly lastRefreshAt?: number;
  readonly lastFailure?: TokenFailure;
}

export interface TokenFailure {
  /** ms since the epoch. */
  readonly at: number;
  /** Of the CodedError. */
  readonly code: string;
  readonly message: string;
}

/** How a kind of credentials gets its tokens; `createCachedTokenSource` makes a source of it. */
export interface Credentials {
  readonly principal: Principal;
  readonly origin: TokenOrigin;
  readonly renewal: string;
  /** `refused`: Google has refused the last token, so that a copy of it from a cache will not do. */
  readonly fetch: (signal: AbortSignal, why: { readonly refused: boolean }) => Promise<AccessToken>;
}
