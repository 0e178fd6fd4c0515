import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.js';
import type { UpstreamAddress } from './address.js';
import type { Dialer } from './dial.js';
import type { Http1Client } from './http1-client.js';
import { Http2Exchange } from './http2-exchange.js';
import { Http2Session } from './http2-session.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

const CONNECT_DEADLINE_MS = 15_000;
/** A gateway that speaks HTTP/1.1 only is asked for HTTP/2 again after this long: it may have been a middlebox. */
const ASK_AGAIN_MS = 10 * 60_000;

/**
 * Requests that last, as streams of as few HTTP/2 connections as carry them. Where a gateway does not speak it, they go
 * over HTTP/1.1 as any other request.
 */
export class Http2Client {
  readonly #dialer: Dialer;
  readonly #http1: Http1Client;
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Http2Session[]>();
  /** Origins that speak HTTP/1.1 only, until when that is believed (monotonic ms). */
  readonly #withoutHttp2 = new Map<string, number>();
  #closed = false;

  constructor(options: { dialer: Dialer; http1: Http1Client; clock: Clock }) {
    this.#dialer = options.dialer;
    this.#http1 = options.http1;
    this.#clock = options.clock;
  }

  /** `request` has no body. */
  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall {
    const { origin, secure } = request.address;
    if (!secure || request.body !== null || this.#speaksHttp1Only(origin)) return this.#http1.send(request, sink);
    const exchange = new Http2Exchange({ request, sink, clock: this.#clock });
    this.#place(exchange);
    return exchange;
  }

  /** What is asked from now on goes over new connections; those that carry something end with it. */
  dropIdle(): void {
    for (const list of this.#sessions.values()) for (const session of [...list]) session.leave();
    this.#withoutHttp2.clear();
  }

  /** Ends every connection at once. */
  close(): void {
    this.#closed = true;
    for (const list of this.#sessions.values()) for (const session of [...list]) session.destroy();
  }

  #speaksHttp1Only(origin: string): boolean {
    const until = this.#withoutHttp2.get(origin);
    if (until === undefined) return false;
    if (this.#clock.monotonic() < until) return true;
    this.#withoutHttp2.delete(origin);
    return false;
  }

  #place(exchange: Http2Exchange): void {
    const { origin } = exchange.request.address;
    const list = this.#sessions.get(origin) ?? [];
    this.#sessions.set(origin, list);
    const session = list.find(({ hasRoom }) => hasRoom) ?? this.#open(exchange.request, list);
    session.carry(exchange);
  }

  #open({ address }: UpstreamRequest, list: Http2Session[]): Http2Session {
    const session = new Http2Session({
      origin: address.origin,
      clock: this.#clock,
      onLeave: () => {
        const at = list.indexOf(session);
        if (at !== -1) list.splice(at, 1);
      },
      onDisplaced: (exchange) => this.#place(exchange),
      onUnspoken: (exchanges) => this.#overHttp1(address.origin, exchanges),
    });
    list.push(session);
    const signal = AbortSignal.timeout(CONNECT_DEADLINE_MS);
    this.#dialer.dial({ ...address, protocols: ['h2', 'http/1.1'] }, signal).then(
      (socket) => this.#opened(session, { address, socket }),
      (error: unknown) => session.fail(error),
    );
    return session;
  }

  #opened(session: Http2Session, { address, socket }: { address: UpstreamAddress; socket: Socket }): void {
    if (this.#closed) {
      socket.destroy();
      session.fail(new Error('the daemon is stopping'));
    } else if (socket instanceof TLSSocket && socket.alpnProtocol === 'h2') {
      session.open(socket);
    } else {
      this.#http1.adopt(address, socket);
      this.#overHttp1(address.origin, session.abandon());
    }
  }

  #overHttp1(origin: string, exchanges: readonly Http2Exchange[]): void {
    this.#withoutHttp2.set(origin, this.#clock.monotonic() + ASK_AGAIN_MS);
    for (const exchange of exchanges) exchange.delegate((request, sink) => this.#http1.send(request, sink));
  }
}
