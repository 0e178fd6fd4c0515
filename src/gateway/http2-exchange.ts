import { STATUS_CODES } from 'node:http';
import * as http2 from 'node:http2';
import type { Clock } from '../base/clock.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

interface ExchangeHooks {
  /** The exchange needs its connection no more. */
  onOver(): void;
  /** Its connection is to be given up as dead. */
  onLost(): void;
  /** Its stream has ended before the answer was whole. */
  onTrouble(error: Error | undefined): void;
}

/** One request without a body and its answer: a stream of whichever HTTP/2 connection carries it. */
export class Http2Exchange implements UpstreamCall {
  readonly request: UpstreamRequest;
  readonly #sink: ResponseSink;
  readonly #clock: Clock;
  #stream: http2.ClientHttp2Stream | undefined;
  /** Where it has gone instead. */
  #delegate: UpstreamCall | undefined;
  #cancelTimer: () => void = () => {};
  #answered = false;
  #over = false;
  /** Of the connection that carries it, or waits to. */
  hooks: ExchangeHooks | undefined;

  constructor(options: { request: UpstreamRequest; sink: ResponseSink; clock: Clock }) {
    this.request = options.request;
    this.#sink = options.sink;
    this.#clock = options.clock;
  }

  /** Nothing has come of it yet, so that it may be asked again. */
  get unanswered(): boolean {
    return !this.#answered;
  }

  start(session: http2.ClientHttp2Session): void {
    if (this.#over) return;
    const { headersTimeoutMs } = this.request;
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.request(fieldsOf(this.request), { endStream: true });
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#stream = stream;
    if (headersTimeoutMs > 0) this.#cancelTimer = this.#clock.after(headersTimeoutMs, () => this.#late());
    this.#listen(stream);
  }

  /** Takes it back from its connection, so that another may start it. */
  withdraw(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#cancelTimer();
    stream?.close(NGHTTP2_CANCEL);
  }

  /** Lets another client carry it. */
  delegate(send: (request: UpstreamRequest, sink: ResponseSink) => UpstreamCall): void {
    if (this.#over) return;
    this.withdraw();
    this.#over = true;
    this.#delegate = send(this.request, this.#sink);
  }

  resume(): void {
    if (this.#delegate !== undefined) this.#delegate.resume();
    else this.#stream?.resume();
  }

  abort(): void {
    this.#delegate?.abort();
    if (this.#finish()) this.#stream?.close(NGHTTP2_CANCEL);
  }

  lose(): void {
    if (this.#delegate !== undefined) this.#delegate.lose();
    else if (!this.#over) this.hooks?.onLost();
  }

  fail(error: unknown): void {
    if (!this.#finish()) return;
    this.#stream?.close(NGHTTP2_CANCEL);
    this.#sink.failed(error);
  }

  #listen(stream: http2.ClientHttp2Stream): void {
    // The answer's fields as they came; documented from Node 24 on, and told by every version before.
    const raw = (told: readonly unknown[]): FlatHeaders => withoutPseudo(told[2] as FlatHeaders);
    const trailers: FlatHeaders[] = [];
    const mine = (): boolean => !this.#over && this.#stream === stream;
    let ended = false;
    stream.on('headers', (fields: http2.IncomingHttpHeaders, ...told: unknown[]) => {
      if (mine()) this.#sink.information(Number(fields[':status']), raw([fields, ...told]));
    });
    stream.on('response', (fields: http2.IncomingHttpHeaders, ...told: unknown[]) => {
      if (!mine()) return;
      this.#answered = true;
      this.#cancelTimer();
      const status = Number(fields[':status']);
      // HTTP/2 has no words for it, and some clients of HTTP/1.1 want some.
      this.#sink.head(status, STATUS_CODES[status] ?? '', raw([fields, ...told]));
      // Not before: of what comes in one read Node tells the data first, and the head in the next tick.
      stream.on('data', (chunk: Buffer) => {
        if (mine() && !this.#sink.data(chunk)) stream.pause();
      });
    });
    stream.on('trailers', (fields: http2.IncomingHttpHeaders, ...told: unknown[]) => {
      trailers.push(raw([fields, ...told]));
    });
    stream.on('end', () => {
      ended = true;
    });
    stream.on('error', (error) => {
      if (mine()) this.hooks?.onTrouble(error);
    });
    stream.on('close', () => {
      if (!mine()) return;
      // A reset ends the readable side as well; trailers may come after its end.
      if (!this.#answered || !ended || stream.aborted || stream.rstCode !== NGHTTP2_NO_ERROR)
        this.hooks?.onTrouble(undefined);
      else if (this.#finish()) this.#sink.end(trailers.flat());
    });
  }

  #late(): void {
    this.fail(Object.assign(new Error('no answer came in time'), { code: 'ETIMEDOUT' }));
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#cancelTimer();
    this.hooks?.onOver();
    return true;
  }
}

/** To the caller every loss is one: of the connection, or of the stream alone. */
export function connectionLost(cause?: Error): Error {
  const message = 'the connection was closed before the answer was whole';
  return Object.assign(new Error(message, cause === undefined ? {} : { cause }), { code: 'ECONNRESET' });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for; a tab may stand in a value.
const CONTROL_CHARACTER = /[\x00-\x08\x0a-\x1f\x7f]/;

/** Repeated headers stay repeated. */
function fieldsOf({ method, target, address, headers }: UpstreamRequest): http2.OutgoingHttpHeaders {
  const fields: Record<string, string | string[]> = {
    ':method': method,
    ':path': target,
    ':authority': address.host,
    ':scheme': 'https',
  };
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = headers[i + 1] as string;
    // Node leaves this to the other side.
    if (CONTROL_CHARACTER.test(value)) throw new Error(`the value of the header ${name} holds a control character`);
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else fields[name] = [before, value];
  }
  return fields;
}

function withoutPseudo(raw: FlatHeaders): string[] {
  const fields: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!(raw[i] as string).startsWith(':')) fields.push(raw[i] as string, raw[i + 1] as string);
  }
  return fields;
}
