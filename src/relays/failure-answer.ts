import type { ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ApiRequest } from '../kubernetes/api-request.js';
import type { Status } from '../kubernetes/status.js';

/** An answer of our own: a Kubernetes `Status`, or plain text where kubectl reads nothing else. */
export interface OwnAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly retryAfterSeconds?: number;
}

/**
 * `status` in the form that the asking client prints. On /api and /apis kubectl loses a Status's message and shows
 * only text bodies, and those for 403, 500 and 502 alone (client-facts 3.5).
 */
export function ownAnswer(status: Status, request: Pick<ApiRequest, 'kind'>): OwnAnswer {
  const code = status.code ?? 500;
  // 401 stays what it is: kubectl says then that the client is not logged in, which is the point.
  if (request.kind === 'discovery' && code !== 401) {
    const shown = code === 403 ? 403 : code <= 500 ? 500 : 502;
    return { status: shown, contentType: 'text/plain; charset=utf-8', body: `${status.message ?? ''}\n` };
  }
  const retryAfterSeconds = status.details?.retryAfterSeconds;
  return {
    status: code,
    contentType: 'application/json',
    body: `${JSON.stringify(status)}\n`,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

/** A refusal as it is written on a bare socket. */
export interface Refusal {
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

function headersOf(answer: OwnAnswer, id: string): string[] {
  return [
    'Content-Type',
    answer.contentType,
    'Content-Length',
    String(Buffer.byteLength(answer.body)),
    'Cache-Control',
    'no-store',
    'Connect-Gateway-Proxy-Id',
    id,
    ...(answer.retryAfterSeconds === undefined ? [] : ['Retry-After', String(answer.retryAfterSeconds)]),
    ...(answer.status === 401 ? ['WWW-Authenticate', 'Bearer realm="connect-gateway-proxy"'] : []),
  ];
}

/** Does nothing where the response has begun: then the caller destroys it instead. */
export function answerRequest(response: ServerResponse, answer: OwnAnswer, id: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(answer.status, headersOf(answer, id));
  response.end(answer.body);
}

/** Answers an upgrade request on its bare socket and closes it. */
export function answerUpgrade(socket: Duplex, answer: OwnAnswer, id: string): void {
  writeRefusal(socket, refusalOf(answer, id));
}

export function refusalOf(answer: OwnAnswer, id: string): Refusal {
  return {
    status: answer.status,
    statusText: STATUS_CODES[answer.status] ?? '',
    headers: headersOf(answer, id),
    body: Buffer.from(answer.body),
  };
}

export function writeRefusal(socket: Duplex, refusal: Refusal): void {
  if (!socket.destroyed) socket.end(Buffer.concat([refusalHead(refusal), refusal.body]));
}

/** What follows it is the body, up to the end of the connection or as its headers frame it. */
export function refusalHead({ status, statusText, headers }: Omit<Refusal, 'body'>): Buffer {
  const lines = [`HTTP/1.1 ${status} ${statusText}`];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`, 'latin1');
}
