import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import type { Wakes } from '../../base/wake.js';
import type { RemoteCommandClient } from './client.js';

const PING_INTERVAL_MS = 10_000;
/** After a wake the peer has this long to say something. */
const DOUBTFUL_INTERVAL_MS = 5000;
/** A peer that has left this many pings unanswered, in a row, is gone: found out within 30 s. */
const UNANSWERED_LIMIT = 2;
/** A timer that is later than this says that this process was busy, or stopped: what the peer said may be unread. */
const LATE_MS = 2000;

/** Finds out that the gateway's side is dead, and keeps a client that is held back from thinking so of this side. */
export class Pulse {
  readonly #clock: Clock;
  readonly #client: Pick<RemoteCommandClient, 'keepAlive'>;
  readonly #stopListening: () => void;
  #upstream: WebSocket | undefined;
  #unanswered = 0;
  /** A ping is under way. */
  #asked = false;
  #openedAt = 0;
  #cancel: () => void = () => {};

  constructor(options: { clock: Clock; wakes: Wakes; client: Pick<RemoteCommandClient, 'keepAlive'> }) {
    this.#clock = options.clock;
    this.#client = options.client;
    this.#stopListening = options.wakes.onWake(({ doubtfulBefore }) => {
      if (this.#openedAt < doubtfulBefore) this.#doubt();
    });
    this.#schedule(PING_INTERVAL_MS);
  }

  /** The upstream to look after from now on, or none during a gap. */
  follow(upstream: WebSocket | undefined): void {
    this.#upstream = upstream;
    this.#openedAt = this.#clock.monotonic();
    this.heard();
    upstream?.on('ping', () => this.heard());
    upstream?.on('pong', () => this.heard());
  }

  heard(): void {
    this.#asked = false;
    this.#unanswered = 0;
  }

  stop(): void {
    this.#cancel();
    this.#stopListening();
    this.#upstream = undefined;
  }

  /** It may be dead already: the next silence decides. */
  #doubt(): void {
    if (this.#upstream === undefined || this.#upstream.isPaused) return;
    this.#cancel();
    this.#unanswered = UNANSWERED_LIMIT - 1;
    this.#ask(this.#upstream);
    this.#schedule(DOUBTFUL_INTERVAL_MS);
  }

  #schedule(ms: number): void {
    const due = this.#clock.monotonic() + ms;
    this.#cancel = this.#clock.after(ms, () => {
      this.#schedule(PING_INTERVAL_MS);
      // Its pings are not read while it is paused.
      this.#client.keepAlive();
      this.#look(this.#clock.monotonic() - due > LATE_MS);
    });
  }

  #look(late: boolean): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    // A paused upstream cannot be heard; it is the client that is slow.
    if (upstream.isPaused) this.heard();
    if (this.#asked && !late && ++this.#unanswered >= UNANSWERED_LIMIT) upstream.terminate();
    else this.#ask(upstream);
  }

  #ask(upstream: WebSocket): void {
    if (upstream.readyState !== WebSocket.OPEN) return;
    this.#asked = true;
    upstream.ping();
  }
}
