import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import { SpdySession } from '../../spdy/session.js';
import type { SpdyStream } from '../../spdy/stream.js';
import { sendBinary, writeTogether } from '../binary-message.js';

/** Enough to keep a loopback connection busy, little enough for hundreds of sessions. */
const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 4;
/** How long a client may take to read its last bytes before its connection goes all the same. */
const LAST_WORDS_MS = 5000;

/** A client's SPDY session, whatever it is carried by. */
export interface LocalTransport {
  /** GOAWAY, then the end of the connection; `reason` where the carrier can say one. */
  close(reason: string): void;
}

export interface LocalHandlers {
  onStream(stream: SpdyStream): void;
  /** Once, whichever side has ended it. */
  onEnd(reason: string): void;
}

/** SPDY on the bare socket of an `Upgrade: SPDY/3.1`. */
export function spdyOverSocket(
  carrier: { readonly socket: Duplex; readonly head: Buffer; readonly clock: Clock },
  handlers: LocalHandlers,
): LocalTransport {
  const { socket, head, clock } = carrier;
  let full = false;
  const write = (frame: readonly Uint8Array[]): boolean => {
    if (!socket.writable) return true;
    // Node's own mark of 16 KiB would stop and start for every frame.
    writeTogether(socket, frame, () => {
      if (!full || socket.writableLength > LOW_WATER_BYTES) return;
      full = false;
      session.transportDrained();
    });
    full ||= socket.writableLength > HIGH_WATER_BYTES;
    return !full;
  };
  const session = new SpdySession({
    role: 'server',
    write,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    onStream: (stream) => handlers.onStream(stream),
    onEnd(error) {
      leave(socket, clock);
      handlers.onEnd(error?.message ?? 'client closed');
    },
  });
  socket.on('error', () => {});
  socket.once('end', () => session.end());
  socket.once('close', () => session.end());
  if (head.length > 0) session.receive(head);
  socket.on('data', (chunk: Buffer) => session.receive(chunk));
  return {
    close() {
      session.goAway();
      session.end();
    },
  };
}

/** What is written may leave; what the client still says is read and dropped, so that its own end is seen. */
function leave(socket: Duplex, clock: Clock): void {
  if (socket.destroyed) return;
  const cancel = clock.after(LAST_WORDS_MS, () => socket.destroy());
  socket.once('close', cancel);
  socket.resume();
  socket.end(() => socket.destroy());
}

/** SPDY inside the binary messages of a WebSocket: a byte stream, whose messages need not be whole frames. */
export function spdyOverWebSocket(
  carrier: { readonly socket: WebSocket; readonly clock: Clock },
  handlers: LocalHandlers,
): LocalTransport {
  const { socket, clock } = carrier;
  let full = false;
  const write = (frame: readonly Uint8Array[]): boolean => {
    if (socket.readyState !== socket.OPEN) return true;
    sendBinary(socket, frame, () => {
      if (!full || socket.bufferedAmount > LOW_WATER_BYTES) return;
      full = false;
      session.transportDrained();
    });
    full ||= socket.bufferedAmount > HIGH_WATER_BYTES;
    return !full;
  };
  const session = new SpdySession({
    role: 'server',
    write,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    onStream: (stream) => handlers.onStream(stream),
    onEnd(error) {
      // 1002: the client broke the protocol.
      if (error !== undefined) closeWebSocket(socket, clock, { code: 1002, reason: error.code });
      handlers.onEnd(error?.message ?? 'client closed');
    },
  });
  socket.on('error', () => {});
  socket.once('close', () => session.end());
  socket.on('message', (data: RawData) => session.receive(data as Buffer));
  return {
    close(reason) {
      session.goAway();
      closeWebSocket(socket, clock, { code: 1001, reason });
      session.end();
    },
  };
}

/** The close frame after all that was sent; a client that does not answer it is cut off. */
export function closeWebSocket(socket: WebSocket, clock: Clock, how: { code: number; reason: string }): void {
  if (socket.readyState === socket.CLOSED) return;
  const cancel = clock.after(LAST_WORDS_MS, () => socket.terminate());
  socket.once('close', cancel);
  // Its own close frame must be read.
  socket.resume();
  socket.close(how.code, withinCloseFrame(how.reason));
}

/** 123 bytes are all that a close frame has for its reason. */
function withinCloseFrame(reason: string): string {
  let text = reason;
  while (Buffer.byteLength(text) > 123) text = text.slice(0, Math.min(123, text.length - 1));
  return text;
}
