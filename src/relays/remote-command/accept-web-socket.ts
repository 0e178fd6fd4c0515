import type { IncomingMessage } from 'node:http';
import type { ServerOptions, WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import type { UpgradeCall } from '../relay-upgrade.js';
import { MAX_MESSAGE_BYTES } from '../remote-command-upstream.js';

/** How long a client may take to read what was sent before the close, say behind `| less`; `ws` cuts it off after 30 s. */
const CLOSE_TIMEOUT_MS = 60 * 60 * 1000;

// `closeTimeout` is younger than the types.
const OPTIONS: ServerOptions & { closeTimeout: number } = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  closeTimeout: CLOSE_TIMEOUT_MS,
  // Chosen per connection, after upstream; see `acceptWebSocket`.
  handleProtocols: (_offered, request) => chosenProtocol.get(request) ?? false,
};
const acceptor = new WebSocketServer(OPTIONS);
const chosenProtocol = new WeakMap<IncomingMessage, string>();

/** `ws` does it synchronously, or answers 400 to a malformed handshake itself. */
export function acceptWebSocket(call: UpgradeCall, protocol: string): WebSocket {
  chosenProtocol.set(call.request, protocol);
  let accepted: WebSocket | undefined;
  acceptor.handleUpgrade(call.request, call.socket, call.head, (client) => {
    accepted = client;
  });
  if (accepted === undefined) throw new Error('the WebSocket handshake of the client is malformed');
  return accepted;
}
