import type { IncomingMessage, ServerResponse } from 'node:http';
import { CodedError, describeError } from '../base/errors.js';
import { type FlatHeaders, HeaderNames, headerValues, withoutHeaders } from '../base/flat-headers.js';
import type { AccessToken } from '../credentials/token-source.js';
import { isConnectionLost, isStreamLost, unreachable } from '../gateway/http-upstream.js';
import { Redial } from '../gateway/redial.js';
import type { RequestBody, UpstreamCall } from '../gateway/upstream-call.js';
import type { ApiRequest, ApiRequestKind } from '../kubernetes/api-request.js';
import { isBackground } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import { chooseContinuation } from './choose-continuation.js';
import type { Continuation } from './continuation.js';
import { credentialHeaders } from './credential-headers.js';
import { answerRequest, ownAnswer } from './failure-answer.js';
import { GatheredBody } from './gathered-body.js';
import { type AttemptEnd, ResponseRelay } from './response-relay.js';
import { resumeBody } from './resume-body.js';
import type { RelayCall, RelayTools } from './served-membership.js';
import type { Session } from './sessions.js';
import { assertWithinHeaderLimit, requestHeaders, trailersToPass, trailersWish } from './upstream-headers.js';

/** The API server ends ordinary requests after 60 s by itself; the gateway and the agent add their own. */
const HEADERS_DEADLINE_MS = 120_000;
/** The API server gives these no deadline: a quiet resource may not send even its head for long, a workload may think. */
const NO_HEAD_DEADLINE: ReadonlySet<ApiRequestKind> = new Set(['watch', 'log', 'log-follow', 'proxy']);

/** Repeating these changes nothing, so that one repeat after a lost connection or a refused token is invisible. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

const ENCODING = new HeaderNames(['accept-encoding']);

/** A stream that has stayed for this long without a head was cut, not refused: a quiet log has none before its first line. */
const SILENT_STREAM_MS = 1000;

/** Google counts by the minute: after these, and the pauses of the line before each, the next one has begun. */
const QUOTA_REPEATS = 6;

/** Carries one plain request (watches and logs included) to its membership and the answer back, streamed both ways. */
export async function relayRequest(
  tools: RelayTools,
  call: RelayCall & {
    /** What the target asks for. */
    readonly api: ApiRequest;
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    /** Aborts when the daemon begins to stop. */
    readonly leaving?: AbortSignal;
    /** The client waits for this before it sends its body (`Expect: 100-continue`). */
    readonly askForBody?: (() => void) | undefined;
  },
): Promise<void> {
  const relay = new RequestRelay(tools, call);
  try {
    await relay.run();
  } catch (error) {
    relay.fail(error);
  }
}

class RequestRelay {
  readonly #tools: RelayTools;
  readonly #call: Parameters<typeof relayRequest>[1];
  readonly #api: ApiRequest;
  readonly #hasBody: boolean;
  /** The client's body is on its way, and cannot be had again. */
  #bodyBegun = false;
  readonly #continuation: Continuation | undefined;
  readonly #body: GatheredBody;
  #left = false;
  /** The answer has ended where its body had not. */
  #broken = false;
  /** Ends the present attempt when the client leaves. */
  #onLeave = ignore;
  readonly #startedAt: number;
  #current: UpstreamCall | undefined;
  #session: Session | undefined;
  #bytesDown = 0;

