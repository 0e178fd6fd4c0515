/** Bytes that precede every Kubernetes object in protobuf: a runtime.Unknown follows. */
const ENVELOPE = Buffer.from('k8s\0', 'latin1');

/** Field numbers, from the generated.proto files of apimachinery; every object has its metadata at 1. */
const FIELD = {
  eventType: 1,
  eventObject: 2,
  extensionRaw: 1,
  unknownRaw: 2,
  objectMetadata: 1,
  resourceVersion: 6,
  annotations: 12,
  mapKey: 1,
  mapValue: 2,
} as const;

export interface ProtobufEventFacts {
  readonly type: string;
  readonly resourceVersion?: string;
  readonly endsInitialEvents: boolean;
}

/**
 * Reads the meta.v1.WatchEvent that stands in `bytes` from `start` on; of one that is not whole, what can be told by what there
 * is of it. Throws a RangeError on what is no protobuf.
 */
export function readProtobufEvent(
  bytes: Buffer,
  { start = 0, isWhole = true }: { start?: number; isWhole?: boolean } = {},
): ProtobufEventFacts {
  const event = new Fields(bytes, { start, end: bytes.length, isWhole });
  let type: string | undefined;
  let object: Fields | undefined;
  for (let number = event.next(); number !== END; number = event.next()) {
    if (number === FIELD.eventType) type ??= event.text('latin1');
    else if (number === FIELD.eventObject) object ??= event.within();
    if (type !== undefined && object !== undefined) break;
  }
  const facts = { type: type ?? '', endsInitialEvents: false };
  if (object === undefined || type === 'ERROR' || !object.enter(FIELD.extensionRaw) || !object.skip(ENVELOPE)) {
    return facts;
  }
  if (!object.enter(FIELD.unknownRaw) || !object.enter(FIELD.objectMetadata)) return facts;
  if (type === 'BOOKMARK') facts.endsInitialEvents = hasEndAnnotation(object.copy());
  const resourceVersion = object.enter(FIELD.resourceVersion) && object.isWhole ? object.all() : '';
  return resourceVersion === '' ? facts : { ...facts, resourceVersion };
}

function hasEndAnnotation(metadata: Fields): boolean {
  for (let number = metadata.next(); number !== END; number = metadata.next()) {
    const entry = number === FIELD.annotations ? metadata.within() : undefined;
    const key = entry?.copy();
    if (entry === undefined || !key?.enter(FIELD.mapKey) || key.all() !== 'k8s.io/initial-events-end') continue;
    if (entry.enter(FIELD.mapValue) && entry.all() === 'true') return true;
  }
  return false;
}

/** In place of a field's number; no field has it. */
const END = 0;

interface Stretch {
  readonly start: number;
  readonly end: number;
  /** Otherwise more of it is to come behind `end`. */
  readonly isWhole: boolean;
}

/** Steps over a message that is a stretch of `bytes`, which is never copied. */
class Fields {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;
  #isWhole: boolean;
  /** Where the value of the field begins that was stepped over last; -1 where it is not length-delimited. */
  #value = -1;
  #valueIsWhole = true;

  constructor(bytes: Buffer, { start, end, isWhole }: Stretch) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#isWhole = isWhole;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** The number of the next field, or END. */
  next(): number {
    this.#value = -1;
    if (this.#at >= this.#end) return END;
    const tag = this.#varint();
    const number = Math.floor(tag / 8);
    if (number === END) throw malformed();
    switch (tag % 8) {
      case 0:
        this.#varint();
        break;
      case 1:
        this.#at += 8;
        break;
      case 5:
        this.#at += 4;
        break;
      case 2: {
        const length = this.#varint();
        this.#valueIsWhole = this.#at + length <= this.#end;
        if (!this.#valueIsWhole && this.#isWhole) throw malformed();
        this.#value = this.#at;
        this.#at = Math.min(this.#at + length, this.#end);
        break;
      }
      default:
        throw malformed();
    }
    return number;
  }

  /** Narrows this to the first length-delimited field with that number; answers false where there is none. */
  enter(wanted: number): boolean {
    for (let number = this.next(); number !== END; number = this.next()) {
      if (number !== wanted || this.#value === -1) continue;
      this.#end = this.#at;
      this.#at = this.#value;
      this.#isWhole = this.#valueIsWhole;
      return true;
    }
    return false;
  }

  /** Steps over `prefix`; answers false where something else stands there. */
  skip(prefix: Buffer): boolean {
    const after = this.#at + prefix.length;
    if (after > this.#end || this.#bytes.compare(prefix, 0, prefix.length, this.#at, after) !== 0) return false;
    this.#at = after;
    return true;
  }

  /** The fields within the one that was stepped over last; undefined where it has none. */
  within(): Fields | undefined {
    if (this.#value === -1) return undefined;
    return new Fields(this.#bytes, { start: this.#value, end: this.#at, isWhole: this.#valueIsWhole });
  }

  /** The field that was stepped over last. */
  text(encoding: BufferEncoding): string | undefined {
    return this.#value === -1 ? undefined : this.#bytes.toString(encoding, this.#value, this.#at);
  }

  /** All that is left, as text. */
  all(): string {
    return this.#bytes.toString('utf8', this.#at, this.#end);
  }

  copy(): Fields {
    return new Fields(this.#bytes, { start: this.#at, end: this.#end, isWhole: this.#isWhole });
  }

  #varint(): number {
    let result = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#at < this.#end ? this.#bytes[this.#at++] : undefined;
      if (byte === undefined || factor > 2 ** 63) throw malformed();
      result += (byte & 0x7f) * factor;
      if (byte < 0x80) return result;
    }
  }
}

function malformed(): RangeError {
  return new RangeError('a watch event is not valid protobuf');
}
