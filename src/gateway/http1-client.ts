import type { Socket } from 'node:net';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { Dialer } from './dial.js';
import { Http1Response, type Http1ResponseSink } from './http1-response.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

/** Below the 60 s and more that Google's front ends keep an idle connection, so that a reused one is rarely stale. */
const IDLE_CONNECTION_MS = 50_000;
const CONNECT_DEADLINE_MS = 15_000;

/**
 * Requests over kept-alive HTTP/1.1 connections, one at a time on each, as many connections as there are requests at the
 * same time: what a general client does for every case costs more than all the rest of a request here
 * (docs/decisions.md, the pooled HTTP/1.1 client).
 */
export class Http1Client {
  readonly #dialer: Dialer;
  /** By origin, the one that was used last at the end: the others grow old and go. */
  readonly #idle = new Map<string, Connection[]>();
  readonly #all = new Set<Connection>();
  #closed = false;

  constructor(options: { dialer: Dialer }) {
    this.#dialer = options.dialer;
  }

  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall {
    const exchange = new Exchange(request, sink);
    const idle = this.#takeIdle(request.address.origin);
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

  #takeIdle(origin: string): Connection | undefined {
    const list = this.#idle.get(origin);
    for (let connection = list?.pop(); connection !== undefined; connection = list?.pop()) {
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
          return;
        }
        this.#connection(address.origin, socket).carry(exchange);
      },
      (error: unknown) => exchange.fail(error),
    );
  }

  #connection(origin: string, socket: Socket): Connection {
    const connection = new Connection(socket, {
      onIdle: () => this.#keep(origin, connection),
      onClose: () => this.#forget(origin, connection),
    });
    this.#all.add(connection);
    return connection;
  }

  #keep(origin: string, connection: Connection): void {
    const list = this.#idle.get(origin);
    if (list === undefined) this.#idle.set(origin, [connection]);
    else list.push(connection);
  }

  #forget(origin: string, connection: Connection): void {
    this.#all.delete(connection);
    const list = this.#idle.get(origin);
    const at = list?.indexOf(connection) ?? -1;
    if (at !== -1) list?.splice(at, 1);
  }
}

/** One request and its answer. */
class Exchange implements UpstreamCall {
  readonly request: UpstreamRequest;
  readonly sink: ResponseSink;
  /** Where it is carried at present. */
  onAbort = (): void => {};
  onResume = (): void => {};
  over = false;

  constructor(request: UpstreamRequest, sink: ResponseSink) {
    this.request = request;
    this.sink = sink;
  }

  resume(): void {
    if (!this.over) this.onResume();
  }

  abort(): void {
    if (this.over) return;
    this.over = true;
    this.onAbort();
  }

  lose(): void {
    if (this.over) return;
    const drop = this.onAbort;
    this.fail(Object.assign(new Error('the connection is given up as dead'), { code: 'ECONNRESET' }));
    drop();
  }

  fail(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.sink.failed(error);
  }
}

class Connection implements Http1ResponseSink {
  readonly #socket: Socket;
  readonly #hooks: { onIdle: () => void; onClose: () => void };
  #exchange: Exchange | undefined;
  #response: Http1Response | undefined;
  #headTimer: NodeJS.Timeout | undefined;
  #bodySent = true;
  #error: unknown;

  constructor(socket: Socket, hooks: { onIdle: () => void; onClose: () => void }) {
    this.#socket = socket;
    this.#hooks = hooks;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('timeout', () => {
      if (this.#exchange === undefined) socket.destroy();
    });
    socket.on('close', () => this.#onClose());
  }

