import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import { CodedError } from '../../base/errors.js';
import type { RemoteProtocol } from '../../kubernetes/remote-command.js';
import { CHANNEL, channelMessage, closeMessage } from '../../kubernetes/remote-command.js';
import type { RemoteSession } from '../../kubernetes/remote-session.js';
import { RESET } from '../../spdy/frame.js';
import { SpdySession } from '../../spdy/session.js';
import type { SpdyStream } from '../../spdy/stream.js';
import { writeTogether } from '../binary-message.js';
import { switchToSpdy } from '../spdy-upgrade.js';
import type { RemoteCommandClient, RemoteCommandClientHandlers } from './client.js';
import { HIGH_WATER_BYTES } from './held-input.js';

/** As long as a kubelet waits for the streams that the query asks for. */
export const STREAM_CREATION_TIMEOUT_MS = 30_000;
/** How long a client may take to read what was sent before the end, say behind `| less`. */
const LINGER_MS = 60 * 60 * 1000;
/** For the last bytes to a client that is about to leave. */
const LAST_WORDS_MS = 30_000;
/** A size is some 30 bytes of JSON; what is longer without an end of line is passed on as it is. */
const MAX_SIZE_BYTES = 1024;

const CHANNEL_OF_TYPE: ReadonlyMap<string, number> = new Map([
  ['error', CHANNEL.error],
  ['stdin', CHANNEL.stdin],
  ['stdout', CHANNEL.stdout],
  ['stderr', CHANNEL.stderr],
  ['resize', CHANNEL.resize],
]);

export interface SpdyCommandClientOptions {
  readonly socket: Duplex;
  /** What was read behind the head of the request. */
  readonly head: Buffer;
  readonly protocol: RemoteProtocol;
  readonly remote: RemoteSession;
  readonly clock: Clock;
}

