import { randomFillSync } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

const KEY_BYTES = 4;
const FIN_AND_BINARY = 0x82;
const MASKED = 0x80;

interface Carrier {
  readonly socket: Duplex;
  /** As RFC 6455 asks of a client. */
  readonly masks: boolean;
}

const carriers = new WeakMap<WebSocket, Carrier>();

/** Tells which connection a WebSocket is carried by; it speaks without compression, so that `ws` writes whole frames only. */
export function carriedBy(webSocket: WebSocket, carrier: Carrier): void {
  carriers.set(webSocket, carrier);
}

/**
 * As `webSocket.send` of `parts` in one binary message, written to its connection as a frame of ours: `ws` wants the parts
 * joined, and masks byte by byte, which was a third of what it cost to carry stdin. `done` is called as by `send`.
 */
export function sendBinary(webSocket: WebSocket, parts: readonly Uint8Array[], done: () => void): void {
  const carrier = carriers.get(webSocket);
  if (carrier === undefined || webSocket.readyState !== webSocket.OPEN) {
    webSocket.send(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), { binary: true }, done);
  } else if (carrier.masks) {
    carrier.socket.write(maskedFrame(parts, nextKey()), done);
  } else {
    writeTogether(carrier.socket, [frameHead(bytesOf(parts)), ...parts], done);
  }
}

/** One message as its subprotocol has it: bytes, or text. */
export function sendMessage(webSocket: WebSocket, message: Uint8Array | string, done: () => void): void {
  if (typeof message === 'string') webSocket.send(message, done);
  else sendBinary(webSocket, [message], done);
}

/** One write to the connection where it may go at once, without a copy of the parts. */
export function writeTogether(socket: Duplex, parts: readonly Uint8Array[], done: () => void): void {
  socket.cork();
  for (const [index, part] of parts.entries()) socket.write(part, index === parts.length - 1 ? done : undefined);
  socket.uncork();
}

/** A whole binary message in one masked frame (RFC 6455 5.2 and 5.3). `key` has four bytes. */
export function maskedFrame(parts: readonly Uint8Array[], key: Uint8Array): Buffer {
  const payloadBytes = bytesOf(parts);
  const head = frameHead(payloadBytes);
  const start = head.length + KEY_BYTES;
  const frame = Buffer.allocUnsafe(start + payloadBytes);
  frame.set(head);
  frame.writeUInt8((head[1] as number) | MASKED, 1);
  frame.set(key, head.length);
  let at = start;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  mask(frame, start, key);
  return frame;
}

function frameHead(payloadBytes: number): Buffer {
  if (payloadBytes < 126) return Buffer.of(FIN_AND_BINARY, payloadBytes);
  if (payloadBytes <= 0xffff) {
    const head = Buffer.of(FIN_AND_BINARY, 126, 0, 0);
    head.writeUInt16BE(payloadBytes, 2);
    return head;
  }
  const head = Buffer.of(FIN_AND_BINARY, 127, 0, 0, 0, 0, 0, 0, 0, 0);
  head.writeUIntBE(payloadBytes, 4, 6);
  return head;
}

/** In place, from `start` to the end, by whole words where memory has them. */
function mask(bytes: Buffer, start: number, key: Uint8Array): void {
  const wordStart = Math.min(
    bytes.length,
    start + ((KEY_BYTES - ((bytes.byteOffset + start) % KEY_BYTES)) % KEY_BYTES),
  );
  const words = Math.floor((bytes.length - wordStart) / KEY_BYTES);
  const wordEnd = wordStart + words * KEY_BYTES;
  maskBytes(bytes, { start, from: start, to: wordStart }, key);
  if (words > 0) {
    const turned = Uint8Array.from(key, (_byte, index) => key[(wordStart - start + index) % KEY_BYTES] as number);
    const word = new Int32Array(turned.buffer)[0] as number;
    const view = new Int32Array(bytes.buffer, bytes.byteOffset + wordStart, words);
    for (let i = 0; i < words; i++) (view[i] as number) ^= word;
  }
  maskBytes(bytes, { start, from: wordEnd, to: bytes.length }, key);
}

function maskBytes(bytes: Buffer, o: { start: number; from: number; to: number }, key: Uint8Array): void {
  for (let at = o.from; at < o.to; at++) {
    (bytes[at] as number) ^= key[(at - o.start) % KEY_BYTES] as number;
  }
}

const keys = Buffer.alloc(8 * 1024);
let nextKeyAt = keys.length;

/** RFC 6455 10.3: nobody may foresee it. */
function nextKey(): Uint8Array {
  if (nextKeyAt === keys.length) {
    randomFillSync(keys);
    nextKeyAt = 0;
  }
  nextKeyAt += KEY_BYTES;
  return keys.subarray(nextKeyAt - KEY_BYTES, nextKeyAt);
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
