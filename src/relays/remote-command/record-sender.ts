import type { WebSocket } from 'ws';

/** One is written at once, the next by itself when that is done; those behind it leave together, in the same TLS record. */
const APART = 2;

/**
 * Node puts what waits behind a write into one TLS record. A client that asks `poll` of the connection before it reads one
 * message, as the Python client does, sees the first of such a record only, and the others when the next record comes, which
 * after a command's last words is never. So a record follows: the close frame, or a pong that nobody asked for (RFC 6455
 * 5.5.3). An API server writes each message for itself.
 */
export class RecordSender {
  readonly #socket: WebSocket;
  #underWay = 0;
  #shared = false;
  #close: (() => void) | undefined;
  #whenIdle: (() => void)[] = [];

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.once('close', () => this.#tellIdle());
  }

  send(data: Buffer | string, onSent: () => void): void {
    this.#underWay++;
    this.#shared ||= this.#underWay > APART;
    this.#socket.send(data, () => {
      onSent();
      this.#underWay--;
      if (this.#underWay === 0) this.#onWritten();
    });
  }

  /** After all that was sent, in a record of its own. */
  close(code: number, reason?: Buffer | string): void {
    this.#close ??= () => this.#socket.close(code, reason);
    if (this.#underWay === 0) this.#close();
  }

  /** Resolves when all is written, be it that the client has left. */
  idle(): Promise<void> {
    if (this.#underWay === 0 || this.#socket.readyState === this.#socket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #onWritten(): void {
    if (this.#close !== undefined) this.#close();
    else if (this.#shared && this.#socket.readyState === this.#socket.OPEN) this.#socket.pong();
    this.#shared = false;
    this.#tellIdle();
  }

  #tellIdle(): void {
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}
