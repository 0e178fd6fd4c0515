/** A Google OAuth 2.0 access token. */
export interface AccessToken {
  readonly value: string;
  /** ms since the epoch; absent where the source does not say. */
  readonly expiresAt?: number;
}

/** One principal's tokens, always fresh, fetched once however many ask. */
export interface TokenSource {
  /** Who this is, as far as known without asking Google, e.g. `dev@example.com` or `token file /run/token`. */
  readonly description: string;
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
  readonly expiresAt?: number;
  readonly lastRefreshAt?: number;
  readonly lastFailure?: { readonly at: number; readonly message: string };
}
