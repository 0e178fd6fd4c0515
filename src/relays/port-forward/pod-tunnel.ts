import type { RawData, WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import { CodedError, describeError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Wakes } from '../../base/wake.js';
import { LIMIT } from '../../spdy/frame.js';
import { SpdySession } from '../../spdy/session.js';
import type { SpdyStream } from '../../spdy/stream.js';
import { sendBinary } from '../binary-message.js';
import { Pulse } from '../remote-command/pulse.js';

const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 4;
/** Two streams each; with room for those that are being closed. */
const MAX_CONNECTIONS = LIMIT.liveStreams / 2 - 8;
/** A tunnel that a slow reader has held up for this long takes no new connections, which go to another one. */
export const STALLED_MS = 5000;
const WELL_AFTER_MS = 1000;
/** A slow reader may hold up connections of other clients for this long; then its own is reset. */
export const GIVE_UP_MS = 30_000;

/** The two upstream streams of one connection. */
export interface TunnelPair {
  readonly error: SpdyStream;
  readonly data: SpdyStream;
  /** The reader of `data` holds the tunnel up, or does so no more. */
  blocked(blocked: boolean): void;
  /** Called when it must go, for the sake of other clients. */
  onGiveUp(listener: () => void): void;
  /** Resets what is left of both streams. */
  reset(): void;
  /** It counts no more; call once both streams are closed. */
  release(): void;
}

export interface PodTunnelOptions {
  /** Open, and paused. */
  readonly upstream: WebSocket;
  readonly clock: Clock;
  readonly wakes: Wakes;
  readonly log: Logger;
  /** It takes no new connections any more: full, stalled, or told so by its peer. Those that are open go on. */
  onUnfit(why: string): void;
  /** Once. `cut` unless it was closed from this side. */
  onEnd(end: { readonly cut: boolean; readonly detail: string }): void;
}

interface Connection {
  readonly client: object;
  cancelTimer: () => void;
  giveUp: () => void;
}

/** One WebSocket to a pod with SPDY inside, shared by the connections of any number of clients. */
export class PodTunnel {
  readonly #o: PodTunnelOptions;
  readonly #session: SpdySession;
  readonly #pulse: Pulse;
  readonly #openedAt: number;
  readonly #connections = new Set<Connection>();
  #nextRequestId = 0;
  #full = false;
  #cancelFullTimer: () => void = () => {};
  #unfit = false;
  #retired = false;
  #heard = false;
  #closing = false;

  constructor(options: PodTunnelOptions) {
    this.#o = options;
    const { upstream, clock, wakes } = options;
    this.#openedAt = clock.monotonic();
    this.#session = new SpdySession({
      role: 'client',
      write: (frame) => this.#write(frame),
      pause: () => upstream.pause(),
      resume: () => upstream.resume(),
      onGoAway: () => this.#becomeUnfit('the pod takes no more connections on this tunnel'),
      onEnd: (error) => {
        // 1002: the peer broke the protocol.
        if (error !== undefined) upstream.close(1002, error.code);
      },
    });
    this.#pulse = new Pulse({ clock, wakes, client: { keepAlive: () => {} } });
    this.#pulse.follow(upstream);
    upstream.on('message', (data: RawData) => {
      this.#pulse.heard();
      this.#heard = true;
      this.#session.receive(data as Buffer);
    });
    upstream.on('error', (error) => options.log.debug({}, `gateway: ${describeError(error)}`));
    upstream.once('close', (code, reason) => this.#closed(code, reason));
    upstream.resume();
  }

  get ageMs(): number {
    return this.#o.clock.monotonic() - this.#openedAt;
  }

  get fit(): boolean {
    return !this.#unfit && !this.#retired && !this.#closing && !this.#session.ended;
  }

  /** It has carried something, or stayed for a while. */
  get wasWell(): boolean {
    return this.#heard || this.ageMs >= WELL_AFTER_MS;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Throws a CodedError where it is not `fit`. `client` tells whose connection it is. */
  open(client: object, port: number): TunnelPair {
    if (!this.fit) {
      throw new CodedError({ code: 'tunnel-unfit', message: 'the tunnel to the pod takes no more connections' });
    }
    // Never used twice on a tunnel: the kubelet pairs the streams by it.
    const requestid = String(this.#nextRequestId++);
    const headers = (streamtype: string): [string, string][] => [
      ['streamtype', streamtype],
      ['port', String(port)],
      ['requestid', requestid],
    ];
    const error = this.#session.openStream(headers('error'));
    const data = this.#session.openStream(headers('data'));
    const connection: Connection = { client, cancelTimer: () => {}, giveUp: () => {} };
    this.#connections.add(connection);
    if (this.#connections.size >= MAX_CONNECTIONS) this.#becomeUnfit('it has all the connections it can take');
    return {
      error,
      data,
      blocked: (blocked) => this.#connectionBlocked(connection, blocked),
      onGiveUp: (listener) => {
        connection.giveUp = listener;
      },
      reset: () => {
        data.reset();
        error.reset();
      },
      release: () => {
        connection.cancelTimer();
        this.#connections.delete(connection);
        this.#closeIfDone();
      },
    };
  }

  /** No new connections; it closes when the last one has ended. */
  retire(): void {
    this.#retired = true;
    this.#closeIfDone();
  }

  /** Ends it at once, with all that is on it. */
  close(code = 1000): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#session.goAway();
    this.#o.upstream.resume();
    this.#o.upstream.close(code);
    this.#session.end();
  }

  #closeIfDone(): void {
    if (this.#retired && this.#connections.size === 0) this.close();
  }

  #closed(code: number, reason: Buffer): void {
    this.#pulse.stop();
    this.#cancelFullTimer();
    const cut = !this.#closing;
    this.#closing = true;
    for (const connection of this.#connections) connection.cancelTimer();
    const said = reason.length > 0 ? `: ${reason.toString('utf8')}` : '';
    this.#o.onEnd({ cut, detail: `close ${code}${said}` });
    // Tells every connection, after it is known that they cannot go on here.
    this.#session.end();
  }

  #write(frame: readonly Uint8Array[]): boolean {
    const { upstream } = this.#o;
    if (upstream.readyState !== upstream.OPEN) return true;
    for (const part of frame) this.#pulse.sent(part.length);
    sendBinary(upstream, frame, () => {
      if (!this.#full || upstream.bufferedAmount > LOW_WATER_BYTES) return;
      this.#full = false;
      this.#cancelFullTimer();
      this.#session.transportDrained();
    });
    if (!this.#full && upstream.bufferedAmount > HIGH_WATER_BYTES) {
      this.#full = true;
      this.#cancelFullTimer = this.#o.clock.after(STALLED_MS, () =>
        this.#becomeUnfit('the pod does not read what is sent to it'),
      );
    }
    return !this.#full;
  }

  #becomeUnfit(why: string): void {
    if (this.#unfit || this.#closing) return;
    this.#unfit = true;
    this.#o.onUnfit(why);
  }

  #connectionBlocked(connection: Connection, blocked: boolean): void {
    connection.cancelTimer();
    if (!blocked) return;
    const { clock } = this.#o;
    connection.cancelTimer = clock.after(STALLED_MS, () => {
      this.#becomeUnfit('a client does not read what comes from the pod');
      this.#giveUpLater(connection, GIVE_UP_MS - STALLED_MS);
    });
  }

  /** Alone on its tunnel a client may be as slow as it likes. */
  #giveUpLater(connection: Connection, ms: number): void {
    connection.cancelTimer = this.#o.clock.after(ms, () => {
      const shared = [...this.#connections].some(({ client }) => client !== connection.client);
      if (shared) connection.giveUp();
      else this.#giveUpLater(connection, GIVE_UP_MS);
    });
  }
}
