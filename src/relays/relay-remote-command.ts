import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { headerTokens } from '../base/flat-headers.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { failUpgrade, relayRefusal, relayUpgrade, type UpgradeCall } from './relay-upgrade.js';
import { RemoteCommandSession } from './remote-command/session.js';
import { type Dialled, dialRemoteCommand, MAX_MESSAGE_BYTES } from './remote-command-upstream.js';
import type { RelayTools } from './served-membership.js';

const acceptor = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  // Replaced per connection by what upstream has chosen; see `accept`.
  handleProtocols: (_offered, request) => chosenProtocol.get(request) ?? false,
});
const chosenProtocol = new WeakMap<IncomingMessage, string>();

/** exec and attach over WebSocket, message by message. Upstream is asked first; its choice of subprotocol is the client's. */
export async function relayRemoteCommand(tools: RelayTools, call: UpgradeCall): Promise<void> {
  const offered = headerTokens(call.request.rawHeaders, 'sec-websocket-protocol');
  // Without an offer the API server chooses a subprotocol all the same, which `ws` rightly refuses: carry it raw.
  if (offered.length === 0) return relayUpgrade(tools, call);
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  try {
    const signal = AbortSignal.any([call.signal, clientGone.signal]);
    const upstreamCall = { served: call.served, target: call.target, headers: call.request.rawHeaders };
    const dialled = await dialRemoteCommand(tools, upstreamCall, offered, signal);
    if (dialled.kind === 'refused') {
      await relayRefusal(call, api, {
        kind: 'refused',
        status: dialled.response.statusCode ?? 502,
        headers: dialled.response.rawHeaders,
        body: dialled.response,
      });
      return;
    }
    const client = accept(call, dialled.upstream.protocol);
    const redial = (over: AbortSignal): Promise<Dialled> =>
      dialRemoteCommand(tools, upstreamCall, [client.protocol], AbortSignal.any([signal, over]));
    await new RemoteCommandSession({ tools, call, api, client, upstream: dialled.upstream, redial }).ended;
  } catch (error) {
    if (!clientGone.signal.aborted) failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

/** Answers 101 with upstream's subprotocol. `ws` does it synchronously, or answers 400 to a malformed handshake itself. */
function accept(call: UpgradeCall, protocol: string): WebSocket {
  chosenProtocol.set(call.request, protocol);
  let accepted: WebSocket | undefined;
  acceptor.handleUpgrade(call.request, call.socket, call.head, (client) => {
    accepted = client;
  });
  if (accepted === undefined) throw new Error('the WebSocket handshake of the client is malformed');
  return accepted;
}
