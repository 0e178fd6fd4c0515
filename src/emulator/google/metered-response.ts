import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import { ServerResponse } from 'node:http';
import { BodyMeter } from './body-meter.js';
import type { Connections } from './connections.js';
import { type CutForm, RESETS } from './faults.js';

type Callback = (error?: Error | null) => void;

/** A response whose body can be ended after an exact number of bytes, whatever its writer still has to say. */
export interface CuttableResponse {
  /** Calls `onSpent` once, when exactly `bytes` of the body are with the system and more would follow. */
  limitBody(bytes: number, onSpent: () => void): void;
  onStatus(listener: (status: number) => void): void;
  /** From here on the writer's bytes are dropped. */
  cutBody(): void;
  /** Ends a cut body as if it were complete; false when it cannot be told as complete. */
  endAsComplete(): boolean;
  /** Breaks off the answer, and with it whatever shares its connection. */
  break(form: CutForm, connections: Connections): void;
}

export class MeteredResponse extends ServerResponse<IncomingMessage> implements CuttableResponse {
  readonly #meter = new BodyMeter();
  #hasLength = false;
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

  endAsComplete(): boolean {
    if (this.#hasLength || this.hasHeader('content-length')) return false;
    this.#meter.cut();
    super.end();
    return true;
  }

  break(form: CutForm, connections: Connections): void {
    const { socket } = this;
    if (socket === null) return;
    if (RESETS.has(form)) connections.reset(socket);
    else if (form === 'close-1006') connections.endTcp(socket);
    else socket.end();
  }

  override writeHead(
    status: number,
    reason?: string | OutgoingHttpHeaders | OutgoingHttpHeader[],
    headers?: OutgoingHttpHeaders | OutgoingHttpHeader[],
  ): this {
    if (status >= 200) this.#onStatus?.(status);
    this.#hasLength = [reason, headers].some(namesLength);
    return typeof reason === 'string'
      ? super.writeHead(status, reason, headers)
      : super.writeHead(status, reason ?? headers);
  }

  override write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    const done = typeof encoding === 'function' ? encoding : callback;
    const bytes = toBytes(chunk, encoding);
    if (this.#meter.isCut) return this.#drop(done);
    const last = this.#meter.lastPart(bytes, { isEnd: false });
    if (last === undefined) return super.write(bytes, (error) => done?.(error));
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
    const bytes = chunk === undefined || chunk === null ? undefined : toBytes(chunk, encoding);
    const last = bytes === undefined ? undefined : this.#meter.lastPart(bytes, { isEnd: true });
    if (last !== undefined) {
      this.#spend(last, done);
      return this;
    }
    const finished = (): void => done?.();
    return bytes === undefined ? super.end(finished) : super.end(bytes, finished);
  }

  #spend(part: Buffer, done: Callback | undefined): void {
    const spent = (): void => {
      done?.();
      this.#meter.spent();
    };
    if (part.length > 0) {
      super.write(part, spent);
      return;
    }
    this.flushHeaders();
    setImmediate(spent);
  }

  #drop(done: Callback | undefined): boolean {
    if (done !== undefined) queueMicrotask(() => done());
    return true;
  }
}

/** Headers given to writeHead as a list never show in `hasHeader`. */
function namesLength(headers: unknown): boolean {
  if (typeof headers !== 'object' || headers === null) return false;
  const names = Array.isArray(headers) ? headers.flat() : Object.keys(headers);
  return names.some((name) => typeof name === 'string' && name.toLowerCase() === 'content-length');
}

function toBytes(chunk: unknown, encoding: BufferEncoding | Callback | undefined): Buffer {
  if (typeof chunk === 'string') return Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8');
  const view = chunk as Uint8Array;
  return Buffer.isBuffer(view) ? view : Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}
