import { CodedError } from '../base/errors.js';

/** In wire order; a name may repeat. Names are lower case. */
export type SpdyHeaders = readonly (readonly [name: string, value: string])[];

/** Frames as the decoder tells them. Stream ids have 31 bits; `fin` is the sender's half-close. */
export type SpdyFrame =
  | {
      readonly type: 'syn-stream';
      readonly streamId: number;
      readonly fin: boolean;
      /** The other side may not send on this stream; Kubernetes never asks for it. */
      readonly unidirectional: boolean;
      readonly headers: SpdyHeaders;
    }
  | { readonly type: 'syn-reply'; readonly streamId: number; readonly fin: boolean; readonly headers: SpdyHeaders }
  | { readonly type: 'headers'; readonly streamId: number; readonly fin: boolean; readonly headers: SpdyHeaders }
  /** A part of a DATA frame as it arrived; `fin` comes with the last part, which may be empty. */
  | { readonly type: 'data'; readonly streamId: number; readonly chunk: Buffer; readonly fin: boolean }
  | { readonly type: 'rst-stream'; readonly streamId: number; readonly status: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'goaway'; readonly lastStreamId: number; readonly status: number }
  /** SETTINGS, WINDOW_UPDATE and anything newer: no part of what Kubernetes speaks. */
  | { readonly type: 'ignored'; readonly controlType: number };

export const CONTROL = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const FLAG = { fin: 0x01, unidirectional: 0x02 } as const;

/** Why a stream is reset. */
export const RESET = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  cancel: 5,
  internalError: 6,
  streamAlreadyClosed: 9,
} as const;

/** Why a session goes away. */
export const GOAWAY = { ok: 0, protocolError: 1, internalError: 2 } as const;

/** The version word of every control frame: the control bit and version 3 (SPDY/3.1 says 3 as well). */
export const CONTROL_WORD = 0x8003;
export const FRAME_HEADER_BYTES = 8;

/**
 * Caps on what a peer can make us hold; nothing that speaks Kubernetes comes near. Beyond them a session ends
 * (CVE-2026-35469 is what happens without).
 */
export const LIMIT = {
  /** Payload of one control frame. */
  controlBytes: 64 * 1024,
  /** One header block after inflation. */
  headerBlockBytes: 64 * 1024,
  headers: 256,
  /** Streams that are not closed on both sides; a stream above is refused, the session goes on. */
  liveStreams: 256,
} as const;

/** The peer broke a rule of SPDY or of this codec; the session cannot go on. */
export function spdyError(rule: string, message: string): CodedError {
  return new CodedError({
    code: `spdy-${rule}`,
    message: `The SPDY connection was ended: ${message}.`,
    answer: { status: 400, reason: 'BadRequest' },
  });
}
