import type { Socket } from 'node:net';

/**
 * Between the last byte and a RST: libuv tells a client that finds both at once of an orderly end, which no client on a
 * real network would see.
 */
export const RESET_LAG_MS = 10;

/** The TCP connections below the servers, found again from the TLS sockets above them. */
export class Connections {
  readonly #byPeer = new Map<string, Socket>();

  add(tcp: Socket): void {
    const peer = peerOf(tcp);
    this.#byPeer.set(peer, tcp);
    tcp.on('error', () => {});
    tcp.once('close', () => {
      if (this.#byPeer.get(peer) === tcp) this.#byPeer.delete(peer);
    });
  }

  /** Ends the connection with a TCP RST. What the client's system has received already can still be read there. */
  reset(socket: Socket): void {
    const tcp = this.#tcpOf(socket);
    if (tcp.destroyed) socket.destroy();
    else tcp.resetAndDestroy();
  }

  /** Ends TCP in order but says nothing above it: no TLS close_notify, no WebSocket close frame. */
  endTcp(socket: Socket): void {
    // With what was left unread the system would send a RST; so it goes on being read, into nothing.
    socket.removeAllListeners('data').on('data', () => {});
    this.#tcpOf(socket).end();
  }

  /** The same for a connection whose socket may only be read by HTTP/2. */
  endTcpBelow(socket: Socket): void {
    this.#tcpOf(socket).destroySoon();
  }

  closeAll(): void {
    for (const tcp of this.#byPeer.values()) tcp.destroy();
  }

  #tcpOf(socket: Socket): Socket {
    return this.#byPeer.get(peerOf(socket)) ?? socket;
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localPort}`;
}
