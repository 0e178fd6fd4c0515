import { type ServerResponse, STATUS_CODES } from 'node:http';
import { atTurnEnd } from '../base/at-turn-end.js';
import { type FlatHeaders, HeaderNames, headerValue, withoutHeaders } from '../base/flat-headers.js';
import { passesUnread } from '../gateway/failure.js';
import type { ResponseSink } from '../gateway/upstream-call.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import type { Continuation } from './continuation.js';
import { answerRequest } from './failure-answer.js';
import { answerOfVerdict, FailureBody, judgeFailure } from './failure-body.js';
import type { GatheredBody } from './gathered-body.js';
import type { ServedMembership } from './served-membership.js';
import { responseHeaders, trailersToPass } from './upstream-headers.js';

export type AttemptEnd =
  /** Answered, aborted or destroyed: nothing is left to do. */
  | { readonly kind: 'ended' }
  /** A body that can be continued has ended; `clean` by its own framing. */
  | { readonly kind: 'cut'; readonly clean: boolean }
  | { readonly kind: 'token-refused' }
  /** Google's quota; `passOn` gives the client that answer. */
  | { readonly kind: 'over-quota'; readonly passOn: () => void }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface ResponseRelayOptions {
  readonly response: ServerResponse;
  /** The response's. */
  readonly body: GatheredBody;
  readonly id: string;
  readonly api: ApiRequest;
  readonly served: ServedMembership;
  readonly mayRefresh: () => boolean;
  readonly continuation: Continuation | undefined;
  readonly now: () => number;
  /** The answer's body is one that is continued after a cut. */
  readonly onContinued: () => void;
  readonly onRefused: () => void;
  readonly onBytes: (count: number) => void;
  /** The body broke off after its head had gone to the client. */
  readonly onBroken: () => void;
  readonly abort: () => void;
  readonly settle: (end: AttemptEnd) => void;
}

/** Writes one upstream answer to the client; holds a failure's body back until it has been judged. */
export class ResponseRelay implements ResponseSink {
  readonly #o: ResponseRelayOptions;
  /** Set once the body is one that can be continued. */
  #continuation: Continuation | undefined;
  #held: { status: number; statusText: string; headers: FlatHeaders; body: FailureBody } | undefined;
  #done = false;
  readonly #body: GatheredBody;

  constructor(options: ResponseRelayOptions) {
    this.#o = options;
    this.#body = options.body;
  }

