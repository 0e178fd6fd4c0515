import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ServerOptions, WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import type { WireAnswer } from '../../base/errors.js';
import { CodedError } from '../../base/errors.js';
import { failureStatus, statusOfError } from '../../kubernetes/status.js';

/** Clients send at most 32 KiB a message; others of the protocol family were seen with 8 MiB. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Why an upgrade is refused, as a Status: kubectl prints its message. */
export class Refusal extends CodedError {
  constructor(status: number, reason: string, message: string) {
    const answer: WireAnswer = { status, reason };
    super({ code: 'emulator-upgrade-refused', message, answer });
    this.name = 'Refusal';
  }
}

/** Answers an upgrade with a plain HTTP answer whose body is the error's Status, and closes. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const status =
    error instanceof Refusal
      ? failureStatus({ code: error.answer.status, reason: error.answer.reason, message: error.message })
      : statusOfError(error);
  const code = status.code ?? 500;
  const body = `${JSON.stringify(status)}\n`;
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? 'Error'}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** The subprotocols that the client offers, in its order. */
export function offeredProtocols(request: IncomingMessage): string[] {
  const header = request.headers['sec-websocket-protocol'] ?? '';
  return header.split(',').flatMap((name) => (name.trim() === '' ? [] : [name.trim()]));
}

/** How long a client may take to read what was sent before the close, say behind `| less`; `ws` cuts it off after 30 s. */
const CLOSE_TIMEOUT_MS = 60 * 60 * 1000;

// `closeTimeout` is younger than the types.
const OPTIONS: ServerOptions & { closeTimeout: number } = {
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  closeTimeout: CLOSE_TIMEOUT_MS,
};
const server = new WebSocketServer(OPTIONS);
/** What a handshake is answered with; `ws` itself would not let the tunnel's name pass, in either direction. */
const chosen = new WeakMap<IncomingMessage, string>();
server.on('headers', (headers: string[], request: IncomingMessage) => {
  const protocol = chosen.get(request);
  if (protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
});

/** Answers 101 with `protocol` (none when undefined) and hands over the WebSocket; a bad handshake is answered here. */
export function acceptWebSocket(
  upgrade: { request: IncomingMessage; socket: Duplex; head: Buffer; signal: AbortSignal },
  protocol: string | undefined,
  onOpen: (socket: WebSocket) => void,
): void {
  const { request, socket, head, signal } = upgrade;
  if (protocol !== undefined) chosen.set(request, protocol);
  delete request.headers['sec-websocket-protocol'];
  server.handleUpgrade(request, socket, head, (webSocket) => {
    const cut = (): void => webSocket.terminate();
    signal.addEventListener('abort', cut, { once: true });
    webSocket.once('close', () => signal.removeEventListener('abort', cut));
    // `close` follows and says all there is to say.
    webSocket.on('error', () => {});
    onOpen(webSocket);
    if (signal.aborted) cut();
  });
}
