import { createHash } from 'node:crypto';
import { type FlatHeaders, HeaderNames, headerTokens, headerValue, withoutHeaders } from '../base/flat-headers.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

type Send = (request: UpstreamRequest, sink: ResponseSink) => UpstreamCall;

/** All bodies that are kept, and the largest of them. */
const CACHE_BYTES = 16 * 1024 * 1024;
const ENTRY_BYTES = 4 * 1024 * 1024;
/** A body that is larger is not kept from its beginning for others to join. */
const JOINABLE_BYTES = 8 * 1024 * 1024;

/**
 * Say who asks in which program, not what for: requests that differ in nothing else are the same. Every other header,
 * Authorization and Impersonate-* among them, sets requests apart.
 */
const NOT_TELLING_APART = new HeaderNames([
  'user-agent',
  'if-none-match',
  'kubectl-command',
  'kubectl-session',
  'x-request-id',
  'traceparent',
  'tracestate',
]);
const CONDITIONAL = new HeaderNames(['if-none-match']);
const OF_THE_BODY = new HeaderNames(['content-length', 'content-encoding', 'transfer-encoding', 'content-type']);

interface Entry {
  readonly etag: string;
  readonly headers: FlatHeaders;
  readonly statusText: string;
  readonly body: Buffer;
  /** The server says that what stands under this URL never changes. */
  readonly immutable: boolean;
}

/**
 * GETs whose answer is the same for all that ask in the same words as the same principal: those in flight at the same
 * time share one upstream request, and a body with an ETag is asked for again only if it has changed.
 */
export class SharedReads {
  readonly #send: Send;
  readonly #flights = new Map<string, Flight>();
  /** Used longest ago first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(options: { send: Send }) {
    this.#send = options.send;
  }

  /** False for what must go its own way. */
  static canShare({ method, body, headers }: UpstreamRequest): boolean {
    return method === 'GET' && body === null && headerValue(headers, 'range') === undefined;
  }

  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall {
    const key = keyOf(request);
    const reader = new Reader(sink, headerTokens(request.headers, 'if-none-match'));
    const entry = this.#entries.get(key);
    const flight = this.#flights.get(key);
    if (flight?.joinable) return flight.join(reader);
    if (entry?.immutable) {
      this.#touch(key, entry);
      return new Replay(entry, reader);
    }
    const started = new Flight({
      entry,
      onEntry: (fresh) => this.#keep(key, fresh),
      onStale: () => this.#drop(key),
      onOver: () => {
        if (this.#flights.get(key) === started) this.#flights.delete(key);
      },
    });
    this.#flights.set(key, started);
    const call = started.join(reader);
    const headers = withoutHeaders(request.headers, CONDITIONAL);
    if (entry !== undefined) {
      this.#touch(key, entry);
      headers.push('If-None-Match', entry.etag);
    }
    started.begin((own) => this.#send({ ...request, headers }, own));
    return call;
  }

  #keep(key: string, entry: Entry): void {
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.body.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= CACHE_BYTES) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.body.length;
  }

  #touch(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }
}

/** A digest, so that tokens are not kept longer than needed. */
function keyOf({ address, target, headers }: UpstreamRequest): string {
  const pairs: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!NOT_TELLING_APART.has(name)) pairs.push(`${name.toLowerCase()}: ${headers[i + 1]}`);
  }
  // A stable sort by name alone would keep repeats in order; by the whole line it merely tells more requests apart.
  const words = JSON.stringify([address.origin, target, pairs.sort()]);
  return createHash('sha256').update(words).digest('base64');
}

/** One client of a shared answer. */
class Reader {
  readonly sink: ResponseSink;
  readonly #known: readonly string[];
  /** Of the flight's chunks, how many it has had. */
  chunks = 0;
  paused = false;
  over = false;
  headSent = false;

  constructor(sink: ResponseSink, known: readonly string[]) {
    this.sink = sink;
    this.#known = known.map(opaque);
  }

  /** Tells the head; a client that has this very body already is told so instead, and has its end. */
  head(status: number, statusText: string, headers: FlatHeaders): void {
    if (this.over) return;
    this.headSent = true;
    const etag = headerValue(headers, 'etag');
    const has = etag !== undefined && (this.#known.includes(opaque(etag)) || this.#known.includes('*'));
    if (status !== 200 || !has) {
      this.sink.head(status, statusText, headers);
      return;
    }
    this.over = true;
    this.sink.head(304, 'Not Modified', withoutHeaders(headers, OF_THE_BODY));
    this.sink.end([]);
  }
}

/** RFC 9110 13.1.2: compared weakly. */
function opaque(etag: string): string {
  return etag.startsWith('W/') ? etag.slice(2) : etag;
}

interface FlightOptions {
  /** What is known from before. */
  readonly entry: Entry | undefined;
  readonly onEntry: (entry: Entry) => void;
  readonly onStale: () => void;
  /** Nobody can join any more. */
  readonly onOver: () => void;
}

/** One upstream request and all that wait for its answer. */
class Flight implements ResponseSink {
  readonly #o: FlightOptions;
  readonly #readers = new Set<Reader>();
  #call: UpstreamCall | undefined;
  #head: { status: number; statusText: string; headers: FlatHeaders } | undefined;
  /** From the first one on, while others may join; afterwards those that somebody has not had yet. */
  #chunks: Buffer[] = [];
  #dropped = 0;
  #bytes = 0;
  #end: FlatHeaders | undefined;
  #over = false;

  constructor(options: FlightOptions) {
    this.#o = options;
  }