  information(status: number, headers: FlatHeaders): void {
    const { response } = this.#o;
    // HTTP/1.0 knows none of them.
    if (this.#done || response.headersSent || response.req.httpVersion === '1.0') return;
    // Node's own way knows two of them, and throws at what it does not know in their headers.
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Information'}`];
    const kept = responseHeaders(headers);
    for (let i = 0; i + 1 < kept.length; i += 2) lines.push(`${kept[i]}: ${kept[i + 1]}`);
    response.socket?.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  }

  head(status: number, statusText: string, headers: FlatHeaders): void {
    if (this.#done) return;
    // A workload's own 401 says nothing about Google's token: it is held until it is known whose it is.
    if (status === 401 && this.#o.api.kind !== 'proxy' && this.#tokenRefused()) return;
    if (passesUnread(status)) this.#begin(status, statusText, headers);
    else this.#held = { status, statusText, headers, body: new FailureBody() };
  }

  /** Answers whether the request is made again, with another token. */
  #tokenRefused(): boolean {
    if (!this.#o.mayRefresh()) {
      this.#o.onRefused();
      return false;
    }
    this.#finish({ kind: 'token-refused' });
    this.#o.abort();
    return true;
  }

  data(chunk: Buffer): boolean {
    if (this.#done) return true;
    if (this.#continuation !== undefined) return this.#continue(this.#continuation, chunk);
    this.#o.onBytes(chunk.length);
    if (this.#held === undefined) return this.#o.response.write(chunk);
    if (this.#held.body.add(chunk)) this.#release();
    return true;
  }

  lend(chunk: Buffer): boolean {
    if (this.#done) return true;
    if (this.#continuation !== undefined) return this.#continue(this.#continuation, chunk);
    if (this.#held !== undefined) return this.data(Buffer.from(chunk));
    this.#o.onBytes(chunk.length);
    return this.#body.write([chunk]);
  }

  end(trailers: FlatHeaders): void {
    if (this.#done) return;
    if (this.#continuation !== undefined) {
      this.#body.flush();
      this.#finish({ kind: 'cut', clean: true });
      return;
    }
    if (this.#held !== undefined) this.#release();
    if (this.#done) return;
    this.#body.flush();
    const passed = trailersToPass(trailers);
    if (passed.length > 0) this.#o.response.addTrailers(pairs(passed));
    this.#o.response.end();
    this.#finish({ kind: 'ended' });
  }

  failed(error: unknown): void {
    if (this.#done) return;
    if (this.#continuation !== undefined) {
      this.#body.flush();
      this.#finish({ kind: 'cut', clean: false });
    } else if (this.#o.response.headersSent) {
      // An ending is never invented: the client must see that the body is not whole.
      this.#o.onBroken();
      this.#body.flush();
      this.#o.response.destroy();
      this.#finish({ kind: 'ended' });
    } else {
      this.#finish({ kind: 'failed', error });
    }
  }

  /** Judges the held failure: the cluster's own goes on as it came, Google's is replaced. */
  #release(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    const bytes = held.body.bytes();
    const { api, served, response, id } = this.#o;
    const { membership } = served;
    const verdict = judgeFailure({
      status: held.status,
      headers: held.headers,
      body: bytes,
      request: api,
      membership: membership.alias,
      about: membership,
      tokens: served.tokens,
    });
    if (verdict.kind === 'pass') {
      this.#begin(held.status, held.statusText, held.headers);
      if (bytes.length > 0) response.write(bytes);
      return;
    }
    if (verdict.code === 'google-unauthenticated' && api.kind === 'proxy' && this.#tokenRefused()) return;
    const passOn = (): void => answerRequest(response, answerOfVerdict(verdict, api), id);
    if (verdict.code === 'request-quota') {
      this.#finish({ kind: 'over-quota', passOn });
    } else {
      passOn();
      this.#finish({ kind: 'ended' });
    }
    this.#o.abort();
  }

  #continue(continuation: Continuation, chunk: Buffer): boolean {
    const { response, onBytes } = this.#o;
    try {
      const pieces = continuation.push(chunk);
      for (const piece of pieces) onBytes(piece.length);
      const more = this.#body.write(pieces);
      if (!continuation.finished) return more;
      this.#body.flush();
      response.end();
    } catch {
      // Not what its type says: nothing that follows could be trusted.
      this.#body.flush();
      response.destroy();
    }
    this.#finish({ kind: 'ended' });
    this.#o.abort();
    return true;
  }

  #begin(status: number, statusText: string, headers: FlatHeaders): void {
    const { response, continuation } = this.#o;
    if (status === 200 && continuation?.begin(headers, this.#o.now()) === true) {
      this.#continuation = continuation;
      this.#o.onContinued();
    }
    response.sendDate = false;
    // What the client gets of a continued body has another length.
    const own = this.#continuation === undefined ? headers : withoutHeaders(headers, LENGTH);
    const passed = responseHeaders(own);
    response.writeHead(
      status,
      statusText,
      trailersFit(status, passed, response) ? passed : withoutHeaders(passed, TRAILER),
    );
    flushSoon(response);
  }

  #finish(end: AttemptEnd): void {
    this.#done = true;
    this.#o.settle(end);
  }
}

const LENGTH = new HeaderNames(['content-length']);
const TRAILER = new HeaderNames(['trailer']);

/** Node throws at trailers that are announced where there is no chunked body for them to follow. */
function trailersFit(status: number, headers: FlatHeaders, { req }: ServerResponse): boolean {
  if (headerValue(headers, 'trailer') === undefined) return true;
  const hasBody = req.method !== 'HEAD' && status !== 204 && status !== 304;
  return hasBody && req.httpVersion === '1.1' && headerValue(headers, 'content-length') === undefined;
}

/** The head of a quiet watch must not wait for its first event, but a body that is already here may share its record. */
const flushSoon = atTurnEnd((response: ServerResponse) => {
  if (!response.writableEnded && !response.destroyed) response.flushHeaders();
});

function pairs(headers: FlatHeaders): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) list.push([headers[i] as string, headers[i + 1] as string]);
  return list;
}
