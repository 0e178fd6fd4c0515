import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { LIMIT, RESET } from '../../spdy/frame.js';
import type { SpdyStream } from '../../spdy/stream.js';
import { ForwardedConnection } from './forwarded-connection.js';
import type { LocalHandlers, LocalTransport } from './local-transport.js';
import type { TunnelLease } from './shared-tunnel.js';

/** The kubelet's patience for the second stream of a pair. */
const PAIR_TIMEOUT_MS = 30_000;

interface HalfPair {
  error?: SpdyStream;
  data?: SpdyStream;
  readonly cancelTimeout: () => void;
}

export interface FrontOptions {
  readonly lease: TunnelLease;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the session; the reason's message is for the log, and for clients that can be told. */
  readonly signal: AbortSignal;
}

/** How a client's session went. */
export interface FrontEnd {
  readonly reason: string;
  readonly connections: number;
}

/** A client that speaks SPDY: a pair of streams for each connection. Resolves when its session has ended. */
export function serveSpdyFront(
  options: FrontOptions,
  carry: (handlers: LocalHandlers) => LocalTransport,
): Promise<FrontEnd> {
  return new Promise((resolve) => {
    const pairs = new Map<string, HalfPair>();
    const { lease, clock, log, signal } = options;
    let connections = 0;
    let ending: string | undefined;
    let transport: LocalTransport | undefined;

    const end = (reason: string): void => {
      ending ??= reason;
      transport?.close(ending);
    };
    const onAbort = (): void => end(signal.reason instanceof Error ? signal.reason.message : 'ended');
    signal.addEventListener('abort', onAbort, { once: true });
    lease.onGone(end);

    const newPair = (requestId: string): HalfPair => {
      const cancelTimeout = clock.after(PAIR_TIMEOUT_MS, () => {
        const pair = pairs.get(requestId);
        pairs.delete(requestId);
        pair?.error?.reset();
        pair?.data?.reset();
      });
      const pair: HalfPair = { cancelTimeout };
      pairs.set(requestId, pair);
      return pair;
    };

    const onStream = (stream: SpdyStream): void => {
      const kind = stream.header('streamtype');
      const port = parsePort(stream.header('port'));
      // Clients open streams of several connections at once: ids say nothing about what belongs together.
      const requestId = stream.header('requestid') ?? '';
      const known = pairs.get(requestId);
      const tooMany = known === undefined && pairs.size >= LIMIT.liveStreams;
      if ((kind !== 'error' && kind !== 'data') || port === undefined || known?.[kind] !== undefined || tooMany) {
        stream.refuse(RESET.cancel);
        return;
      }
      const pair = known ?? newPair(requestId);
      pair[kind] = stream;
      stream.accept();
      const { error, data } = pair;
      if (error === undefined || data === undefined) return;
      pair.cancelTimeout();
      pairs.delete(requestId);
      connections++;
      new ForwardedConnection({ local: { error, data }, port, lease, clock, log, onOver: () => {} });
    };

    transport = carry({
      onStream,
      onEnd(reason) {
        signal.removeEventListener('abort', onAbort);
        for (const pair of pairs.values()) pair.cancelTimeout();
        resolve({ reason: ending ?? reason, connections });
      },
    });
    if (ending !== undefined) transport.close(ending);
    else if (signal.aborted) onAbort();
  });
}

/** A port as the wire tells it, or undefined. */
export function parsePort(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}
