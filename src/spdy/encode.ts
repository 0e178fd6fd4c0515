import type { SpdyHeaders } from './frame.js';
import { CONTROL, CONTROL_WORD, FLAG, FRAME_HEADER_BYTES } from './frame.js';
import { HeaderBlockWriter } from './header-block.js';

/** Frames of one direction to bytes. Frames with headers must be sent in the order in which they were made. */
export class SpdyEncoder {
  readonly #headerBlocks = new HeaderBlockWriter();

  synStream(options: { streamId: number; headers: SpdyHeaders; fin?: boolean }): Buffer {
    const fixed = Buffer.alloc(10);
    fixed.writeUInt32BE(options.streamId);
    const flags = options.fin === true ? FLAG.fin : 0;
    return control(CONTROL.synStream, flags, fixed, this.#headerBlocks.write(options.headers));
  }

  synReply(options: { streamId: number; headers: SpdyHeaders; fin?: boolean }): Buffer {
    const fixed = Buffer.alloc(4);
    fixed.writeUInt32BE(options.streamId);
    const flags = options.fin === true ? FLAG.fin : 0;
    return control(CONTROL.synReply, flags, fixed, this.#headerBlocks.write(options.headers));
  }
}

/** What stands before the payload of a DATA frame, which has `bytes`, less than 16 MiB. */
export function dataHead(options: { streamId: number; bytes: number; fin?: boolean }): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  head.writeUInt32BE(options.streamId);
  head.writeUInt8(options.fin === true ? FLAG.fin : 0, 4);
  head.writeUIntBE(options.bytes, 5, 3);
  return head;
}

export function rstStreamFrame(options: { streamId: number; status: number }): Buffer {
  return control(CONTROL.rstStream, 0, words(options.streamId, options.status));
}

export function pingFrame(id: number): Buffer {
  return control(CONTROL.ping, 0, words(id));
}

export function goAwayFrame(options: { lastStreamId: number; status: number }): Buffer {
  return control(CONTROL.goAway, 0, words(options.lastStreamId, options.status));
}

function control(type: number, flags: number, ...payload: Buffer[]): Buffer {
  const head = Buffer.alloc(FRAME_HEADER_BYTES);
  head.writeUInt16BE(CONTROL_WORD);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(
    payload.reduce((sum, part) => sum + part.length, 0),
    5,
    3,
  );
  return Buffer.concat([head, ...payload]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
