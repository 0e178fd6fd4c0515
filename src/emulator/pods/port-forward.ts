import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import { LIMIT, RESET } from '../../spdy/frame.js';
import { SpdySession } from '../../spdy/session.js';
import type { SpdyStream } from '../../spdy/stream.js';
import type { PodNetwork } from './pod-network.js';
import { connectToPod, parsePort } from './pod-network.js';

const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 4;
/** The kubelet's patience for the second stream of a pair. */
const PAIR_TIMEOUT_MS = 30_000;

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
  readonly cancelTimeout: () => void;
}

/** The server side of `SPDY/3.1+portforward.k8s.io`: a pair of streams per forwarded connection, by `requestid`. */
export function servePortForward(options: { socket: WebSocket; network: PodNetwork; clock: Clock }): void {
  const { socket, network, clock } = options;
  const pairs = new Map<string, Pair>();
  let full = false;
  const session = new SpdySession({
    role: 'server',
    write(frame) {
      socket.send(Buffer.concat(frame), () => {
        if (!full || socket.bufferedAmount > LOW_WATER_BYTES) return;
        full = false;
        session.transportDrained();
      });
      full ||= socket.bufferedAmount > HIGH_WATER_BYTES;
      return !full;
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    onStream: receiveStream,
    // 1002: the peer broke the protocol.
    onEnd: (error) => socket.close(error === undefined ? 1000 : 1002, error?.code),
  });
  socket.on('message', (data: RawData) => session.receive(data as Buffer));
  socket.once('close', () => {
    for (const pair of pairs.values()) pair.cancelTimeout();
    session.end();
  });

  function receiveStream(stream: SpdyStream): void {
    const kind = stream.header('streamtype');
    const port = parsePort(stream.header('port'));
    const requestId = stream.header('requestid') ?? '';
    const known = pairs.get(requestId);
    const unpaired = known === undefined && pairs.size >= LIMIT.liveStreams;
    if ((kind !== 'error' && kind !== 'data') || port === undefined || known?.[kind] !== undefined || unpaired) {
      stream.refuse(RESET.cancel);
      return;
    }
    const pair = known ?? newPair(requestId);
    pairs.set(requestId, pair);
    pair[kind] = stream;
    stream.accept();
    if (pair.error === undefined || pair.data === undefined) return;
    pair.cancelTimeout();
    pairs.delete(requestId);
    forward({ network, port, error: pair.error, data: pair.data });
  }

  function newPair(requestId: string): Pair {
    const cancelTimeout = clock.after(PAIR_TIMEOUT_MS, () => {
      const pair = pairs.get(requestId);
      pairs.delete(requestId);
      pair?.error?.reset();
      pair?.data?.reset();
    });
    return { cancelTimeout };
  }
}

/** Joins one pair of streams to one connection into the pod. */
function forward(options: { network: PodNetwork; port: number; error: SpdyStream; data: SpdyStream }): void {
  const { network, port, error, data } = options;
  const socket: Socket | undefined = connectToPod(network, port, {
    onRefused(message) {
      // In the order of a real kubelet. kubectl ends its whole session at such a message.
      data.end();
      error.write(Buffer.from(message));
      error.reset(RESET.cancel);
    },
    onBroken() {
      data.reset(RESET.internalError);
      error.end();
    },
  });
  // The client has nothing to say here and half-closes it at once.
  error.consume({ onData: () => true, onEnd() {}, onReset() {} });
  if (socket === undefined) {
    data.consume({ onData: () => true, onEnd() {}, onReset() {} });
    return;
  }
  data.consume({
    onData: (chunk) => socket.destroyed || socket.write(chunk),
    onEnd: () => socket.end(),
    onReset() {
      socket.destroy();
      error.end();
    },
    onDrain: () => void socket.resume(),
  });
  socket.on('drain', () => data.resume());
  socket.on('data', (chunk) => {
    if (!data.write(chunk)) socket.pause();
  });
  socket.on('end', () => data.end());
  socket.on('close', () => {
    // What the pod did not want to read is dropped, so that nobody waits for it.
    data.resume();
    error.end();
  });
}
