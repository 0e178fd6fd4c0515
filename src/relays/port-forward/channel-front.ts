import type { RawData, WebSocket } from 'ws';
import type { RemoteProtocol } from '../../kubernetes/remote-command.js';
import { joinChannelMessage, splitChannelMessage } from '../../kubernetes/remote-command.js';
import type { SpdyStreamHandlers } from '../../spdy/stream.js';
import { ForwardedConnection } from './forwarded-connection.js';
import type { ForwardStream } from './lane.js';
import { closeWebSocket } from './local-transport.js';
import type { FrontEnd, FrontOptions } from './spdy-front.js';
import { parsePort } from './spdy-front.js';

const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 4;
/** Two channels a port, and a channel has one byte, or one digit in the base64 forms. */
const MAX_PORTS = { binary: 128, base64: 5 };

/** The `ports` of the query, repeated or separated by commas; undefined where they are not what a kubelet takes. */
export function forwardedPorts(target: string, base64: boolean): number[] | undefined {
  const mark = target.indexOf('?');
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  const texts = query.getAll('ports').flatMap((value) => value.split(','));
  const ports = texts.flatMap((text) => parsePort(text.trim()) ?? []);
  const max = base64 ? MAX_PORTS.base64 : MAX_PORTS.binary;
  return ports.length > 0 && ports.length === texts.length && ports.length <= max ? ports : undefined;
}

/** The target as a tunnel's, which names its ports later. */
export function withoutPorts(target: string): string {
  const mark = target.indexOf('?');
  if (mark === -1) return target;
  const kept = target
    .slice(mark + 1)
    .split('&')
    .filter((part) => part !== '' && !/^ports(?:=|$)/.test(part));
  return kept.length === 0 ? target.slice(0, mark) : `${target.slice(0, mark)}?${kept.join('&')}`;
}

/**
 * A client of numbered channels: one connection a port, on channels 2i (data) and 2i+1 (error), each opened by the port
 * in two bytes, little endian. Resolves when its session has ended: by close 1000 when the pod's side of all has ended; by
 * 1011 as soon as one was cut, for the form has no other way to tell that a connection is dead, and at the end of all where
 * the pod has reset one without a word on its error channel.
 */
export function serveChannelFront(
  options: FrontOptions,
  client: { readonly socket: WebSocket; readonly protocol: RemoteProtocol; readonly ports: readonly number[] },
): Promise<FrontEnd> {
  return new Promise((resolve) => {
    const { lease, clock, log, signal } = options;
    const { socket, protocol, ports } = client;
    let open = 2 * ports.length;
    const resetByPod = new Set<Channel>();
    let full = false;
    let ending: string | undefined;
    const paused = new Set<Channel>();

    const close = (code: number, reason: string): void => {
      if (ending !== undefined) return;
      ending = reason;
      closeWebSocket(socket, clock, { code, reason: code === 1000 ? '' : reason });
    };
    const onAbort = (): void => close(1001, signal.reason instanceof Error ? signal.reason.message : 'ended');
    signal.addEventListener('abort', onAbort, { once: true });
    lease.onGone((reason) => close(1011, reason));

    const send = (channel: number, payload: Uint8Array): boolean => {
      if (socket.readyState !== socket.OPEN) return true;
      const message = joinChannelMessage(protocol, channel, payload);
      socket.send(message, { binary: !protocol.base64 }, () => {
        if (!full || socket.bufferedAmount > LOW_WATER_BYTES) return;
        full = false;
        for (const stream of channels) if (!full) stream.drained();
      });
      full ||= socket.bufferedAmount > HIGH_WATER_BYTES;
      return !full;
    };
    const makeChannel = (number: number, hooks: Pick<ChannelHooks, 'onEnd' | 'onReset'>): Channel => {
      const channel: Channel = new Channel({
        ...hooks,
        send: (payload) => send(number, payload),
        onPaused(isPaused) {
          if (isPaused) paused.add(channel);
          else paused.delete(channel);
          if (paused.size > 0) socket.pause();
          else socket.resume();
        },
      });
      return channel;
    };
    // A kubelet ends the data stream before it says on the error stream why, or resets it after that, as its runtime has it.
    const channelEnded = (): void => {
      if (--open > 0) return;
      const untold = pairs.filter(({ data, error }) => resetByPod.has(data) && !error.hasWritten);
      if (untold.length === 0) close(1000, 'the pod has ended its side');
      else close(1011, `the pod has reset the connection to port ${untold.map(({ port }) => port).join(', ')}`);
    };
    const pairs = ports.map((port, index) => {
      const data: Channel = makeChannel(2 * index, {
        onEnd: () => {
          // The form has no half-close: without ours the pod would wait for the client's.
          data.finish();
          channelEnded();
        },
        onReset: (status) => {
          if (status === undefined) {
            close(1011, 'the connection to the pod was cut by Connect gateway');
            return;
          }
          // The other ports have nothing to do with it.
          resetByPod.add(data);
          channelEnded();
        },
      });
      return { port, data, error: makeChannel(2 * index + 1, { onEnd: channelEnded, onReset: channelEnded }) };
    });
    const channels = pairs.flatMap(({ data, error }) => [data, error]);

    socket.on('error', () => {});
    socket.on('message', (raw: RawData) => {
      if (ending !== undefined) return;
      try {
        const { channel, payload } = splitChannelMessage(protocol, raw as Buffer);
        // Error channels are ours to write to; half-close does not exist in this form.
        if (channel % 2 === 0 && payload.length > 0) channels[channel]?.receive(payload);
      } catch {
        // 1007: a message that is not what the subprotocol says.
        close(1007, 'the message does not fit its subprotocol');
      }
    });
    socket.once('close', () => {
      signal.removeEventListener('abort', onAbort);
      for (const channel of channels) channel.gone();
      resolve({ reason: ending ?? 'client closed', connections: ports.length });
    });
    for (const [index, { port, data, error }] of pairs.entries()) {
      const opening = Buffer.alloc(2);
      opening.writeUInt16LE(port);
      send(2 * index, opening);
      send(2 * index + 1, opening);
      new ForwardedConnection({ local: { data, error }, port, lease, clock, log, onOver: () => {} });
    }
    if (signal.aborted) onAbort();
  });
}