  get usable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable && !this.#socket.readableEnded;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  carry(exchange: Exchange): void {
    const { request } = exchange;
    this.#exchange = exchange;
    this.#response = new Http1Response({ method: request.method, sink: this });
    exchange.onAbort = () => this.#socket.destroy();
    exchange.onResume = () => this.#socket.resume();
    this.#socket.setTimeout(0);
    if (request.headersTimeoutMs > 0) {
      this.#headTimer = setTimeout(() => this.#headLate(), request.headersTimeoutMs).unref();
    }
    this.#sendRequest(request);
  }

  /** Waits for a request, for as long as such a connection is kept. */
  rest(): void {
    this.#socket.setTimeout(IDLE_CONNECTION_MS);
    this.#hooks.onIdle();
  }

  information(status: number, headers: FlatHeaders): void {
    this.#exchange?.sink.information(status, headers);
  }

  head(status: number, statusText: string, headers: FlatHeaders): void {
    clearTimeout(this.#headTimer);
    this.#exchange?.sink.head(status, statusText, headers);
  }

  body(chunk: Buffer): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && !exchange.over && !exchange.sink.data(chunk)) this.#socket.pause();
  }

  end(trailers: FlatHeaders, keepAlive: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#response = undefined;
    if (exchange === undefined || exchange.over) return;
    exchange.over = true;
    // A body that upstream did not want to read to its end cannot be taken back.
    if (keepAlive && this.#bodySent && this.usable) {
      this.#socket.resume();
      this.rest();
    } else {
      this.#socket.destroy();
    }
    exchange.sink.end(trailers);
  }

  #onData(chunk: Buffer): void {
    if (this.#response === undefined) {
      // Nobody has asked anything.
      this.#socket.destroy();
      return;
    }
    try {
      if (this.#response.push(chunk).length > 0) this.#socket.destroy();
    } catch (error) {
      this.#error = error;
      this.#socket.destroy();
    }
  }

  #onEnd(): void {
    this.#response?.close();
    this.#socket.destroy();
  }

  #onClose(): void {
    clearTimeout(this.#headTimer);
    this.#hooks.onClose();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.fail(
      this.#error ??
        Object.assign(new Error('the connection was closed before the answer was whole'), { code: 'ECONNRESET' }),
    );
  }

  #headLate(): void {
    this.#error = Object.assign(new Error('no answer came in time'), { code: 'ETIMEDOUT' });
    this.#socket.destroy();
  }

  #sendRequest(request: UpstreamRequest): void {
    const { method, target, address, headers, body } = request;
    if (/[^\x21-\x7e]/.test(target) || !/^[A-Z]+$/i.test(method)) {
      this.#error = new Error('the request line holds characters that HTTP does not allow');
      this.#socket.destroy();
      return;
    }
    let head = `${method} ${target} HTTP/1.1\r\nHost: ${address.host}\r\n`;
    let sized = false;
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] as string;
      sized ||= name.length === CONTENT_LENGTH.length && name.toLowerCase() === CONTENT_LENGTH;
      head += `${name}: ${headers[i + 1]}\r\n`;
    }
    if (body === null) {
      // Without it some servers wait for a body, or refuse the request (411).
      const wantsLength = !sized && (method === 'POST' || method === 'PUT' || method === 'PATCH');
      this.#socket.write(`${head}${wantsLength ? 'Content-Length: 0\r\n' : ''}\r\n`, 'latin1');
      return;
    }
    this.#socket.write(`${head}${sized ? '' : 'Transfer-Encoding: chunked\r\n'}\r\n`, 'latin1');
    this.#sendBody(body, sized);
  }

  #sendBody(body: NonNullable<UpstreamRequest['body']>, sized: boolean): void {
    const socket = this.#socket;
    this.#bodySent = false;
    const onDrain = (): void => void body.resume();
    const stop = (): void => {
      body.off('data', onData).off('end', onBodyEnd).off('close', onBodyClose);
      socket.off('drain', onDrain).off('close', stop);
    };
    const onData = (chunk: Buffer): void => {
      if (chunk.length === 0) return;
      if (!sized) socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
      const more = socket.write(chunk);
      if (!sized) socket.write('\r\n', 'latin1');
      if (!more) body.pause();
    };
    const onBodyEnd = (): void => {
      stop();
      if (!sized) socket.write('0\r\n\r\n', 'latin1');
      this.#bodySent = true;
    };
    // The client broke off in the middle: upstream must not take what came for the whole.
    const onBodyClose = (): void => {
      stop();
      socket.destroy();
    };
    body.on('data', onData).on('end', onBodyEnd).on('close', onBodyClose);
    socket.on('drain', onDrain).on('close', stop);
  }
}

const CONTENT_LENGTH = 'content-length';
