import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';

/** One connection that somebody has made to a `RawGateway`. */
export class RawConnection {
  readonly socket: Socket;
  #text = '';
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('close', () => this.#wake());
  }

  /** Resolves with all that has come since the last call, as soon as it matches. */
  async received(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#text)) {
      if (this.socket.destroyed) throw new Error(`closed without ${pattern}: ${JSON.stringify(this.#text)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** A request's head without a body. */
  head(): Promise<string> {
    return this.received(/\r\n\r\n$/);
  }

  write(text: string): void {
    this.socket.write(text, 'latin1');
  }

  async closed(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, 'close');
  }
}

/** A gateway that speaks by the byte: what arrives is seen as it came, what is answered is whatever a test writes. */
export class RawGateway {
  readonly connections: RawConnection[] = [];
  readonly #server: Server;
  #wake: () => void = () => {};

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.connections.push(new RawConnection(socket));
      this.#wake();
    });
  }

  static async start(t: Test): Promise<RawGateway> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const gateway = new RawGateway(server);
    t.teardown(() => {
      server.close();
      for (const { socket } of gateway.connections) socket.destroy();
    });
    return gateway;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The n-th connection (from 0), when it has been made. */
  async connection(n: number): Promise<RawConnection> {
    for (;;) {
      const connection = this.connections[n];
      if (connection !== undefined) return connection;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
