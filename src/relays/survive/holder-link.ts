import { WebSocket } from 'ws';
import { describeError } from '../../base/errors.js';
import type { RemoteProtocol } from '../../kubernetes/remote-command.js';
import { CHANNEL, fromBinaryMessage, toBinaryMessage } from '../../kubernetes/remote-command.js';
import { protocolOf } from '../remote-command/client.js';
import { HolderDecoder, type HolderFrame, holderWords } from './holder-frames.js';

/** A client's own messages are no longer than this. */
const MESSAGE_BYTES = 64 * 1024;

/** How an exec call of ours ended. */
export interface LinkEnd {
  /** As in a WebSocket's close event. */
  readonly code: number;
  readonly reason: string;
  /** What came on the error channel: how our own program ended, or why it could not be started. */
  readonly status?: string;
  /** What was said was not a holder's. */
  readonly error?: Error;
}

export interface LinkHandlers {
  /** Whenever something has come, whatever it was. */
  onHeard?(): void;
  onFrame(frame: HolderFrame): void;
  /** Once; no frame follows. */
  onEnd(end: LinkEnd): void;
}

/** The WebSocket of one exec call, as a way to speak to the program that it runs. */
export class HolderLink {
  readonly upstream: WebSocket;
  readonly #protocol: RemoteProtocol;
  readonly #decoder = new HolderDecoder();
  #handlers: LinkHandlers | undefined;
  #early: HolderFrame[] = [];
  #status: string | undefined;
  #error: Error | undefined;
  #end: LinkEnd | undefined;

  /** `upstream` is open and paused. */
  constructor(upstream: WebSocket) {
    this.upstream = upstream;
    this.#protocol = protocolOf(upstream.protocol);
    upstream.on('message', (data) => this.#receive(data as Buffer));
    upstream.on('error', (error) => {
      this.#error ??= error;
    });
    upstream.on('close', (code, reason) => {
      this.#end = {
        code,
        reason: reason.toString('utf8'),
        ...(this.#status === undefined ? {} : { status: this.#status }),
        ...(this.#error === undefined ? {} : { error: this.#error }),
      };
      this.#tell();
    });
  }

  /** From here on these are told, beginning with what nobody has been told yet. Undefined: it all waits. */
  listen(handlers: LinkHandlers | undefined): void {
    this.#handlers = handlers;
    if (handlers === undefined) {
      this.upstream.pause();
      return;
    }
    this.#tell();
    if (this.#handlers === handlers) this.upstream.resume();
  }

  get bufferedAmount(): number {
    return this.upstream.bufferedAmount;
  }

  send(words: Buffer): void {
    if (this.upstream.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < words.length; at += MESSAGE_BYTES) {
      const part = words.subarray(at, at + MESSAGE_BYTES);
      this.upstream.send(fromBinaryMessage(this.#protocol, Buffer.concat([Buffer.of(CHANNEL.stdin), part])), () => {});
    }
  }

  /** Nobody listens any more, and nothing is waited for. */
  leave(lingerSeconds: number): void {
    this.send(holderWords.leave(lingerSeconds));
    this.close();
  }

  /** The other side is asked to close, and given the time that `ws` gives it. */
  close(): void {
    this.#handlers = undefined;
    this.upstream.resume();
    this.upstream.close(1000);
  }

  terminate(): void {
    this.upstream.terminate();
  }

  #receive(data: Buffer): void {
    this.#handlers?.onHeard?.();
    try {
      const message = toBinaryMessage(this.#protocol, data);
      if (message.length <= 1) return;
      if (message[0] === CHANNEL.error) this.#status = message.toString('utf8', 1);
      if (message[0] === CHANNEL.stdout) this.#early.push(...this.#decoder.stdout(message.subarray(1)));
      if (message[0] === CHANNEL.stderr) this.#early.push(...this.#decoder.stderr(message.subarray(1)));
    } catch (error) {
      this.#error ??= error instanceof Error ? error : new Error(describeError(error));
      this.terminate();
      return;
    }
    this.#tell();
  }

  #tell(): void {
    for (;;) {
      // A handler may put another in its place.
      const handlers = this.#handlers;
      if (handlers === undefined) return;
      const frame = this.#early.shift();
      if (frame === undefined) break;
      handlers.onFrame(frame);
    }
    const end = this.#end;
    if (end === undefined) return;
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.onEnd(end);
  }
}
