import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { carriedBy } from '../binary-message.js';
import type { UpgradeCall } from '../relay-upgrade.js';
import { MAX_MESSAGE_BYTES } from '../remote-command-upstream.js';

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
});
/** `ws` would not let the tunnel's name pass, because of its slash. */
const chosen = new WeakMap<IncomingMessage, string>();
server.on('headers', (headers: string[], request: IncomingMessage) => {
  const protocol = chosen.get(request);
  if (protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
});

/** Answers 101 with `protocol`. `ws` does it synchronously, or answers 400 to a malformed handshake itself: undefined. */
export function acceptWebSocket({ request, socket, head }: UpgradeCall, protocol: string): WebSocket | undefined {
  chosen.set(request, protocol);
  delete request.headers['sec-websocket-protocol'];
  let accepted: WebSocket | undefined;
  server.handleUpgrade(request, socket, head, (client) => {
    accepted = client;
    carriedBy(client, { socket, masks: false });
  });
  return accepted;
}
