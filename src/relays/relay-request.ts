import type { IncomingMessage, ServerResponse } from 'node:http';
import { CodedError } from '../base/errors.js';
import { type FlatHeaders, headerValue } from '../base/flat-headers.js';
import type { AccessToken } from '../credentials/token-source.js';
import { passesUnread } from '../gateway/failure.js';
import { isConnectionLost, isStreamLost, unreachable } from '../gateway/http-upstream.js';
import { Redial } from '../gateway/redial.js';
import type { ResponseSink, UpstreamCall } from '../gateway/upstream-call.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { isBackground, parseApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import { chooseContinuation } from './choose-continuation.js';
import type { Continuation } from './continuation.js';
import { credentialHeaders } from './credential-headers.js';
import { answerRequest, ownAnswer } from './failure-answer.js';
import { answerOfVerdict, FailureBody, judgeFailure } from './failure-body.js';
import { resumeBody } from './resume-body.js';
import type { RelayCall, RelayTools, ServedMembership } from './served-membership.js';
import type { Session } from './sessions.js';
import { assertWithinHeaderLimit, requestHeaders, responseHeaders } from './upstream-headers.js';
import { writeAll } from './write-all.js';

/**
 * The API server ends ordinary requests after 60 s by itself; the gateway and the agent add their own. Watches and
 * followed logs have no deadline: a quiet resource may not send even its head for long.
 */
const HEADERS_DEADLINE_MS = 120_000;

/** Repeating these changes nothing, so that one repeat after a lost connection or a refused token is invisible. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** A stream that has stayed for this long without a head was cut, not refused: a quiet log has none before its first line. */
const SILENT_STREAM_MS = 1000;

/** Google counts by the minute: after these, and the pauses of the line before each, the next one has begun. */
const QUOTA_REPEATS = 6;

/** Carries one plain request (watches and logs included) to its membership and the answer back, streamed both ways. */
export async function relayRequest(
  tools: RelayTools,
  call: RelayCall & {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    /** Called when upstream is ready for the body of a client that waits with `Expect: 100-continue`. */
    readonly beforeBody?: () => void;
  },
): Promise<void> {
  const relay = new RequestRelay(tools, call);
  try {
    await relay.run();
  } catch (error) {
    relay.fail(error);
  }
}

type AttemptEnd =
  /** Answered, aborted or destroyed: nothing is left to do. */
  | { readonly kind: 'ended' }
  /** A body that can be continued has ended; `clean` by its own framing. */
  | { readonly kind: 'cut'; readonly clean: boolean }
  | { readonly kind: 'token-refused' }
  /** Google's quota; `passOn` gives the client that answer. */
  | { readonly kind: 'over-quota'; readonly passOn: () => void }
  | { readonly kind: 'failed'; readonly error: unknown };

class RequestRelay {
  readonly #tools: RelayTools;
  readonly #call: Parameters<typeof relayRequest>[1];
  readonly #api: ApiRequest;
  readonly #hasBody: boolean;
  readonly #continuation: Continuation | undefined;
  #left = false;
  /** Ends the present attempt when the client leaves. */
  #onLeave = (): void => {};
  readonly #startedAt: number;
  #current: UpstreamCall | undefined;
  #session: Session | undefined;
  #bytesDown = 0;