  get joinable(): boolean {
    return !this.#over && this.#dropped === 0;
  }

  join(reader: Reader): UpstreamCall {
    this.#readers.add(reader);
    if (this.#head !== undefined) {
      const { status, statusText, headers } = this.#head;
      // Whoever joins expects no answer before it has its call.
      queueMicrotask(() => {
        reader.head(status, statusText, headers);
        this.#deliver(reader);
      });
    }
    return {
      resume: () => {
        if (!reader.paused) return;
        reader.paused = false;
        this.#deliver(reader);
        this.#flow();
      },
      abort: () => {
        reader.over = true;
        this.#leave(reader);
      },
      lose: () => {
        if (reader.over) return;
        reader.over = true;
        this.#leave(reader);
        reader.sink.failed(Object.assign(new Error('the connection is given up as dead'), { code: 'ECONNRESET' }));
      },
    };
  }

  begin(send: (sink: ResponseSink) => UpstreamCall): void {
    const call = send(this);
    if (this.#over) call.abort();
    else this.#call = call;
  }

  information(status: number, headers: FlatHeaders): void {
    for (const reader of this.#readers) if (!reader.over) reader.sink.information(status, headers);
  }

  head(status: number, statusText: string, headers: FlatHeaders): void {
    const { entry } = this.#o;
    if (status === 304 && entry !== undefined) {
      // What it says of itself now counts, what it says of a body that it does not send does not.
      const fresh = [
        ...entry.headers.filter((_, i) => OF_THE_BODY.has(entry.headers[i - (i % 2)] as string)),
        ...withoutHeaders(headers, OF_THE_BODY),
      ];
      if (headerValue(fresh, 'etag') === undefined) fresh.push('ETag', entry.etag);
      this.#head = { status: 200, statusText: entry.statusText, headers: fresh };
      this.#chunks.push(entry.body);
      this.#bytes = entry.body.length;
    } else {
      if (entry !== undefined) this.#o.onStale();
      this.#head = { status, statusText, headers };
    }
    const told = this.#head;
    for (const reader of [...this.#readers]) {
      reader.head(told.status, told.statusText, told.headers);
      if (reader.over) this.#readers.delete(reader);
    }
  }

  data(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (const reader of [...this.#readers]) this.#deliver(reader);
    return this.#mayFlow();
  }

  end(trailers: FlatHeaders): void {
    this.#end = trailers;
    this.#keep();
    this.#stop();
    for (const reader of [...this.#readers]) this.#deliver(reader);
  }

  failed(error: unknown): void {
    this.#stop();
    for (const reader of [...this.#readers]) {
      this.#readers.delete(reader);
      if (reader.over) continue;
      reader.over = true;
      reader.sink.failed(error);
    }
  }

  #stop(): void {
    this.#over = true;
    this.#o.onOver();
  }

  #leave(reader: Reader): void {
    this.#readers.delete(reader);
    if (this.#readers.size > 0) this.#flow();
    else if (!this.#over) {
      this.#stop();
      this.#call?.abort();
    }
  }

  #deliver(reader: Reader): void {
    while (!reader.over && !reader.paused && reader.headSent) {
      const chunk = this.#chunks[reader.chunks - this.#dropped];
      if (chunk !== undefined) {
        reader.chunks++;
        if (!reader.sink.data(chunk)) reader.paused = true;
        continue;
      }
      if (this.#end === undefined) break;
      reader.over = true;
      reader.sink.end(this.#end);
    }
    if (reader.over) this.#readers.delete(reader);
  }

  #flow(): void {
    if (!this.#over && this.#mayFlow()) this.#call?.resume();
  }

  /** A body of the usual size is taken in at the speed of the fastest; a huge one goes at that of the slowest. */
  #mayFlow(): boolean {
    if (this.#bytes <= JOINABLE_BYTES) return true;
    const slowest = Math.min(...[...this.#readers].map(({ chunks }) => chunks));
    const done = Math.min(this.#chunks.length, slowest - this.#dropped);
    this.#chunks.splice(0, done);
    this.#dropped += done;
    if (this.#dropped > 0) this.#o.onOver();
    return this.#chunks.length === 0;
  }

  #keep(): void {
    const head = this.#head;
    if (head === undefined || head.status !== 200 || this.#dropped > 0 || this.#bytes > ENTRY_BYTES) return;
    const { headers, statusText } = head;
    const etag = headerValue(headers, 'etag');
    const control = headerTokens(headers, 'cache-control').map((token) => token.toLowerCase());
    if (etag === undefined || control.includes('no-store')) return;
    this.#o.onEntry({
      etag,
      headers,
      statusText,
      body: Buffer.concat(this.#chunks),
      immutable: control.includes('immutable'),
    });
  }
}

/** An answer that needs nobody upstream. */
class Replay implements UpstreamCall {
  readonly #entry: Entry;
  readonly #reader: Reader;
  #bodySent = false;

  constructor(entry: Entry, reader: Reader) {
    this.#entry = entry;
    this.#reader = reader;
    queueMicrotask(() => {
      reader.head(200, entry.statusText, entry.headers);
      this.#deliver();
    });
  }

  resume(): void {
    this.#deliver();
  }

  abort(): void {
    this.#reader.over = true;
  }

  lose(): void {}

  #deliver(): void {
    const reader = this.#reader;
    if (reader.over) return;
    if (!this.#bodySent) {
      this.#bodySent = true;
      if (!reader.sink.data(this.#entry.body)) return;
    }
    reader.over = true;
    reader.sink.end([]);
  }
}
