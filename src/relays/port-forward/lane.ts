import type { SpdyStreamHandlers } from '../../spdy/stream.js';

/** What a forwarded connection needs of a stream; SpdyStream is one, a numbered channel is made into one. */
export interface ForwardStream {
  readonly closed: boolean;
  consume(handlers: SpdyStreamHandlers): void;
  write(payload: Uint8Array): boolean;
  end(): void;
  reset(status?: number): void;
  resume(): void;
}

/** The two streams of one forwarded connection. */
export interface StreamPair {
  readonly data: ForwardStream;
  /** Any byte here makes kubectl quit. */
  readonly error: ForwardStream;
}

/**
 * How much one direction of one connection may hold back before its whole transport is paused: SPDY has no flow control
 * here, so the short pauses of one reader should not be everybody's.
 */
export const HELD_BYTES = 256 * 1024;

/** One direction of a connection: bytes from a stream to another, which may not be there yet. */
export class Lane {
  readonly #source: ForwardStream;
  readonly #onBlocked: (blocked: boolean) => void;
  readonly #held: Buffer[] = [];
  #heldBytes = 0;
  #sink: ForwardStream | undefined;
  #sinkFull = false;
  #blocked = false;
  #ended = false;
  #over = false;
  #onFlushed: (() => void) | undefined;

  constructor(options: {
    source: ForwardStream;
    /** Its source is held up by the sink, or is so no more. */
    onBlocked?: (blocked: boolean) => void;
  }) {
    this.#source = options.source;
    this.#onBlocked = options.onBlocked ?? (() => {});
  }

  /** The source has said all. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Nothing is held. */
  get idle(): boolean {
    return this.#held.length === 0;
  }

  /** The answer of the source's `onData`. */
  push(chunk: Buffer): boolean {
    if (this.#over) return true;
    if (this.#sink !== undefined && !this.#sinkFull) {
      this.#sinkFull = !this.#sink.write(chunk);
      return true;
    }
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes < HELD_BYTES) return true;
    this.#block(true);
    return false;
  }

  end(): void {
    this.#ended = true;
    this.#flush();
  }

  attach(sink: ForwardStream): void {
    this.#sink = sink;
    this.#flush();
  }

  sinkDrained(): void {
    this.#sinkFull = false;
    this.#flush();
  }

  /** Calls once all that the source said, its end too, is with the sink; at once where that is so. */
  whenFlushed(done: () => void): void {
    if (this.#over) {
      done();
      return;
    }
    this.#onFlushed = done;
    this.#flush();
  }

  /** What is held is dropped, and the source is not held up by it any more. */
  drop(): void {
    this.#over = true;
    this.#held.length = 0;
    this.#heldBytes = 0;
    this.#onFlushed = undefined;
    this.#block(false);
  }

  #flush(): void {
    const sink = this.#sink;
    if (sink === undefined || this.#over) return;
    while (!this.#sinkFull) {
      const chunk = this.#held.shift();
      if (chunk === undefined) break;
      this.#heldBytes -= chunk.length;
      this.#sinkFull = !sink.write(chunk);
    }
    if (this.#heldBytes < HELD_BYTES / 2) this.#block(false);
    if (!this.#ended || this.#held.length > 0) return;
    sink.end();
    const done = this.#onFlushed;
    this.#over = true;
    this.#onFlushed = undefined;
    done?.();
  }

  #block(blocked: boolean): void {
    if (this.#blocked === blocked) return;
    this.#blocked = blocked;
    this.#onBlocked(blocked);
    if (!blocked) this.#source.resume();
  }
}
