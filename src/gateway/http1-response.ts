import { type FlatHeaders, HeaderNames } from '../base/flat-headers.js';

/** Whether and for how long the connection of a response may carry another request. */
export interface Reuse {
  readonly keepAlive: boolean;
  /** What the other side says in `Keep-Alive: timeout=N`. */
  readonly idleSeconds?: number;
}

/** What becomes of a response's bytes. `body` answers nothing: the caller pauses the source by itself. */
export interface Http1ResponseSink {
  /** 1xx but 101. */
  information(status: number, headers: FlatHeaders): void;
  head(status: number, statusText: string, headers: FlatHeaders): void;
  body(chunk: Buffer): void;
  end(trailers: FlatHeaders, reuse: Reuse): void;
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' | 'until-close' | 'done';

/** As much as we let a gateway say in its head, and in all its trailers. */
const MAX_HEAD_BYTES = 64 * 1024;
/** A chunk's size with its extensions, which nobody reads. */
const MAX_CHUNK_LINE_BYTES = 4 * 1024;
/** A server that says it is still at it does so every few seconds; Go's client gives up after five. */
const MAX_INFORMATIONAL = 100;

/**
 * Reads one HTTP/1.1 response from a connection: bytes in, parts out. Pure, and strict (RFC 9112): what two readers
 * could understand in two ways is refused. Throws an Error with code `HTTP1_MALFORMED` on what is no such response;
 * nothing after that is to be trusted.
 */
export class Http1Response {
  readonly #sink: Http1ResponseSink;
  readonly #noBody: boolean;
  #state: State = 'head';
  /** A part of the head, a chunk's size or the trailers that is not whole yet. */
  #pending: Buffer = EMPTY;
  #left = 0;
  #reuse: Reuse = { keepAlive: false };
  #informational = 0;
  readonly #trailers: string[] = [];
  #trailerBytes = 0;

  /** `method`: the answer to a HEAD has no body whatever its head says. */
  constructor(options: { method: string; sink: Http1ResponseSink }) {
    this.#sink = options.sink;
    this.#noBody = options.method === 'HEAD';
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /**
   * Keeps nothing of `chunk`. Answers the bytes that follow the response, which on our connections are an error of the other
   * side.
   */
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
        return this.#block(bytes, HEAD_END, MAX_HEAD_BYTES, (block) => this.#readHead(block));
      case 'length':
      case 'chunk':
        return this.#take(bytes);
      case 'until-close':
        this.#sink.body(bytes);
        return EMPTY;
      case 'chunk-size':
        return this.#block(bytes, LINE_END, MAX_CHUNK_LINE_BYTES, (block) => this.#readChunkSize(block));
      case 'chunk-end':
        return this.#block(bytes, LINE_END, 0, () => {
          this.#state = 'chunk-size';
        });
      case 'trailers':
        return this.#block(bytes, LINE_END, MAX_HEAD_BYTES, (block) => this.#readTrailer(block));
      case 'done':
        return bytes;
    }
  }

  /** Collects up to `end`, hands on the `limit` bytes at most that stand before it, and answers what follows. */
  #block(bytes: Buffer, end: Buffer, limit: number, read: (block: Buffer) => void): Buffer {
    const before = this.#pending.length;
    const all = before === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const at = all.indexOf(end, Math.max(0, before - end.length));
    if (at > limit || (at === -1 && all.length >= limit + end.length))
      throw malformed('a part of it is longer than it may be');
    if (at === -1) {
      // Without this a server that ends its lines otherwise would be waited for.
      for (let lf = all.indexOf(LF); lf !== -1; lf = all.indexOf(LF, lf + 1)) {
        if (all[lf - 1] !== CR) throw malformed('a line does not end as HTTP has it');
      }
      this.#pending = before === 0 ? Buffer.from(all) : all;
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
    const text = block.toString('latin1');
    const lineEnd = text.indexOf('\r\n');
    const match = STATUS_LINE.exec(lineEnd === -1 ? text : text.slice(0, lineEnd));
    if (match === null) throw malformed('its status line is none');
    const [, minor = '', code = '', statusText = ''] = match;
    const status = Number(code);
    const headers = lineEnd === -1 ? [] : readFields(text.slice(lineEnd + 2));
    if (status < 200) {
      if (status === 101) throw malformed('it switches protocols unasked');
      if (++this.#informational > MAX_INFORMATIONAL) throw malformed('it never comes to its point');
      this.#sink.information(status, headers);
      return;
    }
    const framing = framingOf(headers);
    const bodiless = this.#noBody || status === 204 || status === 304;
    const untilClose = !bodiless && !framing.chunked && framing.length === undefined;
    this.#reuse = reuseOf(framing, { minor, untilClose, status });
    this.#sink.head(status, statusText, headers);
    if (bodiless || framing.length === 0) this.#finish();
    else if (framing.chunked) this.#state = 'chunk-size';
    else if (framing.length === undefined) this.#state = 'until-close';
    else {
      this.#left = framing.length;
      this.#state = 'length';
    }
  }

  #readChunkSize(block: Buffer): void {
    const match = CHUNK_SIZE.exec(block.toString('latin1'));
    if (match === null) throw malformed('a chunk has no size');
    this.#left = Number.parseInt(match[1] ?? '', 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk';
  }

  #readTrailer(block: Buffer): void {
    if (block.length === 0) {
      this.#finish();
      return;
    }
    this.#trailerBytes += block.length;
    if (this.#trailerBytes > MAX_HEAD_BYTES) throw malformed('its trailers are too long');
    this.#trailers.push(...readFields(block.toString('latin1')));
  }

  #finish(): void {
    this.#state = 'done';
    this.#sink.end(this.#trailers, this.#reuse);
  }
}

