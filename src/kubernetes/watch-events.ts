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

/** Whole events that are nothing but changes of objects. */
export interface WatchRun {
  /** Their bytes; none where nothing has been completed. */
  readonly pieces: readonly Buffer[];
  /** Of the last one. */
  readonly resourceVersion?: string;
}

/** Cuts a watch's body into whole events. Pure: bytes in, events out. */
export interface WatchEventDecoder {
  /** Throws an Error on what is no watch body, and on an event beyond the limit. */
  push(chunk: Buffer): WatchEvent[];
  /**
   * As `push`, for whoever wants nothing of an event but where the watch stands after it: all that the chunk completes is
   * told as one, and only the last event is read. Undefined, and the chunk is not taken, where that is not certain: among
   * the events are an ERROR or a BOOKMARK, or the last one has no resourceVersion.
   */
  run?(chunk: Buffer): WatchRun | undefined;
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
    this.#keep(chunk.subarray(start));
    return events;
  }

  run(chunk: Buffer): WatchRun | undefined {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      this.#keep(chunk);
      return { pieces: [] };
    }
    const begun = this.#partial;
    const begunEnd = begun.length === 0 ? 0 : chunk.indexOf(NEWLINE) + 1;
    let version = begunEnd === 0 ? undefined : plainJsonVersion(begun, chunk.subarray(0, begunEnd));
    if (begunEnd > 0 && version === undefined) return undefined;
    if (begunEnd < end) {
      if (UNPLAIN_JSON.some((type) => chunk.indexOf(type, begunEnd) !== -1)) return undefined;
      const lastStart = end - 2 < begunEnd ? begunEnd : Math.max(begunEnd, chunk.lastIndexOf(NEWLINE, end - 2) + 1);
      version = plainJsonVersion([], chunk.subarray(lastStart, end));
      if (version === undefined) return undefined;
    }
    this.#partial = [];
    this.pendingBytes = 0;
    this.#keep(chunk.subarray(end));
    return {
      pieces: [...begun, chunk.subarray(0, end)],
      ...(version === undefined ? {} : { resourceVersion: version }),
    };
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#partial.push(rest);
    this.pendingBytes += rest.length;
    assertBounded(this.pendingBytes);
  }

  #complete(end: Buffer): Buffer {
    if (this.#partial.length === 0) return end;
    const line = Buffer.concat([...this.#partial, end]);
    this.#partial = [];
    this.pendingBytes = 0;
    return line;
  }
}

/** However a server spaces its JSON, an event of another kind has one of these in its line. */
const UNPLAIN_JSON = ['ERROR"', 'BOOKMARK"'].map((text) => Buffer.from(text));
/** What is wanted of an event stands near its beginning: of a long one its first part is enough, and nothing is copied. */
const ENOUGH_BYTES = 4096;

/** The resourceVersion of an event that begins with `parts` and ends with `end`; undefined where it is no plain one. */
function plainJsonVersion(parts: readonly Buffer[], end: Buffer): string | undefined {
  const [first = end] = parts;
  const version = first.length < ENOUGH_BYTES ? undefined : plainVersion(() => resourceVersionOfJsonEvent(first));
  if (version !== undefined) return version;
  return plainVersion(() => resourceVersionOfJsonEvent(parts.length === 0 ? end : Buffer.concat([...parts, end])));
}

function plainVersion(read: () => { type: string; resourceVersion?: string | undefined }): string | undefined {
  try {
    const { type, resourceVersion } = read();
    return PLAIN_TYPES.has(type) ? resourceVersion : undefined;
  } catch {
    // Whoever reads it event by event says what is wrong.
    return undefined;
  }
}

const PLAIN_TYPES = new Set(['ADDED', 'MODIFIED', 'DELETED']);

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

  run(chunk: Buffer): WatchRun | undefined {
    const begun = this.#parts;
    const frameBytes = this.#frameBytes;
    // A frame whose first bytes are scattered.
    if (begun.length > 0 && (frameBytes === undefined || !isPlainFrame(begun[0] as Buffer, 0))) return undefined;
    const begunEnd = frameBytes === undefined ? 0 : frameBytes - this.pendingBytes;
    let lastStart: number | undefined;
    let end = begunEnd;
    while (end + LENGTH_BYTES <= chunk.length) {
      const next = end + LENGTH_BYTES + chunk.readUInt32BE(end);
      if (next > chunk.length) break;
      if (!isPlainFrame(chunk, end)) return undefined;
      lastStart = end;
      end = next;
    }
    let version: string | undefined;
    if (lastStart !== undefined) {
      version = plainProtobufVersion([], chunk.subarray(lastStart, end));
    } else if (begunEnd > 0 && begunEnd <= chunk.length) {
      version = plainProtobufVersion(begun, chunk.subarray(0, begunEnd));
    } else {
      this.#keep(chunk);
      return { pieces: [] };
    }
    if (version === undefined) return undefined;
    this.#parts = [];
    this.pendingBytes = 0;
    this.#frameBytes = undefined;
    this.#keep(chunk.subarray(end));
    return { pieces: [...begun, chunk.subarray(0, end)], resourceVersion: version };
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    if (this.#parts.length === 0 && rest.length >= LENGTH_BYTES) {
      this.#frameBytes = LENGTH_BYTES + rest.readUInt32BE(0);
      assertBounded(this.#frameBytes);
    }
    this.#parts.push(rest);
    this.pendingBytes += rest.length;
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

/** Field 1 of a WatchEvent, length-delimited, is its type and comes first in what Go writes. */
const TYPE_TAG = 0x0a;
const TYPE_AT = LENGTH_BYTES + 2;
/** Of ADDED, MODIFIED and DELETED. */
const PLAIN_INITIALS = new Set([...'AMD'].map((letter) => letter.charCodeAt(0)));

function isPlainFrame(bytes: Buffer, at: number): boolean {
  return bytes[at + LENGTH_BYTES] === TYPE_TAG && PLAIN_INITIALS.has(bytes[at + TYPE_AT] ?? 0);
}

/** The resourceVersion of a frame that begins with `parts` and ends with `end`; undefined where it is no plain one. */
function plainProtobufVersion(parts: readonly Buffer[], end: Buffer): string | undefined {
  return plainVersion(() => readProtobufEvent(parts.length === 0 ? end : Buffer.concat([...parts, end]), LENGTH_BYTES));
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
