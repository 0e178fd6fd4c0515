import type { SpdyHeaders } from './frame.js';
import { RESET } from './frame.js';

/** What a stream tells its consumer. */
export interface SpdyStreamHandlers {
  /**
   * False: nothing more until `stream.resume()`, which must come later than this call; the session asks the transport to
   * pause meanwhile.
   */
  onData(chunk: Buffer): boolean;
  /** The peer has half-closed: no data follows. */
  onEnd(): void;
  /** The stream is dead in both directions: the peer's RST_STREAM status, or undefined when the session has ended. */
  onReset(status: number | undefined): void;
  /** The transport has room again after a `write` that answered false. */
  onDrain?(): void;
  /** The peer has accepted a stream that we opened. */
  onReply?(headers: SpdyHeaders): void;
}

/** How a stream acts on its session; the session is the only one to make it. */
export interface StreamLink {
  /** SYN_REPLY. */
  reply(streamId: number, headers: SpdyHeaders): void;
  /** DATA; false when the transport is full. */
  data(stream: SpdyStream, payload: Uint8Array, fin: boolean): boolean;
  reset(streamId: number, status: number): void;
  block(stream: SpdyStream): void;
  unblock(stream: SpdyStream): void;
  /** Both directions are done. */
  closed(stream: SpdyStream): void;
}

/** One SPDY stream. What arrives before `consume` or while blocked waits here, while the transport is paused. */
export class SpdyStream {
  readonly id: number;
  /** Of the SYN_STREAM. */
  readonly headers: SpdyHeaders;
  readonly #link: StreamLink;
  readonly #waiting: Buffer[] = [];
  #handlers: SpdyStreamHandlers | undefined;
  #replied: boolean;
  #blocked = false;
  #remoteEnded = false;
  #endTold = false;
  #localEnded = false;
  #dead = false;
  #replyEarly: SpdyHeaders | undefined;
  #resetEarly: { readonly status: number | undefined } | undefined;

  constructor(options: { id: number; headers: SpdyHeaders; link: StreamLink; local: boolean }) {
    this.id = options.id;
    this.headers = options.headers;
    this.#link = options.link;
    this.#replied = options.local;
  }

  /** The value of a header, or undefined. */
  header(name: string): string | undefined {
    return this.headers.find(([key]) => key === name)?.[1];
  }

  get closed(): boolean {
    return this.#dead;
  }

  /** Sends the SYN_REPLY of a stream that the peer opened: before anything else, or the peer drops it. */
  accept(headers: SpdyHeaders = []): void {
    if (this.#replied || this.#dead) return;
    this.#replied = true;
    this.#link.reply(this.id, headers);
  }

  /** Answers a SYN_STREAM with RST_STREAM. */
  refuse(status: number = RESET.refusedStream): void {
    this.reset(status);
  }

  /** Starts the delivery to `handlers`; call once. A reply or a reset that came earlier is told at once. */
  consume(handlers: SpdyStreamHandlers): void {
    this.#handlers = handlers;
    if (this.#replyEarly !== undefined) handlers.onReply?.(this.#replyEarly);
    if (this.#resetEarly !== undefined) handlers.onReset(this.#resetEarly.status);
    else this.#deliver();
  }

  /** False: the transport is full, wait for `onDrain`. Of a dead or ended stream nothing is sent and the answer is true. */
  write(payload: Uint8Array): boolean {
    if (!this.#replied) throw new Error('a SPDY stream must be accepted before it is written to');
    if (this.#dead || this.#localEnded || payload.length === 0) return true;
    return this.#link.data(this, payload, false);
  }

  /** Half-closes our direction. */
  end(): void {
    if (!this.#replied) throw new Error('a SPDY stream must be accepted before it is ended');
    if (this.#dead || this.#localEnded) return;
    this.#localEnded = true;
    this.#link.data(this, new Uint8Array(), true);
    this.#closeIfDone();
  }

  /** Ends both directions at once; what waits is dropped. The consumer is not told. */
  reset(status: number = RESET.cancel): void {
    if (this.#dead) return;
    this.#link.reset(this.id, status);
    this.#die();
  }

  /** The consumer can take more after an `onData` that answered false. */
  resume(): void {
    if (!this.#blocked || this.#dead) return;
    this.#blocked = false;
    this.#deliver();
    if (!this.#blocked) this.#link.unblock(this);
  }

  // What follows is the session's side.

  /** DATA of the peer. False when the peer had ended already. */
  receive(chunk: Buffer, fin: boolean): boolean {
    if (this.#dead) return true;
    if (this.#remoteEnded) return false;
    if (chunk.length > 0) this.#waiting.push(chunk);
    if (fin) this.#remoteEnded = true;
    this.#deliver();
    return true;
  }

  receiveReply(headers: SpdyHeaders): void {
    if (this.#dead) return;
    if (this.#handlers === undefined) this.#replyEarly = headers;
    else this.#handlers.onReply?.(headers);
  }

  drained(): void {
    if (!this.#dead) this.#handlers?.onDrain?.();
  }

  /** RST_STREAM of the peer, or undefined for the end of the session. */
  receiveReset(status: number | undefined): void {
    if (this.#dead) return;
    this.#die();
    if (this.#handlers === undefined) this.#resetEarly = { status };
    else this.#handlers.onReset(status);
  }

  #deliver(): void {
    const handlers = this.#handlers;
    if (handlers === undefined) {
      if (this.#waiting.length > 0) this.#block();
      return;
    }
    while (!this.#blocked && !this.#dead) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) break;
      if (!handlers.onData(chunk)) this.#block();
    }
    if (this.#waiting.length > 0 || this.#dead || !this.#remoteEnded || this.#endTold) return;
    this.#endTold = true;
    handlers.onEnd();
    this.#closeIfDone();
  }

  #block(): void {
    if (this.#blocked || this.#dead) return;
    this.#blocked = true;
    this.#link.block(this);
  }

  #closeIfDone(): void {
    if (!this.#dead && this.#localEnded && this.#endTold) this.#die();
  }

  #die(): void {
    this.#dead = true;
    this.#waiting.length = 0;
    if (this.#blocked) {
      this.#blocked = false;
      this.#link.unblock(this);
    }
    this.#link.closed(this);
  }
}
