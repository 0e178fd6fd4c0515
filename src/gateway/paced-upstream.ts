import type { HttpUpstream } from './http-upstream.js';
import type { RequestPacer } from './request-pacer.js';
import { SharedReads } from './shared-reads.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

/**
 * The upstream within its quota: requests that name a turn wait for it, and those that may be shared are sent once. What
 * waits can be aborted as what is under way.
 */
export function createPacedUpstream(options: { upstream: HttpUpstream; pacer: RequestPacer }): HttpUpstream {
  const { upstream, pacer } = options;
  const paced = (request: UpstreamRequest, sink: ResponseSink): UpstreamCall => {
    const { turn } = request;
    if (turn === undefined) return upstream.send(request, sink);
    const call = new PacedCall(sink);
    try {
      call.leaveLine = pacer.enter(turn, () => call.begin(upstream.send(request, sink)));
    } catch (error) {
      // A sink is never told before its caller has the call.
      queueMicrotask(() => call.fail(error));
    }
    return call.direct ?? call;
  };
  const shared = new SharedReads({ send: paced });
  return {
    dispatcher: () => upstream.dispatcher(),
    send: (request, sink) =>
      request.shareable === true && SharedReads.canShare(request) ? shared.send(request, sink) : paced(request, sink),
    warm: (address) => upstream.warm(address),
    dropIdle: () => upstream.dropIdle(),
    close: () => upstream.close(),
  };
}

class PacedCall implements UpstreamCall {
  readonly #sink: ResponseSink;
  /** Once it has left. */
  direct: UpstreamCall | undefined;
  leaveLine = (): void => {};
  #over = false;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  begin(call: UpstreamCall): void {
    this.direct = call;
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#sink.failed(error);
  }

  resume(): void {
    this.direct?.resume();
  }

  abort(): void {
    if (this.direct !== undefined) {
      this.direct.abort();
      return;
    }
    this.#over = true;
    this.leaveLine();
  }

  lose(): void {
    // What has not left has no connection that could be lost.
    this.direct?.lose();
  }
}
