import type { ServerResponse } from 'node:http';
import { CodedError, describeError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { Logger } from '../base/log.js';
import { sleepUntilWake } from '../base/wake.js';
import type { FailureAnswer } from '../gateway/failure.js';
import { Redial } from '../gateway/redial.js';
import type { ResponseSink, UpstreamCall } from '../gateway/upstream-call.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import { askCluster } from './ask-cluster.js';
import type { Continuation } from './continuation.js';
import { credentialHeaders } from './credential-headers.js';
import { errorOfVerdict, FailureBody, judgeFailure } from './failure-body.js';
import type { GatheredBody } from './gathered-body.js';
import type { RelayTools, ServedMembership } from './served-membership.js';
import type { Session } from './sessions.js';

/** Google's refusals that need a person are believed at the third time: the first may be its own unrest around the cut. */
const REFUSALS_LIMIT = 3;

/** A connection that has stayed for this long is well, also where it has brought nothing. */
const WELL_AFTER_MS = 1000;

export interface ResumeOptions {
  readonly tools: RelayTools;
  readonly served: ServedMembership;
  readonly api: ApiRequest;
  readonly session: Session | undefined;
  readonly log: Logger;
  /** Of the client's request, without a credential. */
  readonly headers: FlatHeaders;
  readonly continuation: Continuation;
  readonly response: ServerResponse;
  /** The response's. */
  readonly body: GatheredBody;
  /** How its first connection has ended: by the body's own framing, or not. */
  readonly clean: boolean;
  readonly clientGone: AbortSignal;
  readonly onBytes: (count: number) => void;
  /** The upstream call that the client's backpressure and leaving concern from now on. */
  readonly onUpstream: (call: UpstreamCall) => void;
}

/**
 * Goes on with a body whose upstream has ended: asks again from where the client stands, as often as it takes, with
 * growing pauses. Returns when the stream is over for the client, which then has its end.
 */
export async function resumeBody(options: ResumeOptions): Promise<void> {
  const { tools, continuation, response, clientGone, log } = options;
  const { clock } = tools;
  const redial = new Redial({ random: tools.random });
  let { clean } = options;
  let resumes = 0;
  let refusals = 0;
  let gapFrom = clock.monotonic();
  let ageAtEnd = options.session?.connectionAgeMs();
  while (!clientGone.aborted) {
    try {
      const step = await continuation.next((target) => askCluster(options, target), { now: clock.monotonic(), clean });
      if (step.kind === 'end') {
        for (const piece of step.rest ?? []) {
          options.onBytes(piece.length);
          response.write(piece);
        }
        response.end();
        return;
      }
      if (step.kind === 'break') {
        response.destroy();
        return;
      }
      // Servers end watches and logs in an orderly way at ages of their own, which are no cutoff of the gateway's.
      if (!clean && ageAtEnd !== undefined) tools.onCut(options.served.membership, ageAtEnd);
      ageAtEnd = undefined;
      await pause(options, redial);
      let headAt: number | undefined;
      let broughtBytes = false;
      const end = await attempt(
        {
          ...options,
          onBytes: (count) => {
            broughtBytes = true;
            options.onBytes(count);
          },
        },
        step.target,
        () => {
          headAt = clock.monotonic();
          resumes++;
          refusals = 0;
          const gapMs = Math.round(headAt - gapFrom);
          options.session?.resumed(gapMs);
          log.info({ resumes, gapMs }, 'stream resumed after a cut');
        },
      );
      if (end.kind === 'over') {
        response.end();
        return;
      }
      if (end.kind === 'broken') {
        response.destroy();
        return;
      }
      if (end.kind === 'refused') {
        if (++refusals < REFUSALS_LIMIT) continue;
        giveUp(options, errorOfVerdict(end.answer));
        return;
      }
      clean = end.clean;
      if (headAt === undefined) continue;
      // A server that ends every answer at once must not be asked as fast as it can say so.
      if (broughtBytes || clock.monotonic() - headAt >= WELL_AFTER_MS) redial.succeeded();
      gapFrom = clock.monotonic();
      ageAtEnd = options.session?.connectionAgeMs();
    } catch (error) {
      if (clientGone.aborted) return;
      clean = false;
      if (error instanceof CodedError && error.retry === 'never' && ++refusals >= REFUSALS_LIMIT) {
        giveUp(options, error);
        return;
      }
      if (redial.attempts === 1) log.info({}, `a cut stream cannot go on yet: ${describeError(error)}`);
      // The question about the pod failed before there was a pause.
      await pause(options, redial).catch(() => {});
    }
  }
}

/** Once the machine is awake or the network back, what failed before says nothing: the pauses begin anew. */
async function pause({ tools, clientGone }: ResumeOptions, redial: Redial): Promise<void> {
  const { clock, wakes } = tools;
  for (;;) {
    const woken = await sleepUntilWake({ clock, ms: redial.nextPauseMs(), wakes, signal: clientGone });
    if (!woken) return;
    redial.succeeded();
  }
}

/** Google refuses until a person acts: the client is told why, where its body can tell. */
function giveUp({ continuation, response, log }: ResumeOptions, error: CodedError): void {
  log.warn({ code: error.code }, error.message);
  const lastWords = continuation.lastWords(statusOfError(error));
  if (lastWords === undefined) response.destroy();
  else response.end(lastWords);
}

type ResumeEnd =
  /** It went on and was cut again, or did not go on. */
  | { readonly kind: 'cut'; readonly clean: boolean }
  /** The client has to ask anew, which tells it why. */
  | { readonly kind: 'over' }
  /** The body is not to be trusted. */
  | { readonly kind: 'broken' }
  /** Google will not have it until a person acts. */
  | { readonly kind: 'refused'; readonly answer: FailureAnswer };

const CUT: ResumeEnd = { kind: 'cut', clean: false };
const OVER: ResumeEnd = { kind: 'over' };
const BROKEN: ResumeEnd = { kind: 'broken' };

async function attempt(options: ResumeOptions, target: string, onHead: () => void): Promise<ResumeEnd> {
  const { served, tools, headers, clientGone, continuation } = options;
  const token = await served.tokens.get(clientGone);
  let leave = (): void => {};
  try {
    return await new Promise((resolve) => {
      leave = () => resolve(OVER);
      clientGone.addEventListener('abort', leave, { once: true });
      const sink = new ResumeSink({
        ...options,
        onHead,
        onRefused: () => served.tokens.invalidate(token),
        abort: () => call.abort(),
        settle: resolve,
      });
      const call = tools.http.send(
        {
          address: served.address,
          method: 'GET',
          target: served.address.pathPrefix + target,
          headers: [...headers, ...credentialHeaders(served, token, headers)],
          body: null,
          headersTimeoutMs: continuation.headDeadlineMs,
          // To its client it is a pause, and after a cut there may be hundreds.
          turn: { project: served.membership, urgent: false, client: clientGone },
          lasting: true,
        },
        sink,
      );
      options.onUpstream(call);
    });
  } finally {
    clientGone.removeEventListener('abort', leave);
  }
}

interface ResumeSinkOptions extends ResumeOptions {
  readonly onHead: () => void;
  /** Upstream did not take the token. */
  readonly onRefused: () => void;
  readonly abort: () => void;
  readonly settle: (end: ResumeEnd) => void;
}

class ResumeSink implements ResponseSink {
  readonly #o: ResumeSinkOptions;
  #refusal: { status: number; headers: FlatHeaders; body: FailureBody } | undefined;
  #done = false;

  constructor(options: ResumeSinkOptions) {
    this.#o = options;
  }

  information(): void {}

  head(status: number, _statusText: string, headers: FlatHeaders): void {
    const { continuation, tools } = this.#o;
    if (status !== 200) {
      if (status === 401) this.#o.onRefused();
      this.#refusal = { status, headers, body: new FailureBody() };
    } else if (continuation.begin(headers, tools.clock.monotonic())) {
      this.#o.onHead();
    } else {
      this.#finish(continuation.whenRefused === 'end' ? OVER : BROKEN);
    }
  }

  data(chunk: Buffer): boolean {
    if (this.#done) return true;
    if (this.#refusal === undefined) return this.lend(chunk);
    if (this.#refusal.body.add(chunk)) this.#judge();
    return true;
  }

  lend(chunk: Buffer): boolean {
    if (this.#done) return true;
    if (this.#refusal !== undefined) return this.data(Buffer.from(chunk));
    const { body, continuation, onBytes } = this.#o;
    try {
      const pieces = continuation.push(chunk);
      for (const piece of pieces) onBytes(piece.length);
      const more = body.write(pieces);
      if (continuation.finished) this.#finish(OVER);
      return more;
    } catch {
      this.#finish(BROKEN);
      return true;
    }
  }

  end(): void {
    if (this.#refusal === undefined) this.#finish({ kind: 'cut', clean: true });
    else this.#judge();
  }

  failed(): void {
    this.#finish(CUT);
  }

  /**
   * The gateway's own troubles pass: no agent (a 404 of Google's), quota, restarts. What the cluster itself refuses (403,
   * 404, 410) it would refuse again, and says so to the client's own next request.
   */
  #judge(): void {
    const refusal = this.#refusal;
    if (this.#done || refusal === undefined) return;
    const { status, headers, body } = refusal;
    const { api, served, continuation } = this.#o;
    const { membership } = served;
    const verdict = judgeFailure({
      status,
      headers,
      body: body.bytes(),
      request: api,
      membership: membership.alias,
      about: membership,
      tokens: served.tokens,
    });
    if (verdict.kind === 'answer') this.#finish(verdict.retry === 'never' ? { kind: 'refused', answer: verdict } : CUT);
    else if (status === 401 || status === 429 || status >= 500) this.#finish(CUT);
    else this.#finish(continuation.whenRefused === 'end' ? OVER : BROKEN);
  }

  #finish(end: ResumeEnd): void {
    if (this.#done) return;
    this.#done = true;
    this.#o.body.flush();
    this.#o.settle(end);
    if (end.kind !== 'cut') this.#o.abort();
  }
}
