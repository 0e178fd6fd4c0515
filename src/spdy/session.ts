import { CodedError } from '../base/errors.js';
import { SpdyDecoder } from './decode.js';
import { dataHead, goAwayFrame, pingFrame, rstStreamFrame, SpdyEncoder } from './encode.js';
import type { SpdyFrame, SpdyHeaders } from './frame.js';
import { GOAWAY, LIMIT, RESET, spdyError } from './frame.js';
import type { StreamLink } from './stream.js';
import { SpdyStream } from './stream.js';

/** A peer reads a whole DATA frame before it hands it on; twice what kubectl sends is plenty. */
const DATA_FRAME_BYTES = 64 * 1024;
/** Answers (PING, RST_STREAM) that wait for a peer that does not read; an honest one has a ping every 5 s outstanding. */
const MAX_UNREAD_ANSWERS = 1024;

/** The transport under a session, and who is told of its life. */
export interface SpdySessionOptions {
  /** Who opens the transport: the client's streams and pings have odd ids, the server's even ones. */
  readonly role: 'client' | 'server';
  /**
   * Sends a frame, of one part or of a head and a payload that need not be joined in memory. False: the transport is full; say
   * `transportDrained` when it is not any more.
   */
  write(frame: readonly Uint8Array[]): boolean;
  /** Reading from the transport should stop, because the consumer of at least one stream is blocked. */
  pause(): void;
  /** No stream is blocked any more. */
  resume(): void;
  /** The peer opens a stream: `consume` and `accept` it, or `refuse` it. Without this, all are refused. */
  onStream?(stream: SpdyStream): void;
  /** The peer will open no more streams; those that live go on. */
  onGoAway?(status: number): void;
  /** The answer to a `ping` of ours. */
  onPong?(id: number): void;
  /** Once. `error` names the rule that the peer broke; undefined after `end()`. The transport should be closed. */
  onEnd?(error: CodedError | undefined): void;
}

/** SPDY/3.1 without flow control, as Kubernetes speaks it: bytes in, streams and bytes out. */
export class SpdySession {
  readonly #options: SpdySessionOptions;
  readonly #decoder: SpdyDecoder;
  readonly #encoder = new SpdyEncoder();
  readonly #link: StreamLink;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #blocked = new Set<SpdyStream>();
  /** Streams whose write met a full transport, first come first served. */
  readonly #wantDrain = new Set<SpdyStream>();
  readonly #peerParity: 0 | 1;
  #nextStreamId: number;
  #nextPingId: number;
  #lastPeerStreamId = 0;
  #full = false;
  #unreadAnswers = 0;
  #peerGoesAway = false;
  #weGoAway = false;
  #ended = false;

