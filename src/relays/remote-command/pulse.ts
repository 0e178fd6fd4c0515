import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import type { Wakes } from '../../base/wake.js';
import type { RemoteCommandClient } from './client.js';

const PING_INTERVAL_MS = 10_000;
/** After a wake the peer has this long to say something. */
const DOUBTFUL_INTERVAL_MS = 5000;
/** A peer that has left this many pings unanswered, in a row, is gone: found out within 30 s. */
const UNANSWERED_LIMIT = 2;
/**
 * An API server hands input on before it reads the next message, a ping included: it does not answer while the command
 * does not read. That takes more bytes than the pipes on the way hold, of which a process's own has 64 KiB, a terminal's
 * 4 KiB and each hop's copy 32 KiB.
 */
const UNREAD_LIMIT_BYTES = 32 * 1024;
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
  /** Sent to this upstream, in bytes, and how much of that a pong says to have been handed on. */
  #sent = 0;
  #handedOn = 0;
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
    this.#sent = 0;
    this.#handedOn = 0;
    this.heard();
    upstream?.on('ping', () => this.heard());
    upstream?.on('pong', (said: Buffer) => {
      this.heard();
      if (this.#upstream !== upstream) return;
      // One that does not repeat what the ping said is taken to answer the last.
      const told = said.length === 0 ? this.#sent : Number(said.toString('latin1'));
      if (told > this.#handedOn) this.#handedOn = told;
    });
  }

  sent(bytes: number): void {
    this.#sent += bytes;
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
    // After a wake the connection is rather dead than waiting for a command.
    this.#handedOn = this.#sent;
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
    // It may be the command that is slow: TCP finds out whether somebody is there.
    if (this.#sent - this.#handedOn >= UNREAD_LIMIT_BYTES) this.heard();
    if (this.#asked && !late && ++this.#unanswered >= UNANSWERED_LIMIT) upstream.terminate();
    else this.#ask(upstream);
  }

  #ask(upstream: WebSocket): void {
    if (upstream.readyState !== WebSocket.OPEN) return;
    this.#asked = true;
    upstream.ping(String(this.#sent));
  }
}
