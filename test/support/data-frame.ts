import { dataHead } from '../../src/spdy/encode.js';

/** A whole SPDY DATA frame in one piece. */
export function dataFrame(o: { streamId: number; payload: Uint8Array; fin?: boolean }): Buffer {
  return Buffer.concat([dataHead({ ...o, bytes: o.payload.length }), o.payload]);
}
