import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';

export interface WebSocketEnd {
  readonly webSocket: WebSocket;
  readonly socket: Socket;
}

/** Two ends of one WebSocket over loopback, both of `ws`; `close` ends everything. */
export async function openWebSocketPair(
  options: { /** Before `ws` has the server's connection. */ onUpgrade?: (socket: Duplex) => void } = {},
): Promise<{ client: WebSocketEnd; server: WebSocketEnd; close: () => void }> {
  const acceptor = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const http = createServer();
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<WebSocketEnd>((resolve) => {
    http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      options.onUpgrade?.(socket);
      acceptor.handleUpgrade(request, socket, head, (webSocket) => resolve({ webSocket, socket: socket as Socket }));
    });
  });
  const { port } = http.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, {
    perMessageDeflate: false,
    createConnection: (() => socket) as never,
  });
  await new Promise((resolve, reject) => webSocket.once('open', resolve).once('error', reject));
  const server = await accepted;
  for (const end of [webSocket, server.webSocket]) end.on('error', () => {});
  return {
    client: { webSocket, socket },
    server,
    close: () => {
      socket.destroy();
      server.socket.destroy();
      http.close();
    },
  };
}
