import { headerTokens } from '../base/flat-headers.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import type { RemoteProtocol } from '../kubernetes/remote-command.js';
import { chooseRemoteProtocol } from '../kubernetes/remote-command.js';
import { askForStream } from './ask-for-stream.js';
import { refusedAnswer } from './judge-refusal.js';
import { acceptWebSocket } from './port-forward/accept-web-socket.js';
import { forwardedPorts, serveChannelFront, withoutPorts } from './port-forward/channel-front.js';
import { spdyOverSocket, spdyOverWebSocket } from './port-forward/local-transport.js';
import { TUNNEL_PROTOCOL } from './port-forward/shared-tunnel.js';
import type { FrontEnd, FrontOptions } from './port-forward/spdy-front.js';
import { serveSpdyFront } from './port-forward/spdy-front.js';
import { TunnelBook } from './port-forward/tunnel-book.js';
import { failUpgrade, relayRefusal, relayUpgrade, type UpgradeCall } from './relay-upgrade.js';
import type { RelayTools } from './served-membership.js';
import { asksForSpdy, chooseStreamProtocol, switchToSpdy } from './spdy-upgrade.js';

const SPDY_STREAM_PROTOCOL = 'portforward.k8s.io';
const CHANNEL_PROTOCOLS = ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io'];

const MALFORMED: FrontEnd = { reason: 'the WebSocket handshake of the client is malformed', connections: 0 };

/** One for each front door: whoever shares its tools shares its tunnels. */
const books = new WeakMap<RelayTools, TunnelBook>();

/** How a client speaks. */
interface Form {
  /** Upstream's refusal may be of the tunnel's form, not of the client's: let the cluster judge that one too. */
  readonly rawIfRefused: boolean;
  serve(options: FrontOptions): Promise<FrontEnd>;
}

/**
 * Carries a port-forward session of any client over a tunnel that is replaced before the gateway's cutoff and after a
 * cut: the session goes on, and only connections that are open at a cut are reset. Clients of one pod and identity share
 * their tunnel. Forms that nobody knows are carried byte for byte.
 */
export async function relayPortForward(tools: RelayTools, call: UpgradeCall): Promise<void> {
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  try {
    const form = formOf(tools, call);
    if (form === undefined) {
      await relayUpgrade(tools, call);
      return;
    }
    const book = books.get(tools) ?? new TunnelBook(tools);
    books.set(tools, book);
    const signal = AbortSignal.any([call.signal, clientGone.signal]);
    const client = {
      served: call.served,
      target: withoutPorts(call.target),
      headers: call.request.rawHeaders,
      session: call.session,
      log: call.log,
    };
    const joined = await askForStream(tools, call, {
      api,
      signal,
      ask: async () => {
        const tried = await book.join(client, signal);
        return tried.kind === 'refused' ? refusedAnswer(tried.response) : tried;
      },
    });
    if (joined.kind === 'refused') {
      const { status, body, judged } = joined;
      const usedUp = judged.verdict.kind === 'answer' && judged.verdict.code === 'stream-quota';
      if (form.rawIfRefused && !usedUp && (status === 400 || status === 403)) {
        body.destroy();
        await relayUpgrade(tools, call);
        return;
      }
      await relayRefusal(call, api, joined);
      return;
    }
    const { lease } = joined;
    try {
      const { clock } = tools;
      const startedAt = clock.monotonic();
      const { reason, connections } = await form.serve({ lease, clock, log: call.log, signal: call.signal });
      call.session.end(reason);
      const ms = Math.round(clock.monotonic() - startedAt);
      call.log.info({ kind: api.kind, reason, ms, connections }, 'stream ended');
    } finally {
      lease.release();
    }
  } catch (error) {
    if (!clientGone.signal.aborted) failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

/** Undefined for a form that is not known. Throws a CodedError where SPDY is asked for in a version that is none. */
function formOf(tools: RelayTools, call: UpgradeCall): Form | undefined {
  const headers = call.request.rawHeaders;
  const { clock } = tools;
  if (asksForSpdy(headers)) {
    const protocol = chooseStreamProtocol(headers, [SPDY_STREAM_PROTOCOL]);
    return {
      rawIfRefused: false,
      serve: (options) => {
        switchToSpdy(call.socket, protocol);
        return serveSpdyFront(options, (handlers) =>
          spdyOverSocket({ socket: call.socket, head: call.head, clock }, handlers),
        );
      },
    };
  }
  const offered = headerTokens(headers, 'sec-websocket-protocol');
  if (offered.includes(TUNNEL_PROTOCOL)) {
    return {
      rawIfRefused: false,
      serve: async (options) => {
        const socket = acceptWebSocket(call, TUNNEL_PROTOCOL);
        if (socket === undefined) return MALFORMED;
        return serveSpdyFront(options, (handlers) => spdyOverWebSocket({ socket, clock }, handlers));
      },
    };
  }
  const name = offered.find((candidate) => CHANNEL_PROTOCOLS.includes(candidate));
  const protocol: RemoteProtocol | undefined = name === undefined ? undefined : chooseRemoteProtocol([name]);
  if (protocol === undefined) return undefined;
  const ports = forwardedPorts(call.target, protocol.base64);
  if (ports === undefined) return undefined;
  return {
    rawIfRefused: true,
    serve: async (options) => {
      const socket = acceptWebSocket(call, protocol.name);
      if (socket === undefined) return MALFORMED;
      return serveChannelFront(options, { socket, protocol, ports });
    },
  };
}