  constructor(options: SpdySessionOptions) {
    this.#options = options;
    this.#peerParity = options.role === 'server' ? 1 : 0;
    this.#nextStreamId = options.role === 'server' ? 2 : 1;
    this.#nextPingId = this.#nextStreamId;
    this.#decoder = new SpdyDecoder((frame) => this.#receive(frame));
    this.#link = {
      reply: (streamId, headers) => void this.#write(this.#encoder.synReply({ streamId, headers })),
      data: (stream, payload, fin) => this.#data(stream, payload, fin),
      reset: (streamId, status) => void this.#write(rstStreamFrame({ streamId, status })),
      block: (stream) => this.#block(stream),
      unblock: (stream) => this.#unblock(stream),
      closed: (stream) => {
        this.#streams.delete(stream.id);
        this.#wantDrain.delete(stream);
      },
    };
  }

  /** Streams that are not closed on both sides. */
  get liveStreams(): number {
    return this.#streams.size;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes of the peer, in any fragmentation. Bad ones end the session. */
  receive(bytes: Uint8Array): void {
    if (this.#ended) return;
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.goAway(GOAWAY.protocolError);
      this.#finish(error);
    }
  }

  /** The transport that answered false can take more. */
  transportDrained(): void {
    this.#full = false;
    this.#unreadAnswers = 0;
    for (const stream of [...this.#wantDrain]) {
      if (this.#full || this.#ended) return;
      this.#wantDrain.delete(stream);
      stream.drained();
    }
  }

  /**
   * Opens a stream. Wait for `onReply` before sending: Go's side drops what comes earlier.
   * Throws a CodedError when the session has ended, goes away, or has `LIMIT.liveStreams`.
   */
  openStream(headers: SpdyHeaders): SpdyStream {
    if (this.#ended || this.#peerGoesAway) throw spdyError('going-away', 'the peer takes no new streams');
    if (this.#streams.size >= LIMIT.liveStreams) {
      throw spdyError('stream-count', `the connection has ${LIMIT.liveStreams} live streams`);
    }
    const id = this.#nextStreamId;
    this.#nextStreamId += 2;
    const stream = new SpdyStream({ id, headers, link: this.#link, local: true });
    this.#streams.set(id, stream);
    this.#write(this.#encoder.synStream({ streamId: id, headers }));
    return stream;
  }

  /** Sends a PING; `onPong` gets the id that is given back. */
  ping(): number {
    const id = this.#nextPingId;
    this.#nextPingId += 2;
    this.#write(pingFrame(id));
    return id;
  }

  /** Tells the peer to open no more streams. */
  goAway(status: number = GOAWAY.ok): void {
    if (this.#weGoAway || this.#ended) return;
    this.#weGoAway = true;
    this.#write(goAwayFrame({ lastStreamId: this.#lastPeerStreamId, status }));
  }

  /** The transport is gone, or is to be: every live stream's consumer is told. Nothing is sent. */
  end(): void {
    this.#finish(undefined);
  }

  #finish(error: CodedError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#decoder.stop();
    for (const stream of [...this.#streams.values()]) stream.receiveReset(undefined);
    this.#options.onEnd?.(error);
  }

  #receive(frame: SpdyFrame): void {
    if (this.#ended) return;
    switch (frame.type) {
      case 'syn-stream':
        this.#receiveStream(frame);
        break;
      case 'syn-reply':
        this.#streams.get(this.#ours(frame.streamId))?.receiveReply(frame.headers);
        if (frame.fin) this.#receiveData(frame.streamId, Buffer.alloc(0), true);
        break;
      case 'headers':
        // Kubernetes gives later headers no meaning; only the end that may come with them has one.
        if (frame.fin) this.#receiveData(frame.streamId, Buffer.alloc(0), true);
        break;
      case 'data':
        this.#receiveData(frame.streamId, frame.chunk, frame.fin);
        break;
      case 'rst-stream':
        this.#streams.get(frame.streamId)?.receiveReset(frame.status);
        break;
      case 'ping':
        if (frame.id % 2 === this.#peerParity) this.#answer(pingFrame(frame.id));
        else this.#options.onPong?.(frame.id);
        break;
      case 'goaway':
        this.#peerGoesAway = true;
        this.#options.onGoAway?.(frame.status);
        break;
      case 'ignored':
        break;
    }
  }

  #receiveStream(frame: Extract<SpdyFrame, { type: 'syn-stream' }>): void {
    const { streamId } = frame;
    if (streamId % 2 !== this.#peerParity) {
      throw spdyError('stream-id', `the peer opened stream ${streamId}, an id of our own side`);
    }
    if (streamId <= this.#lastPeerStreamId) {
      throw spdyError('stream-id', `the peer opened stream ${streamId} after stream ${this.#lastPeerStreamId}`);
    }
    this.#lastPeerStreamId = streamId;
    const refused = this.#weGoAway || this.#options.onStream === undefined || this.#streams.size >= LIMIT.liveStreams;
    if (refused || frame.unidirectional) {
      const status = refused ? RESET.refusedStream : RESET.protocolError;
      this.#answer(rstStreamFrame({ streamId, status }));
      return;
    }
    const stream = new SpdyStream({ id: streamId, headers: frame.headers, link: this.#link, local: false });
    this.#streams.set(streamId, stream);
    this.#options.onStream?.(stream);
    if (frame.fin) stream.receive(Buffer.alloc(0), true);
  }

  #receiveData(streamId: number, chunk: Buffer, fin: boolean): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      const known =
        streamId % 2 === this.#peerParity ? streamId <= this.#lastPeerStreamId : streamId < this.#nextStreamId;
      if (!known) throw spdyError('stream-id', `the peer sent data of stream ${streamId}, which was never opened`);
      // Data that was on its way when the stream was reset.
      return;
    }
    if (stream.receive(chunk, fin)) return;
    stream.reset(RESET.streamAlreadyClosed);
    this.#countAnswer();
  }

  /** A SYN_REPLY is only right for a stream that we opened; any other id finds none. */
  #ours(streamId: number): number {
    return streamId % 2 === this.#peerParity ? 0 : streamId;
  }

  #data(stream: SpdyStream, payload: Uint8Array, fin: boolean): boolean {
    const streamId = stream.id;
    let at = 0;
    do {
      const part = payload.subarray(at, at + DATA_FRAME_BYTES);
      at += part.length;
      const head = dataHead({ streamId, bytes: part.length, fin: fin && at === payload.length });
      if (part.length > 0) this.#write(head, part);
      else this.#write(head);
    } while (at < payload.length);
    if (this.#full) this.#wantDrain.add(stream);
    return !this.#full;
  }

  /** A frame that the peer provokes: it must not be able to make us hold many by not reading. */
  #answer(bytes: Buffer): void {
    this.#write(bytes);
    this.#countAnswer();
  }

  #countAnswer(): void {
    if (!this.#full) this.#unreadAnswers = 0;
    else if (++this.#unreadAnswers > MAX_UNREAD_ANSWERS) {
      throw spdyError('unread-answers', 'the peer provokes answers without reading them');
    }
  }

  #write(...frame: Uint8Array[]): void {
    if (this.#ended) return;
    if (!this.#options.write(frame)) this.#full = true;
  }

  #block(stream: SpdyStream): void {
    if (this.#blocked.has(stream)) return;
    this.#blocked.add(stream);
    if (this.#blocked.size === 1) this.#options.pause();
  }

  #unblock(stream: SpdyStream): void {
    if (this.#blocked.delete(stream) && this.#blocked.size === 0) this.#options.resume();
  }
}
