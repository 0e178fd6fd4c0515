import type { Conversation } from './capture.js';
import { carried, spdyFrames, webSocketFrames } from './frames.js';

/** What one side has said on one stream or channel. */
export interface Told {
  readonly text: string;
  readonly ended: boolean;
}

/** By the name of the stream: `stdout`, or of a port-forward `8080/0/data` (port, requestid, streamtype). */
export type Telling = Readonly<Record<string, Told>>;

const CHANNELS = ['stdin', 'stdout', 'stderr', 'error', 'resize'];
const END_OF_CHANNEL = 255;

class Teller {
  readonly #told = new Map<string, { text: string; ended: boolean }>();

  say(name: string, chunk: Buffer, ended = false): void {
    const so = this.#told.get(name) ?? { text: '', ended: false };
    this.#told.set(name, { text: so.text + chunk.toString('latin1'), ended: so.ended || ended });
  }

  /** Streams on which nothing was said and nothing ended are left out: some servers open all with an empty message. */
  telling(): Telling {
    return Object.fromEntries([...this.#told].filter(([, { text, ended }]) => text !== '' || ended));
  }
}

/** The messages of remote-command channels of one direction, base64 ones as what they stand for. */
export function tellChannels(bytes: Buffer): Telling {
  const teller = new Teller();
  for (const { opcode, payload } of webSocketFrames(bytes)) {
    if (opcode > 2 || payload.length === 0) continue;
    const isBase64 = opcode === 1;
    const channel = isBase64 ? Number(payload.toString('latin1', 0, 1)) : payload.readUInt8(0);
    const chunk = isBase64 ? Buffer.from(payload.toString('latin1', 1), 'base64') : payload.subarray(1);
    if (channel === END_OF_CHANNEL) teller.say(CHANNELS[chunk[0] ?? 0] ?? '?', Buffer.alloc(0), true);
    else teller.say(CHANNELS[channel] ?? `channel ${channel}`, chunk);
  }
  return teller.telling();
}

/** The code with which a side has closed its WebSocket. */
export function closeCode(bytes: Buffer): number | undefined {
  const close = webSocketFrames(bytes).find(({ opcode }) => opcode === 8);
  return close?.payload.readUInt16BE(0);
}

/** The streams of a SPDY session by what its client has named them. */
export function tellSpdy(bytes: Buffer, client: Buffer): Telling {
  const names = new Map<number, string>();
  for (const frame of spdyFrames(client)) {
    if (frame.type !== 'syn-stream') continue;
    const header = Object.fromEntries(frame.headers);
    const name = [header['port'], header['requestid'], header['streamtype']];
    names.set(frame.streamId, name.filter((part) => part !== undefined).join('/'));
  }
  const teller = new Teller();
  for (const frame of spdyFrames(bytes)) {
    if (frame.type === 'data')
      teller.say(names.get(frame.streamId) ?? `stream ${frame.streamId}`, frame.chunk, frame.fin);
  }
  return teller.telling();
}

export function speaksSpdy(recorded: Conversation): boolean {
  return recorded.header('client', 'upgrade')[0] === 'SPDY/3.1';
}

/** What a side of a recorded or replayed exec, attach or cp has said. */
export function tellCommand(o: { recorded: Conversation; bytes: Buffer }): Telling {
  return speaksSpdy(o.recorded) ? tellSpdy(o.bytes, o.recorded.rest('client')) : tellChannels(o.bytes);
}

/** What a side of a port-forward has said, whether its SPDY is on the connection itself or in a WebSocket. */
export function tellPorts(o: { recorded: Conversation; bytes: Buffer }): Telling {
  const { recorded, bytes } = o;
  if (speaksSpdy(recorded)) return tellSpdy(bytes, recorded.rest('client'));
  return tellSpdy(carried(bytes), carried(recorded.rest('client')));
}

/** Whether all that `wanted` tells has been told, or more. */
export function hasTold(now: Telling, wanted: Telling): boolean {
  return Object.entries(wanted).every(([name, { text, ended }]) => {
    const told = now[name];
    return told !== undefined && told.text.length >= text.length && (told.ended || !ended);
  });
}
