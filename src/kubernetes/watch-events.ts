import { BegunEvent } from './begun-event.js';
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

/** Cuts a watch's body into whole events. Pure: bytes in, events out. A chunk is lent for the call; what is told may stand in it. */
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
  #begun = new BegunEvent();

  get pendingBytes(): number {
    return this.#begun.length;
  }

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = completed(this.#begun, chunk.subarray(start, end + 1));
      start = end + 1;
      if (line.length > 1) events.push(readJsonEvent(line));
    }
    begin(this.#begun, chunk.subarray(start));
    return events;
  }

  run(chunk: Buffer): WatchRun | undefined {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      begin(this.#begun, chunk);
      return { pieces: [] };
    }
    const begun = this.#begun;
    const begunEnd = begun.length === 0 ? 0 : chunk.indexOf(NEWLINE) + 1;
    let version = begunEnd === 0 ? undefined : plainJsonVersion(begun.bytes, chunk.subarray(0, begunEnd));
    if (begunEnd > 0 && version === undefined) return undefined;
    if (begunEnd < end) {
      if (UNPLAIN_JSON.some((type) => chunk.indexOf(type, begunEnd) !== -1)) return undefined;
      const lastStart = end - 2 < begunEnd ? begunEnd : Math.max(begunEnd, chunk.lastIndexOf(NEWLINE, end - 2) + 1);
      version = plainJsonVersion(NOTHING, chunk.subarray(lastStart, end));
      if (version === undefined) return undefined;
    }
    this.#begun = new BegunEvent();
    return {
      pieces: afterRun(begun, { chunk, end, next: this.#begun }),
      ...(version === undefined ? {} : { resourceVersion: version }),
    };
  }
}

const NOTHING = Buffer.alloc(0);

function begin(begun: BegunEvent, part: Buffer): void {
  begun.add(part);
  assertBounded(begun.length);
}

/** A whole event, of which `end` has just come. */
function completed(begun: BegunEvent, end: Buffer): Buffer {
  if (begun.length === 0) return end;
  const bytes = Buffer.concat([begun.bytes, end]);
  begun.release();
  return bytes;
}

/** What a chunk has completed, up to its `end`; what is behind it begins the next event, in memory of its own. */
function afterRun(begun: BegunEvent, { chunk, end, next }: { chunk: Buffer; end: number; next: BegunEvent }): Buffer[] {
  begin(next, chunk.subarray(end));
  const whole = chunk.subarray(0, end);
  if (begun.length === 0) return [whole];
  const pieces = [begun.bytes, whole];
  begun.release();
  return pieces;
}

/** However a server spaces its JSON, an event of another kind has one of these in its line. */
const UNPLAIN_JSON = ['ERROR"', 'BOOKMARK"'].map((text) => Buffer.from(text));
/** What is wanted of an event stands near its beginning: of a long one its first part is enough, and nothing is copied. */
const ENOUGH_BYTES = 1024;

/** The resourceVersion of an event that begins with `begun` and ends with `end`; undefined where it is no plain one. */
function plainJsonVersion(begun: Buffer, end: Buffer): string | undefined {
  const first = begun.length === 0 ? end : begun;
  const version = first.length < ENOUGH_BYTES ? undefined : plainVersion(() => resourceVersionOfJsonEvent(first));
  if (version !== undefined) return version;
  return plainVersion(() => resourceVersionOfJsonEvent(begun.length === 0 ? end : Buffer.concat([begun, end])));
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
  #begun = new BegunEvent();

  get pendingBytes(): number {
    return this.#begun.length;
  }

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let at = 0;
    for (;;) {
      const frameBytes = this.#frameBytes(chunk, at);
      if (frameBytes === undefined) break;
      assertBounded(frameBytes);
      const end = at + frameBytes - this.pendingBytes;
      if (end > chunk.length) break;
      const bytes = completed(this.#begun, chunk.subarray(at, end));
      at = end;
      events.push({ ...readProtobufEvent(bytes, { start: LENGTH_BYTES }), bytes });
    }
    this.#begun.add(chunk.subarray(at));
    return events;
  }

  run(chunk: Buffer): WatchRun | undefined {
    const begun = this.#begun;
    // A frame whose first bytes are scattered.
    if (begun.length > 0 && !isPlainFrame(begun.bytes, 0)) return undefined;
    const begunEnd = begun.length === 0 ? 0 : LENGTH_BYTES + begun.bytes.readUInt32BE(0) - begun.length;
    let lastStart: number | undefined;
    let end = begunEnd;
    while (end + LENGTH_BYTES <= chunk.length) {
      const next = end + LENGTH_BYTES + chunk.readUInt32BE(end);
      assertBounded(next - end);
      if (next > chunk.length) break;
      if (!isPlainFrame(chunk, end)) return undefined;
      lastStart = end;
      end = next;
    }
    let version: string | undefined;
    if (lastStart !== undefined) {
      version = plainProtobufVersion(NOTHING, chunk.subarray(lastStart, end));
    } else if (begunEnd > 0 && begunEnd <= chunk.length) {
      version = plainProtobufVersion(begun.bytes, chunk.subarray(0, begunEnd));
    } else {
      begun.add(chunk);
      return { pieces: [] };
    }
    if (version === undefined) return undefined;
    this.#begun = new BegunEvent();
    return { pieces: afterRun(begun, { chunk, end, next: this.#begun }), resourceVersion: version };
  }

  /** Of the frame that begins at `at`, or has begun in the chunks before, its length included; undefined before that has come. */
  #frameBytes(chunk: Buffer, at: number): number | undefined {
    const head = this.#begun.bytes;
    if (head.length + chunk.length - at < LENGTH_BYTES) return undefined;
    if (head.length === 0) return LENGTH_BYTES + chunk.readUInt32BE(at);
    const whole = head.length < LENGTH_BYTES ? Buffer.concat([head, chunk.subarray(at, at + LENGTH_BYTES)]) : head;
    return LENGTH_BYTES + whole.readUInt32BE(0);
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

/** The resourceVersion of a frame that begins with `begun` and ends with `end`; undefined where it is no plain one. */
function plainProtobufVersion(begun: Buffer, end: Buffer): string | undefined {
  const version =
    begun.length < ENOUGH_BYTES
      ? undefined
      : plainVersion(() => readProtobufEvent(begun, { start: LENGTH_BYTES, isWhole: false }));
  if (version !== undefined) return version;
  const whole = begun.length === 0 ? end : Buffer.concat([begun, end]);
  return plainVersion(() => readProtobufEvent(whole, { start: LENGTH_BYTES }));
}

/** One CBOR item after the other (RFC 8742). A feature gate of the cluster, off by default (cluster-facts). */
class CborEvents implements WatchEventDecoder {
  readonly #ends = new CborItemEnds();
  readonly #begun = new BegunEvent();

  get pendingBytes(): number {
    return this.#begun.length;
  }

  push(chunk: Buffer): WatchEvent[] {
    const events: WatchEvent[] = [];
    let start = 0;
    for (let end = this.#ends.next(chunk, 0); end !== -1; end = this.#ends.next(chunk, end)) {
      const bytes = completed(this.#begun, chunk.subarray(start, end));
      start = end;
      events.push({ ...readCborEvent(bytes, INITIAL_EVENTS_END), bytes });
    }
    begin(this.#begun, chunk.subarray(start));
    return events;
  }
}

function assertBounded(bytes: number): void {
  if (bytes > MAX_EVENT_BYTES) throw new Error(`a watch event exceeds ${MAX_EVENT_BYTES} bytes`);
}