  constructor(tools: RelayTools, call: Parameters<typeof relayRequest>[1]) {
    this.#tools = tools;
    this.#call = call;
    this.#api = parseApiRequest(call.target);
    this.#startedAt = tools.clock.monotonic();
    const { headers } = call.request;
    this.#hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    this.#continuation = chooseContinuation({
      api: this.#api,
      method: call.request.method ?? 'GET',
      target: call.target,
      now: this.#startedAt,
    });
    call.response.on('close', () => {
      if (!call.response.writableFinished) {
        this.#left = true;
        this.#current?.abort();
        this.#onLeave();
      }
      this.#session?.end(call.response.writableFinished ? 'complete' : 'broken', {
        bytesMayBeMissing:
          (!call.response.writableFinished && !this.#left) || this.#continuation?.mayHaveMissed === true,
      });
      this.#logEnd();
    });
    call.response.on('drain', () => this.#current?.resume());
  }

  async run(): Promise<void> {
    const { request, served } = this.#call;
    const headers = this.#upstreamHeaders();
    const replayable = !this.#hasBody && SAFE_METHODS.has(request.method ?? '');
    let token = await served.tokens.get();
    let repeatedForToken = false;
    let repeatedForConnection = false;
    let repeatedForQuota = 0;
    const redial = new Redial({ random: this.#tools.random });
    for (;;) {
      if (this.#left) return;
      const askedAt = this.#tools.clock.monotonic();
      // What was refused for its token has changed nothing, whatever its method.
      const mayRefresh = !this.#hasBody && !repeatedForToken;
      const end = await this.#attempt({ token, headers, mayRefresh });
      if (end.kind === 'ended') return;
      if (end.kind === 'cut') {
        await this.#resume(headers, end.clean);
        return;
      }
      if (end.kind === 'over-quota') {
        this.#tools.quota.requests.refused(served.membership);
        if (!replayable || repeatedForQuota++ === QUOTA_REPEATS) {
          end.passOn();
          return;
        }
      } else if (end.kind === 'token-refused') {
        repeatedForToken = true;
        served.tokens.invalidate(token);
        token = await served.tokens.get();
      } else {
        const wasSilent = this.#tools.clock.monotonic() - askedAt >= SILENT_STREAM_MS;
        const isCut = this.#continuation !== undefined && wasSilent && isStreamLost(end.error);
        if (isCut) await this.#pause(redial.nextPauseMs());
        else if (!replayable || repeatedForConnection || !isConnectionLost(end.error)) throw end.error;
        repeatedForConnection = true;
      }
    }
  }

  /** A body that is to be continued must be readable here. */
  #upstreamHeaders(): FlatHeaders {
    const headers = requestHeaders(this.#call.request.rawHeaders);
    return this.#continuation === undefined ? headers : withoutHeader(headers, 'accept-encoding');
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#tools.clock.after(ms, resolve);
      this.#onLeave = () => {
        cancel();
        resolve();
      };
    });
  }

  #openSession(): void {
    const { id, served, request, response } = this.#call;
    const { sessions, wakes, clock } = this.#tools;
    const session = sessions.open({
      id,
      api: this.#api,
      membership: served.membership.alias,
      identity: served.membership.identity,
      userAgent: request.headers['user-agent'] ?? '',
      bytes: () => ({ up: 0, down: this.#bytesDown }),
    });
    this.#session = session;
    session.signal.addEventListener('abort', () => this.#endByHand(session.signal.reason), { once: true });
    const stop = wakes.onWake(({ doubtfulBefore }) => {
      // Nothing is lost by it: the body goes on where it stands.
      if (clock.monotonic() - session.connectionAgeMs() < doubtfulBefore) this.#current?.lose();
    });
    response.once('close', stop);
  }

  #endByHand(reason: unknown): void {
    const { response } = this.#call;
    if (this.#left) return;
    this.#left = true;
    this.#current?.abort();
    this.#onLeave();
    const lastWords = this.#continuation?.lastWords(statusOfError(reason));
    if (lastWords === undefined) response.destroy();
    else response.end(lastWords);
  }

  async #resume(headers: FlatHeaders, clean: boolean): Promise<void> {
    const { response, served, log } = this.#call;
    if (this.#continuation === undefined || this.#left) return;
    const leaving = new AbortController();
    this.#onLeave = () => leaving.abort(new Error('the client is gone'));
    await resumeBody({
      tools: this.#tools,
      served,
      api: this.#api,
      session: this.#session,
      log,
      headers,
      continuation: this.#continuation,
      response,
      clean,
      clientGone: leaving.signal,
      onBytes: (count) => {
        this.#bytesDown += count;
      },
      onUpstream: (upstream) => {
        this.#current = upstream;
      },
    });
  }

  #attempt(options: { token: AccessToken; headers: FlatHeaders; mayRefresh: boolean }): Promise<AttemptEnd> {
    const { served, request, target, beforeBody } = this.#call;
    const headers = [...options.headers, ...credentialHeaders(served, options.token, options.headers)];
    assertWithinHeaderLimit(headers);
    if (this.#hasBody) beforeBody?.();
    const unlimited = this.#api.kind === 'watch' || this.#api.kind === 'log-follow';
    return new Promise((resolve) => {
      const sink = new ResponseRelay({
        response: this.#call.response,
        id: this.#call.id,
        api: this.#api,
        served,
        mayRefresh: options.mayRefresh,
        continuation: this.#continuation,
        now: () => this.#tools.clock.monotonic(),
        onContinued: () => this.#openSession(),
        onRefused: () => served.tokens.invalidate(options.token),
        onBytes: (count) => {
          this.#bytesDown += count;
        },
        abort: () => this.#current?.abort(),
        settle: resolve,
      });
      this.#onLeave = () => resolve({ kind: 'ended' });
      this.#current = this.#tools.http.send(
        {
          address: served.address,
          method: request.method ?? 'GET',
          target: served.address.pathPrefix + (this.#continuation?.firstTarget ?? target),
          headers,
          body: this.#hasBody ? request : null,
          headersTimeoutMs: unlimited ? 0 : HEADERS_DEADLINE_MS,
          turn: {
            project: served.membership,
            urgent: !isBackground(this.#api, { method: request.method ?? 'GET', target }),
            client: request.socket,
          },
          shareable: this.#api.kind === 'discovery',
          lasting: unlimited,
        },
        sink,
      );
    });
  }

  /** Tells the client what went wrong, or breaks its connection where an answer has already begun. */
  fail(error: unknown): void {
    const { response, served, id, log } = this.#call;
    if (this.#left) return;
    const known = error instanceof CodedError ? error : unreachable(served.address, error);
    log.warn({ code: known.code, method: this.#call.request.method, kind: this.#api.kind }, known.message);
    if (response.headersSent) response.destroy();
    else answerRequest(response, ownAnswer(statusOfError(known), this.#api), id);
  }

  #logEnd(): void {
    const { log, request, response } = this.#call;
    if (!log.isLevelEnabled('debug')) return;
    log.debug(
      {
        method: request.method,
        kind: this.#api.kind,
        status: response.statusCode,
        ended: response.writableFinished ? 'complete' : 'broken',
        ms: Math.round(this.#tools.clock.monotonic() - this.#startedAt),
        bytesDown: this.#bytesDown,
      },
      'request ended',
    );
  }
}

interface ResponseRelayOptions {
  readonly response: ServerResponse;
  readonly id: string;
  readonly api: ApiRequest;
  readonly served: ServedMembership;
  readonly mayRefresh: boolean;
  readonly continuation: Continuation | undefined;
  readonly now: () => number;
  /** The answer's body is one that is continued after a cut. */
  readonly onContinued: () => void;
  readonly onRefused: () => void;
  readonly onBytes: (count: number) => void;
  readonly abort: () => void;
  readonly settle: (end: AttemptEnd) => void;
}

/** Writes one upstream answer to the client; holds a failure's body back until it has been judged. */
class ResponseRelay implements ResponseSink {
  readonly #o: ResponseRelayOptions;
  /** Set once the body is one that can be continued. */
  #continuation: Continuation | undefined;
  #held: { status: number; statusText: string; headers: FlatHeaders; body: FailureBody } | undefined;
  #done = false;

  constructor(options: ResponseRelayOptions) {
    this.#o = options;
  }

  information(status: number, headers: FlatHeaders): void {
    // 103 is the only one that means something to a client of ours; 102 says nothing and 100 we have sent ourselves.
    if (status !== 103 || this.#o.response.headersSent) return;
    const hints: Record<string, string[]> = {};
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] as string).toLowerCase();
      hints[name] = [...(hints[name] ?? []), headers[i + 1] as string];
    }
    if (hints['link'] !== undefined) this.#o.response.writeEarlyHints(hints);
  }

  head(status: number, statusText: string, headers: FlatHeaders): void {
    if (this.#done) return;
    if (status === 401 && this.#o.mayRefresh) {
      this.#finish({ kind: 'token-refused' });
      this.#o.abort();
      return;
    }
    if (status === 401) this.#o.onRefused();
    if (passesUnread(status)) this.#begin(status, statusText, headers);
    else this.#held = { status, statusText, headers, body: new FailureBody() };
  }

  data(chunk: Buffer): boolean {
    if (this.#done) return true;
    if (this.#continuation !== undefined) return this.#continue(this.#continuation, chunk);
    this.#o.onBytes(chunk.length);
    if (this.#held === undefined) return this.#o.response.write(chunk);
    if (this.#held.body.add(chunk)) this.#release();
    return true;
  }

  end(trailers: FlatHeaders): void {
    if (this.#done) return;
    if (this.#continuation !== undefined) {
      this.#finish({ kind: 'cut', clean: true });
      return;
    }
    if (this.#held !== undefined) this.#release();
    if (this.#done) return;
    if (trailers.length > 0) this.#o.response.addTrailers(pairs(trailers));
    this.#o.response.end();
    this.#finish({ kind: 'ended' });
  }

  failed(error: unknown): void {
    if (this.#done) return;
    if (this.#continuation !== undefined) {
      this.#finish({ kind: 'cut', clean: false });
    } else if (this.#o.response.headersSent) {
      // An ending is never invented: the client must see that the body is not whole.
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
      renewal: served.tokens.renewal,
    });
    if (verdict.kind === 'pass') {
      this.#begin(held.status, held.statusText, held.headers);
      if (bytes.length > 0) response.write(bytes);
      return;
    }
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
    try {
      const more = writeAll(this.#o.response, continuation.push(chunk), this.#o.onBytes);
      if (!continuation.finished) return more;
      this.#o.response.end();
      this.#finish({ kind: 'ended' });
      this.#o.abort();
      return true;
    } catch {
      // Not what its type says: nothing that follows could be trusted.
      this.#o.response.destroy();
      this.#finish({ kind: 'ended' });
      this.#o.abort();
      return true;
    }
  }

  #begin(status: number, statusText: string, headers: FlatHeaders): void {
    const { response, continuation } = this.#o;
    if (status === 200 && continuation?.begin(headers, this.#o.now()) === true) {
      this.#continuation = continuation;
      this.#o.onContinued();
    }
    response.sendDate = false;
    // What the client gets of a continued body has another length.
    const own = this.#continuation === undefined ? headers : withoutHeader(headers, 'content-length');
    response.writeHead(status, statusText, responseHeaders(own));
    // A body of known length is on its way and shares the head's record.
    if (this.#continuation === undefined && headerValue(headers, 'content-length') !== undefined) return;
    // The head of a quiet watch must not wait for its first event, but a body that is already here may share its record.
    setImmediate(() => {
      if (!response.writableEnded && !response.destroyed) response.flushHeaders();
    });
  }

  #finish(end: AttemptEnd): void {
    this.#done = true;
    this.#o.settle(end);
  }
}

function withoutHeader(headers: FlatHeaders, name: string): FlatHeaders {
  const kept: (string | Buffer)[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (String(headers[i]).toLowerCase() !== name) kept.push(headers[i] as string, headers[i + 1] as string);
  }
  return kept as string[];
}

function pairs(headers: FlatHeaders): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) list.push([headers[i] as string, headers[i + 1] as string]);
  return list;
}
