/** RFC 8949, 3: the major types. */
const MAJOR = { negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const;
const INDEFINITE = 31;
const BREAK = 0xff;
/** Kubernetes nests far less deep; etcd's limit keeps objects small. */
const MAX_DEPTH = 512;

interface Head {
  readonly major: number;
  /** Undefined for an indefinite length. */
  readonly argument: number | undefined;
}

/** Steps through the data items of a CBOR text that is whole. Throws a RangeError where it is not. */
export class CborReader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** Calls `visit` for each key of the map that begins here; it must take the value. False where there is no map. */
  eachKey(visit: (key: string) => void): boolean {
    const { major, argument } = this.#untagged();
    if (major !== MAJOR.map) {
      this.#skipContent(major, argument, 0);
      return false;
    }
    for (let left = argument ?? Number.POSITIVE_INFINITY; left > 0; left--) {
      if (argument === undefined && this.#isBreak()) break;
      visit(this.string() ?? '');
    }
    return true;
  }

  /** A text or byte string (Kubernetes writes its strings as either); undefined where another item was, which is stepped over. */
  string(): string | undefined {
    const { major, argument } = this.#untagged();
    if ((major === MAJOR.text || major === MAJOR.bytes) && argument !== undefined) {
      const end = this.#advance(argument);
      return this.#bytes.toString('utf8', end - argument, end);
    }
    this.#skipContent(major, argument, 0);
    return undefined;
  }

  skip(depth = 0): void {
    if (depth > MAX_DEPTH) throw invalid();
    const { major, argument } = this.#head();
    this.#skipContent(major, argument, depth);
  }

  #skipContent(major: number, argument: number | undefined, depth: number): void {
    switch (major) {
      case MAJOR.bytes:
      case MAJOR.text:
        if (argument !== undefined) this.#advance(argument);
        else while (!this.#isBreak()) this.skip(depth + 1);
        break;
      case MAJOR.array:
      case MAJOR.map: {
        const each = major === MAJOR.map ? 2 : 1;
        for (let left = (argument ?? Number.POSITIVE_INFINITY) * each; left > 0; left--) {
          if (argument === undefined && this.#isBreak()) break;
          this.skip(depth + 1);
        }
        break;
      }
      case MAJOR.tag:
        this.skip(depth + 1);
        break;
      default:
        break;
    }
  }

  #untagged(): Head {
    for (;;) {
      const head = this.#head();
      if (head.major !== MAJOR.tag) return head;
    }
  }

  #head(): Head {
    const first = this.#bytes[this.#advance(1) - 1] ?? 0;
    const major = first >> 5;
    const short = first & 0x1f;
    if (short < 24) return { major, argument: short };
    if (short === INDEFINITE && major >= MAJOR.bytes && major !== MAJOR.tag && major !== MAJOR.simple)
      return { major, argument: undefined };
    if (short > 27) throw new SyntaxError('a watch event is not valid CBOR');
    const size = 2 ** (short - 24);
    const end = this.#advance(size);
    const argument =
      size === 8 ? Number(this.#bytes.readBigUInt64BE(end - 8)) : this.#bytes.readUIntBE(end - size, size);
    return { major, argument };
  }

  #isBreak(): boolean {
    if (this.at >= this.#bytes.length) throw invalid();
    if (this.#bytes[this.at] !== BREAK) return false;
    this.at++;
    return true;
  }

  #advance(count: number): number {
    if (count > this.#bytes.length - this.at) throw invalid();
    this.at += count;
    return this.at;
  }
}

function invalid(): RangeError {
  return new RangeError('a CBOR item is not whole');
}

/** Finds the ends of a sequence of CBOR items (RFC 8742) in bytes that come piece by piece, looking at each head once. */
export class CborItemEnds {
  /** What is left to come of each item that is open: how many items, or until a break. */
  readonly #open: number[] = [];
  /** Of a head that is not whole yet. */
  #head: number[] = [];
  #skip = 0;

  /** The index behind the first item that ends within `chunk`, from `start` on; -1 where none does. Throws a SyntaxError. */
  next(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, chunk.length - at);
        this.#skip -= step;
        at += step;
        if (this.#skip === 0 && this.#itemEnds()) return at;
        continue;
      }
      this.#head.push(chunk[at++] as number);
      if (this.#takeHead() && this.#itemEnds()) return at;
    }
    return -1;
  }

  /** Whether the head that is whole now is an item of its own; false where something of it is still to come. */
  #takeHead(): boolean {
    const [first = 0, ...rest] = this.#head;
    const major = first >> 5;
    const short = first & 0x1f;
    const size = short < 24 || short > 27 ? 0 : 2 ** (short - 24);
    if (short > 27 && short !== INDEFINITE) throw new SyntaxError('a watch event is not valid CBOR');
    if (rest.length < size) return false;
    this.#head = [];
    if (first === BREAK) {
      if (this.#open.pop() !== Number.POSITIVE_INFINITY) throw new SyntaxError('a watch event is not valid CBOR');
      return true;
    }
    const argument =
      short === INDEFINITE
        ? Number.POSITIVE_INFINITY
        : rest.length === 0
          ? short
          : rest.reduce((sum, byte) => sum * 256 + byte, 0);
    return this.#beginContent(major, argument);
  }

  #beginContent(major: number, argument: number): boolean {
    const isString = major === MAJOR.bytes || major === MAJOR.text;
    if (isString && argument !== Number.POSITIVE_INFINITY) {
      this.#skip = argument;
      return argument === 0;
    }
    let items = 0;
    if (major === MAJOR.tag) items = 1;
    else if (major === MAJOR.map) items = argument * 2;
    else if (major === MAJOR.array || isString) items = argument;
    if (items === 0) return true;
    if (this.#open.length >= MAX_DEPTH) throw new SyntaxError('a watch event is nested too deep');
    this.#open.push(items);
    return false;
  }

  /** An item has ended, and with it those that it was the last of. True when none is open. */
  #itemEnds(): boolean {
    while (this.#open.length > 0) {
      const left = (this.#open.pop() ?? 0) - 1;
      if (left > 0) {
        this.#open.push(left);
        return false;
      }
    }
    return true;
  }
}
