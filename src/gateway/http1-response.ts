import type { FlatHeaders } from '../base/flat-headers.js';

/** What becomes of a response's bytes. `body` answers nothing: the caller pauses the source by itself. */
export interface Http1ResponseSink {
  information(status: number, headers: FlatHeaders): void;
  head(status: number, statusText: string, headers: FlatHeaders): void;
  body(chunk: Buffer): void;
  /** `keepAlive`: the connection may carry another request. */
  end(trailers: FlatHeaders, keepAlive: boolean): void;
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' | 'until-close' | 'done';

/** As much as we let a gateway say in its head, and in a chunk's extensions or trailers. */
const MAX_HEAD_BYTES = 64 * 1024;

/**
 * Reads one HTTP/1.1 response from a connection: bytes in, parts out. Pure. Throws an Error with code
 * `HTTP1_MALFORMED` on what is no such response; nothing after that is to be trusted.
 */
export class Http1Response {
  readonly #sink: Http1ResponseSink;
  readonly #noBody: boolean;
  #state: State = 'head';
  /** A part of the head, a chunk's size or the trailers that is not whole yet. */
  #pending: Buffer = EMPTY;
  #left = 0;
  #keepAlive = true;
  #trailers: string[] = [];

  /** `method`: the answer to a HEAD has no body whatever its head says. */
  constructor(options: { method: string; sink: Http1ResponseSink }) {
    this.#sink = options.sink;
    this.#noBody = options.method === 'HEAD';
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /** Answers the bytes that follow the response, which on our connections are an error of the other side. */
  push(chunk: Buffer): Buffer {
    let rest = chunk;
    while (rest.length > 0 && this.#state !== 'done') rest = this.#step(rest);
    return rest;
  }

  /** The other side has ended the connection. Answers false where the response is not whole. */
  close(): boolean {
    if (this.#state === 'until-close') this.#finish();
    return this.#state === 'done';
  }

  #step(bytes: Buffer): Buffer {
    switch (this.#state) {
      case 'head':
        return this.#block(bytes, HEAD_END, (block) => this.#readHead(block));
      case 'length':
      case 'chunk':
        return this.#take(bytes);
      case 'until-close':
        this.#sink.body(bytes);
        return EMPTY;
      case 'chunk-size':
        return this.#block(bytes, LINE_END, (block) => this.#readChunkSize(block));
      case 'chunk-end':
        return this.#block(bytes, LINE_END, (block) => this.#readChunkEnd(block));
      case 'trailers':
        return this.#block(bytes, LINE_END, (block) => this.#readTrailer(block));
      case 'done':
        return bytes;
    }
  }

  /** Collects up to `end`, hands on what stands before it, and answers what follows. */
  #block(bytes: Buffer, end: Buffer, read: (block: Buffer) => void): Buffer {
    const before = this.#pending.length;
    const all = before === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const at = all.indexOf(end, Math.max(0, before - end.length));
    if (at > MAX_HEAD_BYTES || (at === -1 && all.length > MAX_HEAD_BYTES)) throw malformed('its head is too long');
    if (at === -1) {
      this.#pending = all;
      return EMPTY;
    }
    this.#pending = EMPTY;
    read(all.subarray(0, at));
    return all.subarray(at + end.length);
  }

  #take(bytes: Buffer): Buffer {
    const part = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#left -= part.length;
    this.#sink.body(part);
    if (this.#left === 0) {
      if (this.#state === 'chunk') this.#state = 'chunk-end';
      else this.#finish();
    }
    return bytes.subarray(part.length);
  }

  #readHead(block: Buffer): void {
    const [statusLine = '', ...lines] = block.toString('latin1').split('\r\n');
    const match = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/.exec(statusLine);
    if (match === null) throw malformed('its status line is none');
    const [, minor, code = '', statusText = ''] = match;
    const status = Number(code);
    const headers = readFields(lines);
    if (status < 200) {
      if (status === 101) throw malformed('it switches protocols unasked');
      this.#sink.information(status, headers);
      return;
    }
    const framing = framingOf(headers);
    this.#keepAlive = minor === '1' ? !framing.close : framing.keepAlive;
    this.#sink.head(status, statusText, headers);
    if (this.#noBody || status === 204 || status === 304) this.#finish();
    else if (framing.chunked) this.#state = 'chunk-size';
    else if (framing.length === undefined) {
      this.#keepAlive = false;
      this.#state = 'until-close';
    } else if (framing.length === 0) this.#finish();
    else {
      this.#left = framing.length;
      this.#state = 'length';
    }
  }

  #readChunkSize(block: Buffer): void {
    const match = /^([0-9a-fA-F]{1,12})[ \t]*(;.*)?$/.exec(block.toString('latin1'));
    if (match === null) throw malformed('a chunk has no size');
    this.#left = Number.parseInt(match[1] ?? '', 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk';
  }

  #readChunkEnd(block: Buffer): void {
    if (block.length > 0) throw malformed('a chunk is longer than its size');
    this.#state = 'chunk-size';
  }

  #readTrailer(block: Buffer): void {
    if (block.length === 0) {
      this.#finish();
      return;
    }
    this.#trailers.push(...readFields([block.toString('latin1')]));
    if (this.#trailers.length > MAX_TRAILERS) throw malformed('it has too many trailers');
  }

  #finish(): void {
    this.#state = 'done';
    this.#sink.end(this.#trailers, this.#keepAlive);
  }
}

const EMPTY = Buffer.alloc(0);
const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const MAX_TRAILERS = 200;

function readFields(lines: readonly string[]): string[] {
  const fields: string[] = [];
  for (const line of lines) {
    const colon = line.indexOf(':');
    // A name with a space, or a line that continues the one before: forms by which proxies were once tricked.
    if (colon < 1 || !NAME.test(line.slice(0, colon))) throw malformed('a header line is none');
    fields.push(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return fields;
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

interface Framing {
  chunked: boolean;
  length: number | undefined;
  close: boolean;
  keepAlive: boolean;
}

function framingOf(headers: FlatHeaders): Framing {
  const framing: Framing = { chunked: false, length: undefined, close: false, keepAlive: false };
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const value = headers[i + 1] as string;
    switch ((headers[i] as string).toLowerCase()) {
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked') throw malformed(`its transfer encoding is ${value}`);
        framing.chunked = true;
        break;
      case 'content-length': {
        const length = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
        if (length === undefined || (framing.length !== undefined && framing.length !== length)) {
          throw malformed('its content length is none');
        }
        framing.length = length;
        break;
      }
      case 'connection': {
        const tokens = value.toLowerCase();
        framing.close ||= /(^|[\s,])close($|[\s,])/.test(tokens);
        framing.keepAlive ||= /(^|[\s,])keep-alive($|[\s,])/.test(tokens);
        break;
      }
    }
  }
  // Chunked decides where both are given (RFC 9112 6.3), and such a connection is not used again.
  if (framing.chunked && framing.length !== undefined) framing.close = true;
  return framing;
}

function malformed(why: string): Error {
  return Object.assign(new Error(`the gateway's answer is no valid HTTP: ${why}`), { code: 'HTTP1_MALFORMED' });
}
