import type { RemoteCommandClient } from './client.js';

/** Above this many unsent bytes the other side is paused. */
export const HIGH_WATER_BYTES = 1024 * 1024;

/** What a client sends while there is no upstream: kept in order, and the client is paused before it is much. */
export class HeldInput {
  readonly #client: RemoteCommandClient;
  #messages: Buffer[] = [];
  #bytes = 0;

  constructor(client: RemoteCommandClient) {
    this.#client = client;
  }

  hold(message: Buffer): void {
    this.#messages.push(message);
    this.#bytes += message.length;
    if (this.full) this.#client.pause();
  }

  get full(): boolean {
    return this.#bytes >= HIGH_WATER_BYTES;
  }

  /** All that is held, in order; nothing is held afterwards. */
  take(): Buffer[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    return messages;
  }
}
