import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../base/clock.js';
import type { Dialer } from './dial.js';
import { Exchange, Http1Connection } from './http1-connection.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

const CONNECT_DEADLINE_MS = 15_000;

/** A connection may turn out to be closed by the other side just then; these can be sent again without harm. */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Others use a connection only if it was used so lately that no server, whatever its limit, has given it up. */
const FRESH_MS = 3000;

/**
 * Requests over kept-alive HTTP/1.1 connections, one at a time on each, as many connections as there are requests at the
 * same time: what a general client does for every case costs more than all the rest of a request here
 * (docs/decisions.md, the pooled HTTP/1.1 client).
 */
export class Http1Client {
  readonly #dialer: Dialer;
  readonly #clock: Clock;
  /** By origin, the one that was used last at the end: the others grow old and go. */
  readonly #idle = new Map<string, Http1Connection[]>();
  readonly #all = new Set<Http1Connection>();
  #closed = false;

  constructor(options: { dialer: Dialer; clock?: Clock }) {
    this.#dialer = options.dialer;
    this.#clock = options.clock ?? systemClock;
  }

  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall {
    const exchange = new Exchange(request, sink);
    const idle = this.#takeIdle(request);
    if (idle === undefined) this.#dial(exchange);
    else idle.carry(exchange);
    return exchange;
  }

  /** A connection that was made for another purpose and can carry requests. */
  adopt(origin: string, socket: Socket): void {
    if (this.#closed) socket.destroy();
    else this.#connection(origin, socket).rest();
  }

  /** Ends the connections that carry nothing: what is asked from now on goes over new ones. */
  dropIdle(): void {
    for (const list of this.#idle.values()) for (const connection of list.splice(0)) connection.destroy();
  }

  /** Ends every connection at once. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#all) connection.destroy();
  }

  #takeIdle({ address, method }: UpstreamRequest): Http1Connection | undefined {
    const list = this.#idle.get(address.origin);
    for (let connection = list?.at(-1); connection !== undefined; connection = list?.at(-1)) {
      if (connection.usable && connection.idleMs > FRESH_MS && !REPEATABLE.has(method)) return undefined;
      list?.pop();
      if (connection.usable) return connection;
      connection.destroy();
    }
    return undefined;
  }

  #dial(exchange: Exchange): void {
    const { address } = exchange.request;
    const leaving = new AbortController();
    exchange.onAbort = () => leaving.abort(new Error('the client is gone'));
    const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(CONNECT_DEADLINE_MS)]);
    this.#dialer.dial(address, signal).then(
      (socket) => {
        if (exchange.over || this.#closed) {
          socket.destroy();
          exchange.fail(Object.assign(new Error('the daemon is stopping'), { code: 'ECONNRESET' }));
          return;
        }
        this.#connection(address.origin, socket).carry(exchange);
      },
      (error: unknown) => exchange.fail(error),
    );
  }

  #connection(origin: string, socket: Socket): Http1Connection {
    const connection = new Http1Connection(socket, {
      clock: this.#clock,
      onIdle: () => this.#keep(origin, connection),
      onClose: () => this.#forget(origin, connection),
    });
    this.#all.add(connection);
    return connection;
  }

  #keep(origin: string, connection: Http1Connection): void {
    const list = this.#idle.get(origin);
    if (list === undefined) this.#idle.set(origin, [connection]);
    else list.push(connection);
  }

  #forget(origin: string, connection: Http1Connection): void {
    this.#all.delete(connection);
    const list = this.#idle.get(origin);
    const at = list?.indexOf(connection) ?? -1;
    if (at !== -1) list?.splice(at, 1);
  }
}
