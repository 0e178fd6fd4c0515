import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.js';

const RESET_LAG_MS = 10;

/**
 * Calls `fn` a little later, for a RST behind the last byte: libuv tells a client that finds both at once of an orderly
 * end, which no client on a real network would see. A client in this process gets a turn of its own, however late the
 * timer is.
 */
export function afterLag(clock: Clock, fn: () => void, ms = 0): void {
  clock.after(ms + RESET_LAG_MS, () => setImmediate(fn));
}

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
    const tcp = this.#byPeer.get(peerOf(socket));
    // Its client has left in the same instant.
    if (tcp === undefined || tcp.destroyed) socket.destroy();
    else resetUnlessEnding(tcp, socket);
  }

  /** Ends TCP in order but says nothing above it: no TLS close_notify, no WebSocket close frame. */
  endTcp(socket: Socket): void {
    // With what was left unread the system would send a RST; so it goes on being read, into nothing.
    socket.removeAllListeners('data').on('data', () => {});
    this.#tcpOf(socket).end();
  }

  /** Both for a connection that HTTP/2 holds, whose socket may not be touched, and which may have ended with another stream. */
  resetBelow(socket: Socket): void {
    const tcp = this.#byPeer.get(peerOf(socket));
    if (tcp !== undefined) resetUnlessEnding(tcp, socket);
  }

  endTcpBelow(socket: Socket): void {
    const tcp = this.#byPeer.get(peerOf(socket));
    // Each call would wait for the last bytes with a listener of its own.
    if (tcp?.writable) tcp.destroySoon();
  }

  closeAll(): void {
    for (const tcp of this.#byPeer.values()) tcp.destroy();
  }

  #tcpOf(socket: Socket): Socket {
    return this.#byPeer.get(peerOf(socket)) ?? socket;
  }
}

/** libuv resets nothing that is being shut down, and Node takes that for done: the socket would never be closed. */
function resetUnlessEnding(tcp: Socket, above: Socket): void {
  const isEnding = [tcp, above].some(({ writableEnded, writableFinished }) => writableEnded && !writableFinished);
  if (isEnding) tcp.destroy();
  else tcp.resetAndDestroy();
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localPort}`;
}