/** A client over SPDY/3.1, with a stream for each channel. Answers 101 at once; wait for `ready`. */
export class SpdyCommandClient implements RemoteCommandClient {
  readonly protocol: RemoteProtocol;
  /** A stream ends by itself in every version. */
  readonly canHalfClose = true;
  /** Resolves once all streams are there that the query asks for; rejects when they do not come. */
  readonly ready: Promise<void>;
  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #session: SpdySession;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #missing: Set<number>;
  readonly #early: Buffer[] = [];
  #earlyBytes = 0;
  #unfinishedSize: Buffer = Buffer.alloc(0);
  #handlers: RemoteCommandClientHandlers | undefined;
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #cancelTimer: () => void = () => {};
  #cancelLinger: () => void = () => {};
  #paused = false;
  #blocked = false;
  #open = true;
  #over = false;
  #closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(o: SpdyCommandClientOptions) {
    this.protocol = o.protocol;
    this.#socket = o.socket;
    this.#clock = o.clock;
    this.#missing = new Set(expectedChannels(o.remote, o.protocol));
    this.#session = new SpdySession({
      role: 'server',
      write: (frame) => {
        if (!this.#socket.writable) return true;
        writeTogether(this.#socket, frame, () => this.#sent());
        return this.bufferedAmount < HIGH_WATER_BYTES;
      },
      pause: () => this.#block(true),
      resume: () => this.#block(false),
      onStream: (stream) => this.#adopt(stream),
      onEnd: (error) => {
        if (error !== undefined) this.#tellError(error);
        this.#finish(error === undefined ? 1000 : 1002, error?.code ?? '');
      },
    });
    switchToSpdy(o.socket, o.protocol.name);
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#cancelTimer = o.clock.after(STREAM_CREATION_TIMEOUT_MS, () => this.giveUp(timedOut(this.#missing)));
    o.socket.on('data', (chunk: Buffer) => {
      // Once ended, what the client still says has no reader; it must be read all the same, or its end is never seen.
      if (this.#open) this.#session.receive(chunk);
    });
    o.socket.on('end', () => this.#finish(1000, 'client ended the connection'));
    o.socket.on('error', (error) => this.#tellError(error));
    o.socket.on('close', () => this.#finish(1006, ''));
    if (o.head.length > 0) this.#session.receive(o.head);
    this.#flow();
  }

  get isOpen(): boolean {
    return this.#open && this.#socket.writable;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get bufferedAmount(): number {
    return this.#socket.writableLength;
  }

  listen(handlers: RemoteCommandClientHandlers): void {
    this.#handlers = handlers;
    for (const message of this.#early.splice(0)) handlers.onMessage(message);
    this.#earlyBytes = 0;
    if (this.#closed !== undefined) handlers.onClose(this.#closed.code, Buffer.from(this.#closed.reason));
    else if (!this.#paused) this.#resumeStreams();
  }

  send(message: Buffer): void {
    const channel = message[0];
    // What the client never opened it does not want, be it a channel of its version or not.
    if (channel !== undefined) this.#streams.get(channel)?.write(message.subarray(1));
  }

  /** It has made its streams before anything can be sent. */
  async handedOn(): Promise<void> {}

  pause(): void {
    this.#paused = true;
    this.#flow();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#resumeStreams();
    this.#flow();
  }

  /** SPDY clients do not mind: one ping of theirs waits, however long. */
  keepAlive(): void {}

  /** Ends the streams and the connection after what was sent; the client's own end follows. */
  close(): void {
    if (!this.#open) return;
    for (const stream of this.#streams.values()) stream.end();
    this.#open = false;
    this.#cancelTimer();
    this.#cancelLinger = this.#clock.after(LINGER_MS, () => this.#socket.destroy());
    this.#socket.end();
    this.#paused = false;
    this.#blocked = false;
    this.#flow();
  }

  #adopt(stream: SpdyStream): void {
    const channel = CHANNEL_OF_TYPE.get(stream.header('streamtype') ?? '');
    if (channel === undefined || this.#streams.has(channel)) {
      stream.refuse(RESET.refusedStream);
      return;
    }
    this.#streams.set(channel, stream);
    stream.accept();
    stream.consume({
      onData: (chunk) => this.#receive(channel, chunk),
      onEnd: () => {
        if (channel === CHANNEL.stdin) this.#tell(closeMessage(CHANNEL.stdin));
      },
      // The client does not want this channel any more; the others go on.
      onReset: () => {},
    });
    this.#missing.delete(channel);
    if (this.#missing.size > 0) return;
    this.#cancelTimer();
    this.#settle?.resolve();
  }

  #receive(channel: number, chunk: Buffer): boolean {
    // Nothing is said on a server's own channels.
    if (channel === CHANNEL.stdin) this.#tell(channelMessage(channel, chunk));
    else if (channel === CHANNEL.resize) this.#receiveSize(chunk);
    return !this.#paused && this.#earlyBytes < HIGH_WATER_BYTES;
  }

  /** Whole lines of JSON: the last one is said again to another upstream, and a part of it would be no size. */
  #receiveSize(chunk: Buffer): void {
    const said = Buffer.concat([this.#unfinishedSize, chunk]);
    const end = said.length > MAX_SIZE_BYTES ? said.length : said.lastIndexOf('\n') + 1;
    this.#unfinishedSize = said.subarray(end);
    if (end > 0) this.#tell(channelMessage(CHANNEL.resize, said.subarray(0, end)));
  }

  #tell(message: Buffer): void {
    if (this.#handlers !== undefined) {
      this.#handlers.onMessage(message);
      return;
    }
    // Streams are opened one by one: the first may speak before the last is there.
    this.#early.push(message);
    this.#earlyBytes += message.length;
  }

  #tellError(error: Error): void {
    this.#handlers?.onError(error);
  }

  #resumeStreams(): void {
    for (const stream of this.#streams.values()) stream.resume();
  }

  #block(blocked: boolean): void {
    this.#blocked = blocked;
    this.#flow();
  }

  #flow(): void {
    if (this.#paused || this.#blocked) this.#socket.pause();
    else this.#socket.resume();
  }

  #sent(): void {
    if (this.#over || this.bufferedAmount >= HIGH_WATER_BYTES) return;
    this.#session.transportDrained();
    this.#handlers?.onDrain();
  }

  /** Rejects `ready` where it is not settled yet. */
  giveUp(error: Error): void {
    this.#settle?.reject(error);
  }

  #finish(code: number, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#open = false;
    this.#cancelTimer();
    this.#cancelLinger();
    this.#closed = { code, reason };
    this.#session.end();
    this.#socket.end();
    if (!this.#socket.destroyed) {
      const cancel = this.#clock.after(LAST_WORDS_MS, () => this.#socket.destroy());
      this.#socket.once('close', cancel);
    }
    this.giveUp(new Error('the client is gone'));
    this.#handlers?.onClose(code, Buffer.from(reason));
  }
}

/** The streams that a server of this version waits for. */
function expectedChannels(remote: RemoteSession, protocol: RemoteProtocol): number[] {
  const channels: number[] = [CHANNEL.error];
  if (remote.stdin) channels.push(CHANNEL.stdin);
  if (remote.stdout) channels.push(CHANNEL.stdout);
  if (remote.stderr && !remote.tty) channels.push(CHANNEL.stderr);
  const resizes = !['v2.channel.k8s.io', 'channel.k8s.io'].includes(protocol.name);
  if (remote.tty && resizes) channels.push(CHANNEL.resize);
  return channels;
}

function timedOut(missing: ReadonlySet<number>): CodedError {
  const types = [...CHANNEL_OF_TYPE].filter(([, channel]) => missing.has(channel)).map(([type]) => type);
  return new CodedError({
    code: 'remote-command-streams-missing',
    message: `timed out waiting for the client to create its streams: ${types.join(', ')} did not come within ${STREAM_CREATION_TIMEOUT_MS / 1000} s`,
    answer: { status: 408, reason: 'Timeout' },
  });
}
