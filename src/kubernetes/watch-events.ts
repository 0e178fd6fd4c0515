import { CborItemEnds } from './cbor-item.js';
import { readCborEvent } from './watch-event-cbor.js';
import { resourceVersionOfJsonEvent } from './watch-event-json.js';
import { readProtobufEvent } from './watch-event-protobuf.js';

/** One event of a watch as it came. */
export interface WatchEvent {
  /** ADDED, MODIFIED, DELETED, BOOKMARK, ERROR; empty where it is no event but something else in the encoding. */
  readonly type: string;
  /** `metadata.resourceVersion` of the event's object; absent in an ERROR. */
  readonly resourceVersion?: string;
  /** A bookmark that says that the listing asked for by sendInitialEvents is complete. */
  readonly endsInitialEvents: boolean;
  /** The whole event with its framing, byte for byte. */
  readonly bytes: Buffer;
}

/** Cuts a watch's body into whole events. Pure: bytes in, events out. */
export interface WatchEventDecoder {
  /** Throws an Error on what is no watch body, and on an event beyond the limit. */
  push(chunk: Buffer): WatchEvent[];
  /** Bytes of an event that is not whole yet. */
  readonly pendingBytes: number;
}

/** etcd takes objects of 1.5 MB; a table row repeats little of it. Beyond this the stream is no watch. */
const MAX_EVENT_BYTES = 32 * 1024 * 1024;

/** The encodings a server may answer a watch in. Undefined: one that we do not read. */
export function watchEventDecoder(contentType: string): WatchEventDecoder | undefined {
  const media = contentType.toLowerCase();
  if (media.startsWith('application/json')) return new JsonEvents();
  if (media.startsWith('application/vnd.kubernetes.protobuf')) return new ProtobufEvents();
  if (media.startsWith('application/cbor')) return new CborEvents();
  return undefined;
}

const NEWLINE = 0x0a;

/** One JSON object a line; a newline inside a string is always escaped. */
class JsonEvents implements WatchEventDecoder {
  #partial: Buffer[] = [];
  pendingBytes = 0;

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = this.#complete(chunk.subarray(start, end + 1));
      start = end + 1;
      if (line.length > 1) events.push(readJsonEvent(line));
    }
    if (start < chunk.length) {
      const rest = chunk.subarray(start);
      this.#partial.push(rest);
      this.pendingBytes += rest.length;
      assertBounded(this.pendingBytes);
    }
    return events;
  }

  #complete(end: Buffer): Buffer {
    if (this.#partial.length === 0) return end;
    const line = Buffer.concat([...this.#partial, end]);
    this.#partial = [];
    this.pendingBytes = 0;
    return line;
  }
}

function readJsonEvent(line: Buffer): WatchEvent {
  const { type, resourceVersion } = resourceVersionOfJsonEvent(line);
  return {
    type,
    ...(resourceVersion === undefined || type === 'ERROR' ? {} : { resourceVersion }),
    // Bookmarks are small and rare: the one place where a whole event is parsed.
    endsInitialEvents: type === 'BOOKMARK' && jsonEndsInitialEvents(line),
    bytes: line,
  };
}

export const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

function jsonEndsInitialEvents(line: Buffer): boolean {
  if (!line.includes(INITIAL_EVENTS_END)) return false;
  const event = JSON.parse(line.toString('utf8')) as { object?: BookmarkObject };
  const metadata = [event.object?.metadata, event.object?.rows?.[0]?.object?.metadata];
  return metadata.some((item) => item?.annotations?.[INITIAL_EVENTS_END] === 'true');
}

interface BookmarkObject {
  readonly metadata?: { readonly annotations?: Record<string, string> };
  /** A Table carries the object's annotations in its row. */
  readonly rows?: readonly {
    readonly object?: { readonly metadata?: { readonly annotations?: Record<string, string> } };
  }[];
}

const LENGTH_BYTES = 4;

/** Frames of a big-endian length and a meta.v1.WatchEvent (captures/real-1.36/watch-pods-protobuf.bin). */
class ProtobufEvents implements WatchEventDecoder {
  #parts: Buffer[] = [];
  pendingBytes = 0;
  /** Of the frame that is being collected, its length included; unknown before the length has come. */
  #frameBytes: number | undefined;

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let at = 0;
    for (;;) {
      if (this.#frameBytes === undefined) {
        if (this.pendingBytes + chunk.length - at < LENGTH_BYTES) break;
        this.#frameBytes = LENGTH_BYTES + this.#length(chunk, at);
        assertBounded(this.#frameBytes);
      }
      const end = at + this.#frameBytes - this.pendingBytes;
      if (end > chunk.length) break;
      const bytes = this.#complete(chunk.subarray(at, end));
      at = end;
      events.push({ ...readProtobufEvent(bytes, LENGTH_BYTES), bytes });
    }
    if (at < chunk.length) {
      this.#parts.push(chunk.subarray(at));
      this.pendingBytes += chunk.length - at;
    }
    return events;
  }

  /** The length that stands at `at`, or has begun in the chunks before. */
  #length(chunk: Buffer, at: number): number {
    if (this.pendingBytes === 0) return chunk.readUInt32BE(at);
    const missing = LENGTH_BYTES - this.pendingBytes;
    return Buffer.concat([...this.#parts, chunk.subarray(at, at + missing)]).readUInt32BE(0);
  }

  #complete(end: Buffer): Buffer {
    this.#frameBytes = undefined;
    if (this.#parts.length === 0) return end;
    const bytes = Buffer.concat([...this.#parts, end]);
    this.#parts = [];
    this.pendingBytes = 0;
    return bytes;
  }
}

/** One CBOR item after the other (RFC 8742). A feature gate of the cluster, off by default (cluster-facts). */
class CborEvents implements WatchEventDecoder {
  readonly #ends = new CborItemEnds();
  #parts: Buffer[] = [];
  pendingBytes = 0;

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = this.#ends.next(chunk, 0); end !== -1; end = this.#ends.next(chunk, end)) {
      const bytes = Buffer.concat([...this.#parts, chunk.subarray(start, end)]);
      this.#parts = [];
      this.pendingBytes = 0;
      start = end;
      events.push({ ...readCborEvent(bytes, INITIAL_EVENTS_END), bytes });
    }
    if (start < chunk.length) {
      this.#parts.push(chunk.subarray(start));
      this.pendingBytes += chunk.length - start;
      assertBounded(this.pendingBytes);
    }
    return events;
  }
}

function assertBounded(bytes: number): void {
  if (bytes > MAX_EVENT_BYTES) throw new Error(`a watch event exceeds ${MAX_EVENT_BYTES} bytes`);
}
