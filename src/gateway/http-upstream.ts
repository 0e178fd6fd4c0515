import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { CodedError, systemCode } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { UpstreamAddress } from './address.js';
import type { Dialer } from './dial.js';

export interface UpstreamRequest {
  readonly address: UpstreamAddress;
  readonly method: string;
  /** Raw request target, the address's path prefix included. */
  readonly target: string;
  readonly headers: FlatHeaders;
  readonly body: Readable | null;
  /** How long to wait for the response's head, in ms; 0 waits for ever (watches of a quiet resource). */
  readonly headersTimeoutMs: number;
}

/** Where a response goes. Calls come in the order head, data..., end; `failed` may come at any time and is the last. */
export interface ResponseSink {
  /** 1xx other than 101. */
  information(status: number, headers: FlatHeaders): void;
  head(status: number, statusText: string, headers: FlatHeaders): void;
  /** Answer false to be paused until `resume` is called. */
  data(chunk: Buffer): boolean;
  end(trailers: FlatHeaders): void;
  failed(error: unknown): void;
}

export interface UpstreamCall {
  resume(): void;
  abort(): void;
}

/** Plain requests to the gateway. The way they travel (pooled HTTP/1.1 now) is this interface's secret. */
export interface HttpUpstream {
  /** The same connections for callers that want undici's own interface. */
  readonly dispatcher: Dispatcher;
  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall;
  close(): Promise<void>;
}

/** Below the 60 s and more that Google's front ends keep an idle connection, so that a reused one is rarely stale. */
const IDLE_CONNECTION_MS = 50_000;
const CONNECT_DEADLINE_MS = 15_000;

export function createHttpUpstream(options: { dialer: Dialer }): HttpUpstream {
  const agent = new Agent({
    connect: (target, callback) => {
      const secure = target.protocol === 'https:';
      options.dialer
        .dial(
          {
            hostname: target.hostname.replace(/^\[|\]$/g, ''),
            port: target.port === '' ? (secure ? 443 : 80) : Number(target.port),
            secure,
          },
          AbortSignal.timeout(CONNECT_DEADLINE_MS),
        )
        .then(
          (socket) => callback(null, socket),
          (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null),
        );
    },
    pipelining: 1,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    keepAliveMaxTimeout: IDLE_CONNECTION_MS,
    maxHeaderSize: 64 * 1024,
    // The request decides; a body that pauses (a watch, a log) is no failure.
    bodyTimeout: 0,
  });
  return {
    dispatcher: agent,
    send: (request, sink) => {
      const call = new AgentCall(sink);
      agent.dispatch(
        {
          origin: request.address.origin,
          path: request.target,
          method: request.method as Dispatcher.HttpMethod,
          headers: request.headers as string[],
          body: request.body,
          headersTimeout: request.headersTimeoutMs,
        },
        call,
      );
      return call;
    },
    close: () => agent.destroy(),
  };
}

class AgentCall implements UpstreamCall, Dispatcher.DispatchHandler {
  readonly #sink: ResponseSink;
  #controller: Dispatcher.DispatchController | undefined;
  #aborted = false;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  resume(): void {
    this.#controller?.resume();
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort(new Error('the client is gone'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(new Error('the client is gone'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    statusText?: string,
  ): void {
    const headers = flat(controller.rawHeaders);
    if (status < 200) this.#sink.information(status, headers);
    else this.#sink.head(status, statusText ?? '', headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#sink.data(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#sink.end(flat(controller.rawTrailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (!this.#aborted) this.#sink.failed(error);
  }
}

function flat(headers: unknown): string[] {
  if (!Array.isArray(headers)) return [];
  return headers.map((part: unknown) => (Buffer.isBuffer(part) ? part.toString('latin1') : String(part)));
}

/** Failures of a reused connection that the other side had closed meanwhile, or that died before an answer. */
const CONNECTION_LOST = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** True where the connection was lost, so that repeating a safe request on a new one may succeed at once. */
export function isConnectionLost(error: unknown): boolean {
  const code = systemCode(error);
  return code !== undefined && CONNECTION_LOST.has(code);
}

/** Names the host and the cause of a connection that could not be made or broke before an answer. */
export function unreachable(address: UpstreamAddress, error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const code = systemCode(error) ?? (error instanceof Error ? error.name : 'unknown');
  const timeout = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'ETIMEDOUT' || code === 'TimeoutError';
  return new CodedError({
    code: timeout ? 'gateway-timeout' : 'gateway-unreachable',
    message: `connect-gateway-proxy cannot reach ${address.host}: ${causeText(code, error)}`,
    retry: 'later',
    cause: error,
    answer: timeout ? { status: 504, reason: 'Timeout' } : { status: 502, reason: 'BadGateway' },
  });
}

function causeText(code: string, error: unknown): string {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `its name does not resolve (${code}); check the network and DNS`;
    case 'ECONNREFUSED':
      return 'the connection was refused (ECONNREFUSED)';
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
      return `the connection was lost before an answer came (${code})`;
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'ETIMEDOUT':
    case 'TimeoutError':
      return 'no answer came in time';
    default: {
      const detail = error instanceof Error ? error.message : String(error);
      return /CERT|SELF_SIGNED|UNABLE_TO/.test(code)
        ? `its certificate is not trusted (${code}); if a TLS-inspecting proxy is in the way, name its CA in endpoints.caFile`
        : `${detail} (${code})`;
    }
  }
}
