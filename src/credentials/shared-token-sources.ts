import type { Principal } from './principal.js';
import type { AccessToken, TokenOrigin, TokenSnapshot, TokenSource } from './token-source.js';

interface Entry {
  readonly source: TokenSource;
  leases: number;
}

/**
 * Sources that several identities begin with, such as one login for many chains: one refresh at a time for all of them,
 * and one process where a process is needed.
 */
export class SharedTokenSources {
  readonly #entries = new Map<string, Entry>();

  /** The source of this key, made when nobody has it. Closing the answer gives it back; the last one closes it. */
  lease(key: string, create: () => TokenSource): TokenSource {
    const entry = this.#entries.get(key) ?? { source: create(), leases: 0 };
    this.#entries.set(key, entry);
    entry.leases++;
    return new Lease(entry.source, () => {
      if (--entry.leases > 0) return;
      this.#entries.delete(key);
      entry.source.close();
    });
  }
}

class Lease implements TokenSource {
  readonly #source: TokenSource;
  readonly #giveBack: () => void;
  #closed = false;

  constructor(source: TokenSource, giveBack: () => void) {
    this.#source = source;
    this.#giveBack = giveBack;
  }

  get principal(): Principal {
    return this.#source.principal;
  }

  get description(): string {
    return this.#source.description;
  }

  get origin(): TokenOrigin {
    return this.#source.origin;
  }

  get renewal(): string {
    return this.#source.renewal;
  }

  get(signal?: AbortSignal): Promise<AccessToken> {
    return this.#source.get(signal);
  }

  invalidate(refused: AccessToken): void {
    this.#source.invalidate(refused);
  }

  renew(): void {
    this.#source.renew();
  }

  snapshot(): TokenSnapshot {
    return this.#source.snapshot();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#giveBack();
  }
}
