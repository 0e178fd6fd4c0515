import type { Socket } from 'node:net';
import type { Dialer } from '../gateway/dial.js';
import type { StreamHolder, StreamLease, StreamRequest } from '../gateway/stream-ledger.js';
import type { RelayTools, ServedMembership } from './served-membership.js';
import type { Session } from './sessions.js';

/** Who a stream is for. */
export interface StreamCall {
  readonly served: ServedMembership;
  readonly holder: () => StreamHolder;
  /** A session that goes on after a cut comes before new ones. */
  readonly resuming?: boolean;
}

/**
 * Waits for one of the fleet's streams and for a request's turn. The answer dials once, and gives the stream back when
 * that connection has closed or was never made; call it at once. Rejects with a CodedError (429) that names who holds
 * the streams, or the signal's reason.
 *
 * The wait is no part of any deadline of the dialling that follows it.
 */
export async function streamDialer(tools: RelayTools, call: StreamCall, signal: AbortSignal): Promise<Dialer> {
  const { membership } = call.served;
  const request: StreamRequest = {
    project: membership,
    holder: call.holder,
    signal,
    ...(call.resuming === undefined ? {} : { resuming: call.resuming }),
  };
  const lease = await tools.quota.streams.acquire(request);
  try {
    await requestTurn(tools, call, signal);
  } catch (error) {
    lease.release();
    throw error;
  }
  return leasedDialer(tools.dialer, lease);
}

/** Dials under a lease that is already had, say from `tools.quota.streams.tryAcquire`. */
export function leasedDialer(dialer: Dialer, lease: StreamLease): Dialer {
  return {
    dial: async (address, signal): Promise<Socket> => {
      try {
        const socket = await dialer.dial(address, signal);
        if (socket.closed) lease.release();
        else socket.once('close', () => lease.release());
        return socket;
      } catch (error) {
        lease.release();
        throw error;
      }
    },
  };
}

/** The holder of a stream that is one session's alone. */
export function heldBy(session: Pick<Session, 'id' | 'kind' | 'target'>): () => StreamHolder {
  return () => ({ sessions: [session.id], kind: session.kind, target: session.target });
}

/** An upgrade is a request too, and somebody waits for it. */
function requestTurn(tools: RelayTools, { served }: StreamCall, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let left = false;
    const onAbort = (): void => {
      leave();
      reject(signal.reason);
    };
    const leave = tools.quota.requests.enter({ project: served.membership, urgent: true, client: {} }, () => {
      left = true;
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    if (!left) signal.addEventListener('abort', onAbort, { once: true });
  });
}
