import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import type { RemoteProtocol } from '../../kubernetes/remote-command.js';
import { chooseRemoteProtocol, fromBinaryMessage, toBinaryMessage } from '../../kubernetes/remote-command.js';
import { ClientReadiness } from './client-readiness.js';
import { RecordSender } from './record-sender.js';

export interface RemoteCommandClientHandlers {
  /** A channel byte and its payload, in whatever form they came. */
  onMessage(message: Buffer): void;
  /** Fewer unsent bytes than before. */
  onDrain(): void;
  /** Once. `code` as in a WebSocket's close event. */
  onClose(code: number, reason: Buffer): void;
  onError(error: Error): void;
}

/** Whoever runs the command: messages of a channel byte and a payload, over any transport. */
export interface RemoteCommandClient {
  /** The form of what it is told on its error channel. */
  readonly protocol: RemoteProtocol;
  /** It can end its stdin alone, by the message `ff 00`. */
  readonly canHalfClose: boolean;
  readonly isOpen: boolean;
  readonly isPaused: boolean;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** Starts the delivery; call once. What came before is told first. */
  listen(handlers: RemoteCommandClientHandlers): void;
  send(message: Buffer): void;
  pause(): void;
  resume(): void;
  /** Tells a client that is held back, and so cannot be answered, that this side is alive. */
  keepAlive(): void;
  /** Resolves when all that was sent is on its way, as far as this side can hasten it. */
  handedOn(): Promise<void>;
  /** After all that was sent. Over SPDY there are no codes: the streams end. */
  close(code: number, reason?: Buffer | string): void;
}

/** A client over WebSocket, in any of the subprotocols. */
export class WebSocketCommandClient implements RemoteCommandClient {
  readonly protocol: RemoteProtocol;
  readonly #socket: WebSocket;
  readonly #readiness: ClientReadiness;
  readonly #sender: RecordSender;
  #handlers: RemoteCommandClientHandlers | undefined;
  #closing = false;

  constructor({ socket, clock }: { socket: WebSocket; clock: Clock }) {
    this.#socket = socket;
    this.#readiness = new ClientReadiness({ socket, clock });
    this.#sender = new RecordSender(socket);
    this.protocol = protocolOf(socket.protocol);
  }

  get canHalfClose(): boolean {
    return this.protocol.halfClose;
  }

  get isOpen(): boolean {
    return !this.#closing && this.#socket.readyState === WebSocket.OPEN;
  }

  get isPaused(): boolean {
    return this.#socket.isPaused;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount + this.#readiness.waitingBytes;
  }

  listen(handlers: RemoteCommandClientHandlers): void {
    this.#handlers = handlers;
    this.#socket.on('message', (data) => this.#receive(data as Buffer));
    this.#socket.on('close', (code, reason) => handlers.onClose(code, reason));
    this.#socket.on('error', (error) => handlers.onError(error));
  }

  send(message: Buffer): void {
    this.#readiness.whenReady(() => {
      this.#sender.send(fromBinaryMessage(this.protocol, message), () => this.#handlers?.onDrain());
    }, message.length);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  keepAlive(): void {
    // Without a pong kubectl gives up after a minute.
    if (this.isPaused && this.isOpen) this.#socket.pong();
  }

  async handedOn(): Promise<void> {
    await this.#readiness.nothingWaits();
    await this.#sender.idle();
  }

  close(code: number, reason?: Buffer | string): void {
    this.#closing = true;
    this.#readiness.whenReady(() => this.#sender.close(code, reason));
  }

  #receive(data: Buffer): void {
    let message: Buffer;
    try {
      message = toBinaryMessage(this.protocol, data);
    } catch (error) {
      this.#handlers?.onError(error as Error);
      // Not what the subprotocol says (RFC 6455 7.4.1).
      this.#socket.close(1007);
      return;
    }
    this.#handlers?.onMessage(message);
  }
}

/** A subprotocol of a later day is taken for the plainest of its family. */
export function protocolOf(name: string): RemoteProtocol {
  const plainest = name.includes('base64') ? 'base64.channel.k8s.io' : 'channel.k8s.io';
  const protocol = chooseRemoteProtocol([name, plainest]);
  if (protocol === undefined) throw new Error(`unknown subprotocol ${name}`);
  return protocol;
}

/** Codes that may stand in a close frame (RFC 6455 7.4). */
export function isSendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
}
