import type { Agent } from 'undici';
import type { Clock } from '../base/clock.js';
import { CodedError, systemCode } from '../base/errors.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import type { UpstreamAddress } from './address.js';
import type { Dialer } from './dial.js';
import { Http1Client } from './http1-client.js';
import { Http2Client } from './http2-client.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from './upstream-call.js';

/**
 * Plain requests to the gateway. The way they travel is this interface's secret: pooled HTTP/1.1, and for those that last
 * streams of HTTP/2 (docs/decisions.md, 12).
 */
export interface HttpUpstream {
  /** For Google's control APIs, which are asked rarely and through undici. */
  readonly dispatcher: DispatcherSource;
  send(request: UpstreamRequest, sink: ResponseSink): UpstreamCall;
  /** Has a connection ready for the next request. */
  warm(address: UpstreamAddress): void;
  /** Ends the connections that carry nothing. */
  dropIdle(): void;
  close(): Promise<void>;
}

const CONNECT_DEADLINE_MS = 15_000;

export function createHttpUpstream(options: { dialer: Dialer; clock: Clock }): HttpUpstream {
  const { dialer, clock } = options;
  const http1 = new Http1Client({ dialer, clock });
  const http2 = new Http2Client({ dialer, http1, clock });
  let agent: Promise<Agent> | undefined;
  return {
    dispatcher: () => {
      agent ??= dialingAgent(dialer);
      return agent;
    },
    send: (request, sink) => (request.lasting === true ? http2 : http1).send(request, sink),
    warm: (address) => http1.warm(address),
    dropIdle: () => {
      http1.dropIdle();
      http2.dropIdle();
    },
    close: async () => {
      http2.close();
      http1.close();
      await (await agent?.catch(() => undefined))?.destroy();
    },
  };
}

async function dialingAgent(dialer: Dialer): Promise<Agent> {
  const { Agent } = await loadUndici();
  return new Agent({
    connect: (target, callback) => {
      const secure = target.protocol === 'https:';
      dialer
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
  });
}

/** Failures of a reused connection that the other side had closed meanwhile, or that died before an answer. */
const CONNECTION_LOST = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** True where the connection was lost, so that repeating a safe request on a new one may succeed at once. */
export function isConnectionLost(error: unknown): boolean {
  const code = systemCode(error);
  return code !== undefined && CONNECTION_LOST.has(code);
}

/** The same for a stream, which has no deadline: a time-out is that of a peer which is dead. */
export function isStreamLost(error: unknown): boolean {
  return isConnectionLost(error) || systemCode(error) === 'ETIMEDOUT';
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
