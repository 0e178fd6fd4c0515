import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import type { RemoteCommandClient } from './client.js';

const PING_INTERVAL_MS = 10_000;
/** A peer that has said nothing for this long is gone: three pings unanswered. */
const SILENCE_LIMIT_MS = 30_000;

/** Finds out that the gateway's side is dead, and keeps a client that is held back from thinking so of this side. */
export class Pulse {
  readonly #clock: Clock;
  readonly #client: RemoteCommandClient;
  #upstream: WebSocket | undefined;
  #heardAt = 0;
  #cancel: () => void = () => {};

  constructor(options: { clock: Clock; client: RemoteCommandClient }) {
    this.#clock = options.clock;
    this.#client = options.client;
    this.#schedule();
  }

  /** The upstream to look after from now on, or none during a gap. */
  follow(upstream: WebSocket | undefined): void {
    this.#upstream = upstream;
    this.heard();
    upstream?.on('ping', () => this.heard());
    upstream?.on('pong', () => this.heard());
  }

  heard(): void {
    this.#heardAt = this.#clock.monotonic();
  }

  stop(): void {
    this.#cancel();
    this.#upstream = undefined;
  }

  #schedule(): void {
    this.#cancel = this.#clock.after(PING_INTERVAL_MS, () => {
      this.#schedule();
      // Its pings are not read while it is paused.
      this.#client.keepAlive();
      const upstream = this.#upstream;
      if (upstream === undefined) return;
      // A paused upstream cannot be heard; it is the client that is slow.
      if (upstream.isPaused) this.heard();
      if (this.#clock.monotonic() - this.#heardAt >= SILENCE_LIMIT_MS) upstream.terminate();
      else if (upstream.readyState === WebSocket.OPEN) upstream.ping();
    });
  }
}
