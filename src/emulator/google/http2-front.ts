import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as http2 from 'node:http2';
import type { Socket } from 'node:net';
import { BodyMeter } from './body-meter.js';
import type { Connections } from './connections.js';
import type { CutForm } from './faults.js';
import type { CuttableResponse } from './metered-response.js';

type Callback = (error: Error) => void;
/** Missing in the types of Node 20. */
type Flushing = { flushHeaders(): void };

/** Google's front ends allow as many streams on a connection. */
const STREAMS = 100;

/** HTTP/2 over connections that are given to it by `emit('connection', …)`; requests look as over HTTP/1.1. */
export function createHttp2Front(
  onRequest: (request: IncomingMessage, response: ServerResponse & CuttableResponse) => void,
): EventEmitter {
  const server = http2.createServer({
    Http2ServerResponse: Http2MeteredResponse,
    settings: { maxConcurrentStreams: STREAMS },
  });
  server.on('request', (request, response) => {
    asHttp1(request);
    // What is used of them is the same in both.
    onRequest(request as unknown as IncomingMessage, response as unknown as ServerResponse & CuttableResponse);
  });
  server.on('sessionError', () => {});
  return server;
}

/** A response in a stream of HTTP/2 whose body can be ended after an exact number of bytes. */
export class Http2MeteredResponse
  extends http2.Http2ServerResponse<http2.Http2ServerRequest>
  implements CuttableResponse
{
  readonly #meter = new BodyMeter();
  #onStatus: ((status: number) => void) | undefined;

  limitBody(bytes: number, onSpent: () => void): void {
    this.#meter.limit(bytes, onSpent);
  }

  onStatus(listener: (status: number) => void): void {
    this.#onStatus = listener;
  }

  cutBody(): void {
    this.#meter.cut();
  }

  /** Here a body that is short of its Content-Length can be ended in order, as a stream that is broken off. */
  endAsComplete(): boolean {
    this.#meter.cut();
    super.end();
    return true;
  }

  break(form: CutForm, connections: Connections): void {
    const { session } = this.stream;
    this.stream.on('error', () => {});
    const socket = session === undefined || session.destroyed ? undefined : (session.socket as Socket);
    if (form === 'rst-stream' || form === 'close-1011') this.stream.destroy(new Error('cut by a fault'));
    else if (form === 'goaway') session?.destroy(undefined, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else if (socket === undefined) this.stream.destroy();
    else if (form === 'reset') connections.resetBelow(socket);
    else connections.endTcpBelow(socket);
  }

  override writeHead(status: number, ...rest: unknown[]): this {
    if (status >= 200) this.#onStatus?.(status);
    const headers = rest.find((part) => typeof part === 'object');
    return super.writeHead(status, withoutConnectionHeaders(headers));
  }

  override write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    const done = typeof encoding === 'function' ? encoding : callback;
    if (this.#meter.isCut) return this.#drop(done);
    const bytes = Buffer.from(chunk as Uint8Array);
    const last = this.#meter.lastPart(bytes, { isEnd: false });
    if (last === undefined) return super.write(bytes, done);
    this.#spend(last, done);
    return false;
  }

  override end(chunk?: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): this {
    if (typeof chunk === 'function') return this.end(undefined, undefined, chunk as Callback);
    const done = typeof encoding === 'function' ? encoding : callback;
    if (this.#meter.isCut) {
      this.#drop(done);
      return this;
    }
    const bytes = chunk === undefined || chunk === null ? Buffer.alloc(0) : Buffer.from(chunk as Uint8Array);
    const last = this.#meter.lastPart(bytes, { isEnd: true });
    if (last === undefined) super.end(bytes, done as () => void);
    else this.#spend(last, done);
    return this;
  }

  #spend(part: Buffer, done: Callback | undefined): void {
    const spent = (): void => {
      (done as (() => void) | undefined)?.();
      this.#meter.spent();
    };
    if (part.length > 0) {
      super.write(part, spent);
      return;
    }
    (this as unknown as Flushing).flushHeaders();
    setImmediate(spent);
  }

  #drop(done: Callback | undefined): boolean {
    if (done !== undefined) queueMicrotask(done as () => void);
    return true;
  }
}

/** Its raw headers as a request of HTTP/1.1 has them. */
function asHttp1(request: http2.Http2ServerRequest): void {
  const { rawHeaders } = request;
  const kept = ['host', request.authority];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (!name.startsWith(':')) kept.push(name, rawHeaders[i + 1] as string);
  }
  // Its class has a getter alone, and the data path takes the credential out.
  Object.defineProperty(request, 'rawHeaders', { value: kept, writable: true });
}

function withoutConnectionHeaders(headers: unknown): http2.OutgoingHttpHeaders {
  const flat = Array.isArray(headers) ? (headers as unknown[]).flat() : Object.entries(headers ?? {}).flat();
  const kept: Record<string, string | string[]> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = String(flat[i]).toLowerCase();
    if (['connection', 'keep-alive', 'transfer-encoding'].includes(name)) continue;
    const value = flat[i + 1];
    const values = Array.isArray(value) ? value.map(String) : [String(value)];
    const before = kept[name];
    kept[name] =
      before === undefined ? (values.length === 1 ? (values[0] as string) : values) : [before, values].flat();
  }
  return kept;
}
