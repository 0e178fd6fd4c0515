import * as http2 from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.js';
import { connectionLost, type Http2Exchange } from './http2-exchange.js';

/** What RFC 9113 (5.1.2) wants every server to allow, and Google's front ends allow; nobody is asked for more. */
const STREAMS = 100;
/**
 * What may be on its way to us on one stream. A slow client leaves that much in memory, and a listing at 120 ms RTT comes
 * with 8 MiB/s.
 */
const STREAM_WINDOW_BYTES = 1024 * 1024;
/** All streams together; Node gives it back as soon as bytes come, so that a slow client holds up no other. */
const SESSION_WINDOW_BYTES = 16 * 1024 * 1024;
/** As the pooled HTTP/1.1 connections. */
const IDLE_MS = 50_000;
/** As client-go asks API servers whether they are there. A host that is gone is found out sooner, by TCP's own probes. */
const PING_INTERVAL_MS = 30_000;
const PONG_DEADLINE_MS = 15_000;

export interface Http2SessionOptions {
  readonly origin: string;
  readonly clock: Clock;
  /** Takes no new requests from now on. */
  onLeave(): void;
  /** The gateway allows fewer streams than it was given: this one is to go elsewhere. */
  onDisplaced(exchange: Http2Exchange): void;
  /** What was agreed on as HTTP/2 was none: nothing has been answered. */
  onUnspoken(exchanges: readonly Http2Exchange[]): void;
}

/** One HTTP/2 connection, from before it is dialled to its end. */
export class Http2Session {
  readonly #o: Http2SessionOptions;
  readonly #exchanges = new Set<Http2Exchange>();
  #session: http2.ClientHttp2Session | undefined;
  #limit = STREAMS;
  #left = false;
  #spoken = false;
  #cancelIdle: () => void = () => {};
  #cancelPing: () => void = () => {};

  constructor(options: Http2SessionOptions) {
    this.#o = options;
  }

  get hasRoom(): boolean {
    return !this.#left && this.#exchanges.size < this.#limit;
  }

  /** At once, or as soon as the connection is open. */
  carry(exchange: Http2Exchange): void {
    this.#cancelIdle();
    this.#exchanges.add(exchange);
    exchange.hooks = {
      onOver: () => this.#finished(exchange),
      onLost: () => this.destroy(),
      onTrouble: (error) => this.#trouble(exchange, error),
    };
    if (this.#session !== undefined) exchange.start(this.#session);
  }

  open(socket: TLSSocket): void {
    const session = http2.connect(this.#o.origin, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    });
    this.#session = session;
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    session.on('remoteSettings', ({ maxConcurrentStreams }) => this.#limitTo(maxConcurrentStreams ?? STREAMS));
    session.on('goaway', () => this.leave());
    session.on('error', (error) => this.#ended(error));
    session.on('close', () => this.#ended());
    this.#pingLater(session);
    for (const exchange of this.#exchanges) exchange.start(session);
    if (this.#exchanges.size > 0) return;
    if (this.#left) session.destroy();
    else this.#rest();
  }

  /** Those that wait for a connection that is of another kind: they are the caller's again. */
  abandon(): readonly Http2Exchange[] {
    this.leave();
    const exchanges = [...this.#exchanges];
    this.#exchanges.clear();
    return exchanges;
  }

  /** Takes nothing new; ends when what it carries has ended. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#cancelIdle();
    this.#o.onLeave();
    if (this.#exchanges.size === 0) this.#session?.close();
  }

  /** Ends at once; what it carries is told that the connection is lost. */
  destroy(): void {
    this.leave();
    this.#cancelPing();
    this.#session?.destroy();
    this.fail(connectionLost());
  }

  fail(error: unknown): void {
    this.leave();
    for (const exchange of [...this.#exchanges]) exchange.fail(error);
  }

  #trouble(exchange: Http2Exchange, error: Error | undefined): void {
    // Streams are told of the connection's end before the connection is.
    if (this.#session?.destroyed === true) this.#ended(error);
    exchange.fail(connectionLost(error));
  }

  /** An end before a first word says that the other side, or somebody on the way, does not speak HTTP/2 after all. */
  #ended(error?: Error): void {
    this.#cancelPing();
    if (!this.#spoken && !this.#left) this.#o.onUnspoken(this.abandon());
    else this.fail(connectionLost(error));
  }

  #limitTo(limit: number): void {
    this.#spoken = true;
    this.#limit = Math.min(limit, STREAMS);
    // What is over the limit waits until another stream ends, which a watch never does.
    for (const exchange of [...this.#exchanges].slice(Math.max(1, this.#limit))) {
      if (!exchange.unanswered) continue;
      this.#exchanges.delete(exchange);
      exchange.withdraw();
      this.#o.onDisplaced(exchange);
    }
  }

  #finished(exchange: Http2Exchange): void {
    if (!this.#exchanges.delete(exchange) || this.#exchanges.size > 0) return;
    if (this.#left) this.#session?.close();
    else this.#rest();
  }

  #pingLater(session: http2.ClientHttp2Session): void {
    this.#cancelPing = this.#o.clock.after(PING_INTERVAL_MS, () => {
      if (this.#exchanges.size === 0) {
        this.#pingLater(session);
        return;
      }
      this.#cancelPing = this.#o.clock.after(PONG_DEADLINE_MS, () => this.destroy());
      const sent = session.ping((error) => {
        this.#cancelPing();
        if (error === null) this.#pingLater(session);
      });
      if (!sent) this.#cancelPing();
    });
  }

  #rest(): void {
    this.#cancelIdle = this.#o.clock.after(IDLE_MS, () => this.leave());
  }
}
