import * as http from 'node:http';
import type { Duplex } from 'node:stream';
import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { UpstreamAddress } from './address.js';
import type { Dialer } from './dial.js';
import { unreachable } from './http-upstream.js';

/** An upgrade that is never answered makes kubectl wait for ever, so it is given up after this many ms. */
export const UPGRADE_DEADLINE_MS = 30_000;

export type UpgradeAnswer =
  | { readonly kind: 'switched'; readonly headers: FlatHeaders; readonly socket: Duplex; readonly head: Buffer }
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly headers: FlatHeaders;
      readonly body: http.IncomingMessage;
    };

export interface UpgradeRequest {
  readonly address: UpstreamAddress;
  readonly method: string;
  readonly target: string;
  /** Complete but for Host: Connection, Upgrade and the protocol's own headers are the caller's. */
  readonly headers: FlatHeaders;
  readonly signal: AbortSignal;
  readonly deadlineMs?: number;
}

/** Asks upstream to switch protocols, on an HTTP/1.1 connection of its own. Rejects with a CodedError for 502 or 504. */
export async function dialUpgrade(dialer: Dialer, request: UpgradeRequest): Promise<UpgradeAnswer> {
  const deadlineMs = request.deadlineMs ?? UPGRADE_DEADLINE_MS;
  const deadline = AbortSignal.timeout(deadlineMs);
  const signal = AbortSignal.any([request.signal, deadline]);
  try {
    const socket = await dialer.dial(request.address, signal);
    return await ask(socket, request, signal);
  } catch (error) {
    if (deadline.aborted) throw noAnswer(request.address, deadlineMs);
    throw unreachable(request.address, error);
  }
}

async function ask(socket: Duplex, request: UpgradeRequest, signal: AbortSignal): Promise<UpgradeAnswer> {
  try {
    return await exchange(socket, request, signal);
  } catch (error) {
    // Node refuses some requests before it takes the socket, which would stay open and count as one of the fleet's streams.
    socket.destroy();
    throw error;
  }
}

function exchange(socket: Duplex, request: UpgradeRequest, signal: AbortSignal): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request({
      // Only heeded while no agent is named.
      createConnection: () => socket,
      method: request.method,
      path: request.target,
      headers: ['Host', request.address.host, ...request.headers],
      maxHeaderSize: 64 * 1024,
    });
    const onAbort = (): void => {
      outgoing.destroy();
      reject(signal.reason);
    };
    const settled = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.once('error', (error) => {
      settled();
      reject(error);
    });
    outgoing.once('upgrade', (response, upgraded, head) => {
      settled();
      resolve({ kind: 'switched', headers: response.rawHeaders, socket: upgraded, head });
    });
    outgoing.once('response', (response) => {
      settled();
      resolve({ kind: 'refused', status: response.statusCode ?? 502, headers: response.rawHeaders, body: response });
    });
    outgoing.end();
  });
}

export function noAnswer(address: UpstreamAddress, deadlineMs: number): CodedError {
  return new CodedError({
    code: 'gateway-timeout',
    message: `${address.host} did not answer the upgrade within ${deadlineMs / 1000} s; the cluster or its Connect agent may be overloaded, try again`,
    retry: 'later',
    answer: { status: 504, reason: 'Timeout' },
  });
}
