import { SpdyDecoder } from '../../src/spdy/decode.js';
import { CONTROL, FRAME_HEADER_BYTES, type SpdyFrame } from '../../src/spdy/frame.js';
import type { Conversation } from './capture.js';

export interface WebSocketFrame {
  readonly opcode: number;
  readonly fin: boolean;
  readonly payload: Buffer;
  /** Where it starts, in bytes. */
  readonly start: number;
}

/** The frames of one direction of a WebSocket, unmasked; what is not whole at the end is left out. */
export function webSocketFrames(bytes: Buffer): WebSocketFrame[] {
  const frames: WebSocketFrame[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const start = at;
    const first = bytes.readUInt8(at);
    const second = bytes.readUInt8(at + 1);
    const short = second & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskBytes = (second & 0x80) === 0 ? 0 : 4;
    at += 2 + lengthBytes + maskBytes;
    if (at > bytes.length) break;
    const length =
      lengthBytes === 0 ? short : bytes.readUIntBE(start + 2 + Math.max(0, lengthBytes - 6), Math.min(6, lengthBytes));
    if (at + length > bytes.length) break;
    const mask = bytes.subarray(at - maskBytes, at);
    const payload = Buffer.from(bytes.subarray(at, at + length));
    if (maskBytes > 0) for (let i = 0; i < length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0);
    at += length;
    frames.push({ opcode: first & 0x0f, fin: (first & 0x80) !== 0, payload, start });
  }
  return frames;
}

/** The bytes that a WebSocket's data frames carry, as one stream. */
export function carried(bytes: Buffer): Buffer {
  return Buffer.concat(webSocketFrames(bytes).flatMap(({ opcode, payload }) => (opcode <= 2 ? [payload] : [])));
}

/** SPDY frames of one direction. */
export function spdyFrames(bytes: Buffer): SpdyFrame[] {
  const frames: SpdyFrame[] = [];
  const decoder = new SpdyDecoder((frame) =>
    frames.push(frame.type === 'data' ? { ...frame, chunk: Buffer.from(frame.chunk) } : frame),
  );
  decoder.push(bytes);
  return frames;
}

/** An unmasked frame with a whole message, as a server sends it. */
export function serverFrame(opcode: number, payload: Buffer): Buffer {
  const long = payload.length > 125;
  const head = Buffer.alloc(long ? 4 : 2);
  head.writeUInt8(0x80 | opcode);
  head.writeUInt8(long ? 126 : payload.length, 1);
  if (long) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

/** The bytes of a client's SPDY before its first reset or GOAWAY. */
function spdyBeforeLeave(bytes: Buffer): number {
  let at = 0;
  while (at + FRAME_HEADER_BYTES <= bytes.length) {
    const isControl = (bytes.readUInt8(at) & 0x80) !== 0;
    const type = bytes.readUInt16BE(at + 2);
    if (isControl && (type === CONTROL.rstStream || type === CONTROL.goAway)) return at;
    at += FRAME_HEADER_BYTES + bytes.readUIntBE(at + 5, 3);
  }
  return bytes.length;
}

/** How much a recorded client said behind its head before it ended the conversation: by resets, a GOAWAY or a close frame. */
export function lengthBeforeLeave(recorded: Conversation): number {
  const bytes = recorded.rest('client');
  if (recorded.header('client', 'upgrade')[0] === 'SPDY/3.1') return spdyBeforeLeave(bytes);
  const isTunnel = recorded.header('server', 'sec-websocket-protocol')[0]?.startsWith('SPDY/3.1+') === true;
  let spdyLeft = isTunnel ? spdyBeforeLeave(carried(bytes)) : Number.POSITIVE_INFINITY;
  for (const { opcode, payload, start } of webSocketFrames(bytes)) {
    if (opcode === 8 || (opcode <= 2 && spdyLeft <= 0)) return start;
    if (opcode <= 2) spdyLeft -= payload.length;
  }
  return bytes.length;
}