interface ChannelHooks {
  send(payload: Uint8Array): boolean;
  onPaused(paused: boolean): void;
  onEnd(): void;
  /** `status`: the pod's side has reset it; undefined: it was cut. */
  onReset(status: number | undefined): void;
}

/** One channel as a stream. */
class Channel implements ForwardStream {
  readonly #hooks: ChannelHooks;
  readonly #waiting: Buffer[] = [];
  #handlers: SpdyStreamHandlers | undefined;
  #blocked = false;
  #hasWritten = false;
  #ended = false;
  #dead = false;

  constructor(hooks: ChannelHooks) {
    this.#hooks = hooks;
  }

  get closed(): boolean {
    return this.#dead;
  }

  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  consume(handlers: SpdyStreamHandlers): void {
    this.#handlers = handlers;
  }

  write(payload: Uint8Array): boolean {
    if (this.#dead || this.#ended) return true;
    this.#hasWritten = true;
    return this.#hooks.send(payload);
  }

  end(): void {
    if (this.#dead || this.#ended) return;
    this.#ended = true;
    this.#hooks.onEnd();
  }

  reset(status?: number): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#unblock();
    if (!this.#ended) this.#hooks.onReset(status);
  }

  resume(): void {
    if (!this.#blocked || this.#dead) return;
    this.#unblock();
    while (!this.#blocked) {
      const payload = this.#waiting.shift();
      if (payload === undefined) return;
      this.receive(payload);
    }
  }

  receive(payload: Buffer): void {
    if (this.#dead || this.#handlers === undefined) return;
    if (this.#blocked) {
      // Messages that were read before the pause took hold.
      this.#waiting.push(payload);
    } else if (!this.#handlers.onData(payload)) {
      this.#blocked = true;
      this.#hooks.onPaused(true);
    }
  }

  drained(): void {
    if (!this.#dead) this.#handlers?.onDrain?.();
  }

  /** As if the client had said that it has no more to say. */
  finish(): void {
    this.#waiting.length = 0;
    this.#unblock();
    this.#handlers?.onEnd();
  }

  /** The client is gone. */
  gone(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#unblock();
    this.#handlers?.onReset(undefined);
  }

  #unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#hooks.onPaused(false);
  }
}
