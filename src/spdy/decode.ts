import type { SpdyFrame } from './frame.js';
import { CONTROL, CONTROL_WORD, FLAG, FRAME_HEADER_BYTES, LIMIT, spdyError } from './frame.js';
import { HeaderBlockReader } from './header-block.js';

const ID_MASK = 0x7fffffff;

interface PartialControl {
  readonly type: number;
  readonly flags: number;
  readonly payload: Buffer;
  /** How much of the payload has come. */
  bytes: number;
}

interface PartialData {
  readonly streamId: number;
  left: number;
  readonly fin: boolean;
}

/**
 * Bytes of one direction to frames, in order, whatever the fragmentation. DATA is handed on as it arrives (views of the
 * input, not copies); a control frame is held until it is whole, at most `LIMIT.controlBytes`.
 */
export class SpdyDecoder {
  readonly #headerBlocks = new HeaderBlockReader();
  readonly #onFrame: (frame: SpdyFrame) => void;
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  #headBytes = 0;
  /** The control frame being gathered; undefined within DATA and between frames. */
  #control: PartialControl | undefined;
  #data: PartialData | undefined;
  #stopped = false;

  constructor(onFrame: (frame: SpdyFrame) => void) {
    this.#onFrame = onFrame;
  }

  /** Throws a CodedError for bytes that break a rule; nothing is decoded after that. */
  push(bytes: Uint8Array): void {
    let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
      while (rest.length > 0 && !this.#stopped) rest = this.#take(rest);
    } catch (error) {
      this.#stopped = true;
      throw error;
    }
  }

  /** No frame is told any more, also not of the bytes at hand. */
  stop(): void {
    this.#stopped = true;
  }

  /** Consumes a part of `bytes`, which is not empty, and gives back what is left. */
  #take(bytes: Buffer): Buffer {
    if (this.#data !== undefined) return this.#takeData(bytes, this.#data);
    if (this.#control !== undefined) return this.#takeControl(bytes, this.#control);
    const copied = bytes.copy(this.#head, this.#headBytes);
    this.#headBytes += copied;
    if (this.#headBytes === FRAME_HEADER_BYTES) {
      this.#headBytes = 0;
      this.#startFrame();
    }
    return bytes.subarray(copied);
  }

  #startFrame(): void {
    const word = this.#head.readUInt32BE(0);
    const flags = this.#head.readUInt8(4);
    const length = this.#head.readUIntBE(5, 3);
    if (word <= ID_MASK) {
      if (word === 0) throw spdyError('stream-id', 'a DATA frame names stream 0');
      const fin = (flags & FLAG.fin) !== 0;
      if (length > 0) this.#data = { streamId: word, left: length, fin };
      else this.#onFrame({ type: 'data', streamId: word, chunk: Buffer.alloc(0), fin });
      return;
    }
    if (word >>> 16 !== CONTROL_WORD) {
      throw spdyError(
        'version',
        `a control frame has version ${(word >>> 16) & 0x7fff}, not 3; the peer does not speak SPDY/3.1`,
      );
    }
    if (length > LIMIT.controlBytes) {
      throw spdyError('control-frame-size', `a control frame has ${length} bytes; the limit is ${LIMIT.controlBytes}`);
    }
    this.#control = { type: word & 0xffff, flags, payload: Buffer.allocUnsafe(length), bytes: 0 };
    if (length === 0) this.#endControl(this.#control);
  }

  #takeData(bytes: Buffer, data: PartialData): Buffer {
    const chunk = bytes.subarray(0, data.left);
    data.left -= chunk.length;
    if (data.left === 0) this.#data = undefined;
    this.#onFrame({ type: 'data', streamId: data.streamId, chunk, fin: data.fin && data.left === 0 });
    return bytes.subarray(chunk.length);
  }

  #takeControl(bytes: Buffer, control: PartialControl): Buffer {
    const copied = bytes.copy(control.payload, control.bytes);
    control.bytes += copied;
    if (control.bytes === control.payload.length) this.#endControl(control);
    return bytes.subarray(copied);
  }

  #endControl({ type, flags, payload }: PartialControl): void {
    this.#control = undefined;
    this.#onFrame(this.#controlFrame(type, flags, payload));
  }

  #controlFrame(type: number, flags: number, payload: Buffer): SpdyFrame {
    const fin = (flags & FLAG.fin) !== 0;
    switch (type) {
      case CONTROL.synStream: {
        // Stream id, associated stream id, priority, slot.
        const streamId = idAt(payload, 10);
        const headers = this.#headerBlocks.read(payload.subarray(10));
        return { type: 'syn-stream', streamId, fin, unidirectional: (flags & FLAG.unidirectional) !== 0, headers };
      }
      case CONTROL.synReply:
      case CONTROL.headers: {
        const streamId = idAt(payload, 4);
        const headers = this.#headerBlocks.read(payload.subarray(4));
        return { type: type === CONTROL.synReply ? 'syn-reply' : 'headers', streamId, fin, headers };
      }
      case CONTROL.rstStream:
        exactly(payload, 8, 'RST_STREAM');
        return { type: 'rst-stream', streamId: idAt(payload, 8), status: payload.readUInt32BE(4) };
      case CONTROL.ping:
        exactly(payload, 4, 'PING');
        return { type: 'ping', id: payload.readUInt32BE(0) };
      case CONTROL.goAway:
        exactly(payload, 8, 'GOAWAY');
        return { type: 'goaway', lastStreamId: payload.readUInt32BE(0) & ID_MASK, status: payload.readUInt32BE(4) };
      default:
        return { type: 'ignored', controlType: type };
    }
  }
}

function idAt(payload: Buffer, fixedBytes: number): number {
  if (payload.length < fixedBytes) throw spdyError('frame-length', 'a control frame is too short for its fixed fields');
  const id = payload.readUInt32BE(0) & ID_MASK;
  if (id === 0) throw spdyError('stream-id', 'a control frame names stream 0');
  return id;
}

function exactly(payload: Buffer, bytes: number, name: string): void {
  if (payload.length !== bytes)
    throw spdyError('frame-length', `a ${name} frame has ${payload.length} bytes, not ${bytes}`);
}
