import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.js';
import { callDeadline } from '../base/deadline.js';
import type { UpstreamAddress } from './address.js';
import type { Dialer } from './dial.js';
import { Exchange, Http1Connection } from './http1-connection.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

const CONNECT_DEADLINE_MS = 15_000;

/** A connection may turn out to be closed by the other side just then; these can be sent again without harm. */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Others use a connection only if it was used so lately that no server, whatever its limit, has given it up. */
const FRESH_MS = 3000;

/** As long as an origin is in use, a connection is there before it is asked for: its handshakes cost two round trips. */
const WARM_MS = 15 * 60_000;
/** A server that ends idle connections sooner than this is not dialled again and again. */
const WARM_PAUSE_MS = 30_000;

/** What is known of one origin. */
interface Pool {
  readonly address: UpstreamAddress;
  /** The one that was used last at the end: the others grow old and go. */
  readonly idle: Http1Connection[];
  /** First come, first served, by whatever connection is there first: a new one, or one whose answer is whole. */
  readonly waiting: Exchange[];
  /** Dials under way. */
  dialling: number;
  /** Monotonic ms of the last request. */
  usedAt: number;
  /** Monotonic ms of the last connection that was made before it was asked for. */
  warmedAt: number;
}

/**
 * Requests over kept-alive HTTP/1.1 connections, one at a time on each, as many connections as there are requests at the
 * same time: what a general client does for every case costs more than all the rest of a request here
 * (docs/decisions.md, the pooled HTTP/1.1 client).
 */
export class Http1Client {
  readonly #dialer: Dialer;
  readonly #clock: Clock;
  readonly #pools = new Map<string, Pool>();
  readonly #all = new Set<Http1Connection>();
  #closed = false;

  constructor(options: { dialer: Dialer; clock: Clock }) {
    this.#dialer = options.dialer;
    this.#clock = options.clock;
  }

  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall {
    const exchange = new Exchange(request, sink);
    const pool = this.#poolOf(request.address);
    pool.usedAt = this.#clock.monotonic();
    const idle = this.#takeIdle(pool, request.method);
    if (idle === undefined) this.#wait(pool, exchange);
    else idle.carry(exchange);
    return exchange;
  }

  /** Has a connection ready for the next request. */
  warm(address: UpstreamAddress): void {
    const pool = this.#poolOf(address);
    pool.usedAt = this.#clock.monotonic();
    this.#warm(pool);
  }

  /** A connection that was made for another purpose and can carry requests. */
  adopt(address: UpstreamAddress, socket: Socket): void {
    if (this.#closed) socket.destroy();
    else this.#connection(this.#poolOf(address), socket).rest();
  }

  /** Ends the connections that carry nothing: what is asked from now on goes over new ones. */
  dropIdle(): void {
    for (const { idle } of this.#pools.values()) for (const connection of idle.splice(0)) connection.destroy();
  }

  /** Ends every connection at once. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#all) connection.destroy();
  }

  #poolOf(address: UpstreamAddress): Pool {
    const known = this.#pools.get(address.origin);
    if (known !== undefined) return known;
    const never = Number.NEGATIVE_INFINITY;
    const pool: Pool = { address, idle: [], waiting: [], dialling: 0, usedAt: never, warmedAt: never };
    this.#pools.set(address.origin, pool);
    return pool;
  }

  #takeIdle({ idle }: Pool, method: string): Http1Connection | undefined {
    for (let connection = idle.at(-1); connection !== undefined; connection = idle.at(-1)) {
      if (connection.usable && connection.idleMs > FRESH_MS && !REPEATABLE.has(method)) return undefined;
      idle.pop();
      if (connection.usable) return connection;
      connection.destroy();
    }
    return undefined;
  }

  #wait(pool: Pool, exchange: Exchange): void {
    pool.waiting.push(exchange);
    const leave = (): boolean => {
      const at = pool.waiting.indexOf(exchange);
      if (at !== -1) pool.waiting.splice(at, 1);
      return at !== -1;
    };
    const leaving = new AbortController();
    exchange.carrier = {
      abort: () => {
        leave();
        leaving.abort(new Error('the client is gone'));
      },
      resume: () => {},
    };
    this.#dial(pool, leaving.signal).catch((error: unknown) => {
      if (leave()) exchange.fail(error);
      // It was carried by a connection that was dialled for another, which must not wait for one that does not come.
      else if (pool.waiting.length > pool.dialling) pool.waiting.pop()?.fail(error);
    });
  }

  /** Resolves once the connection carries something, or rests. */
  async #dial(pool: Pool, signal: AbortSignal): Promise<void> {
    pool.dialling++;
    // Not AbortSignal.timeout: Node 20 may collect one that only `any` refers to, which then never aborts.
    const deadline = callDeadline({ clock: this.#clock, ms: CONNECT_DEADLINE_MS, signal });
    try {
      let connection: Http1Connection | undefined;
      let spokeUnasked = false;
      const lend = (bytes: Buffer): void => {
        if (connection === undefined) spokeUnasked = true;
        else connection.read(bytes);
      };
      const socket = await this.#dialer.dial({ ...pool.address, lend }, deadline.signal);
      if (this.#closed) {
        socket.destroy();
        throw Object.assign(new Error('the daemon is stopping'), { code: 'ECONNRESET' });
      }
      if (spokeUnasked) {
        socket.destroy();
        throw Object.assign(new Error('the other side spoke before it was asked'), { code: 'ECONNRESET' });
      }
      connection = this.#connection(pool, socket);
      connection.rest();
    } finally {
      deadline.end();
      pool.dialling--;
    }
  }

  #connection(pool: Pool, socket: Socket): Http1Connection {
    const connection = new Http1Connection(socket, {
      clock: this.#clock,
      onIdle: () => this.#keep(pool, connection),
      onClose: () => this.#forget(pool, connection),
    });
    this.#all.add(connection);
    return connection;
  }

  #keep({ idle, waiting }: Pool, connection: Http1Connection): void {
    const next = waiting.shift();
    if (next === undefined) idle.push(connection);
    else connection.carry(next);
  }

  #forget(pool: Pool, connection: Http1Connection): void {
    this.#all.delete(connection);
    const at = pool.idle.indexOf(connection);
    if (at !== -1) pool.idle.splice(at, 1);
    this.#warm(pool);
  }

  #warm(pool: Pool): void {
    const now = this.#clock.monotonic();
    const unused = now - pool.usedAt > WARM_MS || now - pool.warmedAt < WARM_PAUSE_MS;
    if (this.#closed || unused || pool.idle.length > 0 || pool.dialling > 0) return;
    pool.warmedAt = now;
    // Who asks next finds out what is wrong.
    this.#dial(pool, new AbortController().signal).catch(() => {});
  }
}
