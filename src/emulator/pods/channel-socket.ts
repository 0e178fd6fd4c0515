import type { RawData, WebSocket } from 'ws';
import type { RemoteProtocol, RemoteStatus } from '../../kubernetes/remote-command.js';
import {
  CHANNEL,
  formatRemoteStatus,
  joinChannelMessage,
  splitChannelMessage,
} from '../../kubernetes/remote-command.js';

/** Enough to keep a loopback connection busy, little enough for hundreds of sessions. */
const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 4;

/** A WebSocket as numbered channels, with backpressure in both directions. */
export class ChannelSocket {
  readonly protocol: RemoteProtocol;
  readonly #socket: WebSocket;
  #onDrain: () => void = () => {};
  #onMessage: (channel: number, payload: Buffer) => void = () => {};
  #full = false;
  #finished = false;

  constructor(socket: WebSocket, protocol: RemoteProtocol) {
    this.#socket = socket;
    this.protocol = protocol;
    socket.on('message', (data: RawData) => this.#receive(data));
  }

  /** Called per message, in order, until `finish` or the end of the connection. */
  onMessage(listener: (channel: number, payload: Buffer) => void): void {
    this.#onMessage = listener;
  }

  /** Called when `send` has answered false and there is room again, or nobody to send to. */
  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  /** Called once when the client is gone before `finish`. */
  onGone(listener: () => void): void {
    this.#socket.once('close', () => {
      if (!this.#finished) listener();
    });
  }

  /** False: wait for `onDrain` before more. After the client is gone, bytes are dropped and the answer is true. */
  send(channel: number, payload: Uint8Array): boolean {
    if (this.#socket.readyState !== this.#socket.OPEN) return true;
    this.#socket.send(joinChannelMessage(this.protocol, channel, payload), () => this.#sent());
    if (this.#socket.bufferedAmount > HIGH_WATER_BYTES) this.#full = true;
    return !this.#full;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The Status on the error channel, then close 1000. */
  finish(status: RemoteStatus): void {
    const payload = formatRemoteStatus(this.protocol, status);
    if (payload !== undefined) this.send(CHANNEL.error, payload);
    this.close(1000);
  }

  close(code: number, reason?: string): void {
    if (this.#finished) return;
    this.#finished = true;
    // The client's own close frame must be read.
    this.#socket.resume();
    this.#socket.close(code, reason);
  }

  #sent(): void {
    if (!this.#full) return;
    const open = this.#socket.readyState === this.#socket.OPEN;
    if (open && this.#socket.bufferedAmount > LOW_WATER_BYTES) return;
    this.#full = false;
    this.#onDrain();
  }

  #receive(data: RawData): void {
    if (this.#finished) return;
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
    try {
      const { channel, payload } = splitChannelMessage(this.protocol, bytes);
      this.#onMessage(channel, payload);
    } catch (error) {
      // 1007: a message that is not what the subprotocol says.
      this.close(1007, error instanceof Error ? error.message.slice(0, 120) : undefined);
    }
  }
}