  constructor(tools: RelayTools, call: Parameters<typeof relayRequest>[1]) {
    this.#tools = tools;
    this.#call = call;
    this.#body = new GatheredBody(call.response);
    this.#api = call.api;
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
      this.#session?.end(call.response.writableFinished ? 'complete' : 'broken', {
        bytesMayBeMissing: this.#broken || this.#continuation?.mayHaveMissed === true,
      });
      // Whatever is still under way has nobody to answer: the client has left, or been told what is wrong with its body.
      this.#left = true;
      this.#current?.abort();
      this.#onLeave();
      this.#logEnd();
    });
    call.response.on('drain', () => this.#current?.resume());
  }

  async run(): Promise<void> {
    const { request, served } = this.#call;
    assertPlainChunks(request);
    const headers = this.#upstreamHeaders();
    this.#endWhenLeaving();
    const safe = !this.#hasBody && SAFE_METHODS.has(request.method ?? '');
    let token = await served.tokens.get();
    let repeatedForToken = false;
    let repeatedForConnection = false;
    let repeatedForQuota = 0;
    const redial = new Redial({ random: this.#tools.random });
    for (;;) {
      if (this.#left) return;
      const askedAt = this.#tools.clock.monotonic();
      const end = await this.#attempt({ token, headers, mayRefresh: !repeatedForToken });
      if (end.kind === 'ended') return;
      if (end.kind === 'cut') {
        await this.#resume(headers, end.clean);
        return;
      }
      if (end.kind === 'over-quota') {
        this.#tools.quota.requests.refused(served.membership);
        if (!safe || repeatedForQuota++ === QUOTA_REPEATS) {
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
        else if (!safe || repeatedForConnection || !isConnectionLost(end.error)) throw end.error;
        repeatedForConnection = true;
      }
    }
  }

  #whenLeft(act: () => void): void {
    this.#onLeave = act;
  }

  #isLasting(): boolean {
    return this.#api.kind === 'watch' || this.#api.kind === 'log-follow';
  }

  /** A body that is to be continued must be readable here. */
  #upstreamHeaders(): FlatHeaders {
    const { rawHeaders } = this.#call.request;
    // What lasts may travel by HTTP/2, where a connection has no headers.
    const headers = requestHeaders(rawHeaders);
    if (!this.#isLasting()) headers.push(...trailersWish(rawHeaders));
    return this.#continuation === undefined ? headers : withoutHeaders(headers, ENCODING);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#tools.clock.after(ms, resolve);
      this.#whenLeft(() => {
        cancel();
        resolve();
      });
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

  /** What lasts must not hold up a stop, also while it has no head yet: that of a log comes with its first line. */
  #endWhenLeaving(): void {
    const { leaving, response } = this.#call;
    if (leaving === undefined || this.#continuation === undefined) return;
    const leave = (): void => this.#endForGood(leaving.reason);
    leaving.addEventListener('abort', leave, { once: true });
    response.once('close', () => leaving.removeEventListener('abort', leave));
    if (leaving.aborted) leave();
  }

  /** As a cut that cannot be resumed: whoever watches asks again, and a log must not look complete. */
  #endForGood(reason: unknown): void {
    const { response } = this.#call;
    if (this.#left) return;
    if (!response.headersSent) this.fail(leavingError(reason));
    this.#session?.end(describeError(reason));
    this.#left = true;
    this.#current?.abort();
    this.#onLeave();
    if (response.writableEnded) return;
    this.#body.flush();
    if (this.#continuation?.whenRefused === 'end') response.end();
    else response.destroy();
  }

  #endByHand(reason: unknown): void {
    const { response } = this.#call;
    if (this.#left) return;
    this.#left = true;
    this.#current?.abort();
    this.#onLeave();
    const lastWords = this.#continuation?.lastWords(statusOfError(reason));
    // An event that has been written in part would not be whole.
    this.#body.flush();
    if (lastWords === undefined) response.destroy();
    else response.end(lastWords);
  }

  async #resume(headers: FlatHeaders, clean: boolean): Promise<void> {
    const { response, served, log } = this.#call;
    if (this.#continuation === undefined || this.#left) return;
    const leaving = new AbortController();
    this.#whenLeft(() => leaving.abort(new Error('the client is gone')));
    await resumeBody({
      tools: this.#tools,
      served,
      api: this.#api,
      session: this.#session,
      log,
      headers,
      continuation: this.#continuation,
      response,
      body: this.#body,
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
    const { served, request, target } = this.#call;
    const headers = options.headers.concat(credentialHeaders(served, options.token, options.headers));
    assertWithinHeaderLimit(headers);
    return new Promise((resolve) => {
      const sink = new ResponseRelay({
        response: this.#call.response,
        body: this.#body,
        id: this.#call.id,
        api: this.#api,
        served,
        // Google refuses a token before it does anything: the same again is no second time, whatever the method.
        mayRefresh: () => options.mayRefresh && !this.#bodyBegun,
        continuation: this.#continuation,
        now: () => this.#tools.clock.monotonic(),
        onContinued: () => this.#openSession(),
        onRefused: () => served.tokens.invalidate(options.token),
        onBytes: (count) => {
          this.#bytesDown += count;
        },
        onBroken: () => {
          this.#broken = true;
        },
        abort: () => this.#current?.abort(),
        settle: (end) => {
          this.#onLeave = ignore;
          resolve(end);
        },
      });
      this.#whenLeft(() => resolve({ kind: 'ended' }));
      this.#current = this.#tools.http.send(
        {
          address: served.address,
          method: request.method ?? 'GET',
          target: served.address.pathPrefix + (this.#continuation?.firstTarget ?? target),
          headers,
          body: this.#hasBody ? this.#requestBody() : null,
          headersTimeoutMs: NO_HEAD_DEADLINE.has(this.#api.kind) ? 0 : HEADERS_DEADLINE_MS,
          turn: {
            project: served.membership,
            urgent: !isBackground(this.#api, { method: request.method ?? 'GET', target }),
            client: request.socket,
          },
          shareable: this.#api.kind === 'discovery',
          lasting: this.#isLasting(),
        },
        sink,
      );
    });
  }

  #requestBody(): RequestBody {
    const { request, askForBody } = this.#call;
    const trailers = (): FlatHeaders => trailersToPass(request.rawTrailers);
    if (askForBody === undefined || this.#bodyBegun) {
      this.#bodyBegun = true;
      return { stream: request, trailers };
    }
    const onWanted = (): void => {
      this.#bodyBegun = true;
      askForBody();
    };
    return { stream: request, trailers, onWanted };
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

const ignore = (): void => {};

function leavingError(reason: unknown): CodedError {
  return new CodedError({
    code: 'draining',
    message: `connect-gateway-proxy: ${describeError(reason)}; try again when it is back`,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
}

/** Node undoes `chunked` alone: bytes in another transfer coding would be passed on as what they are not. */
function assertPlainChunks({ rawHeaders }: IncomingMessage): void {
  const codings = headerValues(rawHeaders, 'transfer-encoding');
  if (codings.length === 0 || (codings.length === 1 && codings[0]?.toLowerCase() === 'chunked')) return;
  throw new CodedError({
    code: 'transfer-coding-unsupported',
    message: `connect-gateway-proxy: the transfer encoding ${codings.join(', ')} is not understood here; chunked is`,
    answer: { status: 501, reason: 'NotImplemented' },
  });
}