const EMPTY = Buffer.alloc(0);
const CR = 0x0d;
const LF = 0x0a;
const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
/**
 * Lines of a name and a value. No space in a name, and no line that continues the one before: forms by which proxies were
 * once tricked. No control character in a value: a bare CR or LF is a line's end to some readers.
 */
const FIELDS =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*)*$/;
/** 2 ** 48 bytes are more than any body has; numbers are exact up to 2 ** 53. */
const CHUNK_SIZE = /^([0-9a-fA-F]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

/** Throws where a line is none. */
function readFields(text: string): string[] {
  if (!FIELDS.test(text)) throw malformed('a header line is none');
  const fields: string[] = [];
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf('\r\n', at);
    const end = found === -1 ? text.length : found;
    const colon = text.indexOf(':', at);
    fields.push(text.slice(at, colon), trimmed(text, colon + 1, end));
    at = end + 2;
  }
  return fields;
}

/** Of the white space that HTTP knows; `trim` takes bytes of the value that are none. */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const FRAMING = new HeaderNames(['transfer-encoding', 'content-length', 'connection', 'keep-alive']);

interface Framing {
  chunked: boolean;
  length: number | undefined;
  close: boolean;
  keepAlive: boolean;
  idleSeconds: number | undefined;
}

function framingOf(headers: FlatHeaders): Framing {
  const framing: Framing = {
    chunked: false,
    length: undefined,
    close: false,
    keepAlive: false,
    idleSeconds: undefined,
  };
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!FRAMING.has(name)) continue;
    const value = headers[i + 1] as string;
    switch (name.toLowerCase()) {
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked' || framing.chunked) throw malformed(`its transfer encoding is ${value}`);
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
      case 'keep-alive': {
        const seconds = /(?:^|[\s,])timeout=(\d{1,6})(?:$|[\s,])/i.exec(value)?.[1];
        if (seconds !== undefined) framing.idleSeconds = Number(seconds);
        break;
      }
    }
  }
  // Chunked decides where both are given (RFC 9112 6.3); what follows on such a connection is doubtful.
  if (framing.chunked && framing.length !== undefined) {
    framing.length = undefined;
    framing.close = true;
  }
  return framing;
}

function reuseOf(framing: Framing, head: { minor: string; untilClose: boolean; status: number }): Reuse {
  const { close, chunked, length, idleSeconds } = framing;
  const persistent = head.minor === '1' ? !close : framing.keepAlive && !close && !chunked;
  // A body that there may not be could come all the same, and be taken for the next answer.
  const contradicts = head.status === 204 && (chunked || (length ?? 0) > 0);
  const keepAlive = persistent && !head.untilClose && !contradicts;
  return idleSeconds === undefined ? { keepAlive } : { keepAlive, idleSeconds };
}

function malformed(why: string): Error {
  return Object.assign(new Error(`the gateway's answer is no valid HTTP: ${why}`), { code: 'HTTP1_MALFORMED' });
}
