import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import { ServerResponse } from 'node:http';

type Callback = (error?: Error | null) => void;

/** A response whose body can be ended after an exact number of bytes, whatever its writer still has to say. */
export class MeteredResponse extends ServerResponse<IncomingMessage> {
  #left = Number.POSITIVE_INFINITY;
  #onSpent: (() => void) | undefined;
  #cut = false;
  #hasLength = false;
  #onStatus: ((status: number) => void) | undefined;

  /** Calls `onSpent` once, when exactly `bytes` of the body are with the system and more would follow. */
  limitBody(bytes: number, onSpent: () => void): void {
    this.#left = bytes;
    this.#onSpent = onSpent;
  }

  onStatus(listener: (status: number) => void): void {
    this.#onStatus = listener;
  }

  /** From here on the writer's bytes are dropped. */
  cutBody(): void {
    this.#cut = true;
  }

  /** Ends a cut body as if it were complete; false when it cannot be told as complete. */
  endAsComplete(): boolean {
    if (this.#hasLength || this.hasHeader('content-length')) return false;
    this.#cut = true;
    super.end();
    return true;
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
    if (this.#cut) return this.#drop(done);
    if (bytes.length < this.#left) {
      this.#left -= bytes.length;
      return super.write(bytes, (error) => done?.(error));
    }
    this.#spend(bytes, done);
    return false;
  }

  override end(chunk?: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): this {
    if (typeof chunk === 'function') return this.end(undefined, undefined, chunk as Callback);
    const done = typeof encoding === 'function' ? encoding : callback;
    if (this.#cut) {
      this.#drop(done);
      return this;
    }
    const bytes = chunk === undefined || chunk === null ? undefined : toBytes(chunk, encoding);
    if (bytes !== undefined && bytes.length > this.#left) {
      this.#spend(bytes, done);
      return this;
    }
    const finished = (): void => done?.();
    return bytes === undefined ? super.end(finished) : super.end(bytes, finished);
  }

  #spend(bytes: Buffer, done: Callback | undefined): void {
    const part = bytes.subarray(0, this.#left);
    this.#cut = true;
    const spent = (): void => {
      done?.();
      this.#onSpent?.();
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
