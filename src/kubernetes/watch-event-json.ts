const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * What a typed object begins with, in the order of the fields in meta.v1.ObjectMeta (captures/real-1.36/watch-pods-json.bin):
 * an eighth of the time of a scan. Objects of a CustomResourceDefinition have their keys in the alphabet's order.
 */
const USUAL_BEGINNING =
  /^\{"type":"([A-Z]+)","object":\{(?:"(?:kind|apiVersion)":"[\x20-\x21\x23-\x5b\x5d-\x7e]*",)*"metadata":\{(?:"(?:name|generateName|namespace|selfLink|uid)":"[\x20-\x21\x23-\x5b\x5d-\x7e]*",)*"resourceVersion":"([\x20-\x21\x23-\x5b\x5d-\x7e]*)"/;
/** Two names of 253 characters, a namespace of 63, a uid of 36, and what stands around them. */
const USUAL_BYTES = 768;

export interface JsonEventFacts {
  /** Empty where it is no event. */
  readonly type: string;
  readonly resourceVersion: string | undefined;
}

/**
 * `type` and `object.metadata.resourceVersion` of one JSON watch event, without building the object: a scan that steps
 * over values and ends as soon as both are known, which in what API servers write is near the beginning. Throws a
 * SyntaxError where the line is no JSON object as far as it was read.
 */
export function resourceVersionOfJsonEvent(line: Buffer): JsonEventFacts {
  const [, usualType, usualVersion] = USUAL_BEGINNING.exec(line.toString('latin1', 0, USUAL_BYTES)) ?? [];
  if (usualType !== undefined) return { type: usualType, resourceVersion: usualVersion };
  const scanner = new Scanner(line);
  scanner.assertObject();
  let type: string | undefined;
  let object: { resourceVersion: string | undefined } | undefined;
  scanner.eachKey((key) => {
    if (key === 'type') type = scanner.string();
    else if (key === 'object')
      object = { resourceVersion: findResourceVersion(scanner, { mayStop: type !== undefined }) };
    else scanner.skipValue();
    return type !== undefined && object !== undefined ? 'stop' : 'continue';
  });
  return { type: object === undefined ? '' : (type ?? ''), resourceVersion: object?.resourceVersion };
}

/** `mayStop`: nothing behind the object is wanted, so that it can be left in its middle. */
function findResourceVersion(scanner: Scanner, options: { mayStop: boolean }): string | undefined {
  let found: string | undefined;
  const next = (): 'stop' | 'continue' => (found !== undefined && options.mayStop ? 'stop' : 'continue');
  scanner.eachKey((key) => {
    if (key !== 'metadata' || found !== undefined) {
      scanner.skipValue();
      return 'continue';
    }
    scanner.eachKey((inner) => {
      if (inner === 'resourceVersion' && found === undefined) found = scanner.string();
      else scanner.skipValue();
      return next();
    });
    return next();
  });
  return found;
}

/** Steps through one JSON text. Only what is asked for becomes a value. */
class Scanner {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  assertObject(): void {
    if (this.#peek() !== OPEN_BRACE) throw this.#wrong();
  }

  /** Calls `visit` for each key of the object that begins here; it must take the value. Steps over null. */
  eachKey(visit: (key: string) => 'continue' | 'stop'): void {
    if (this.#peek() !== OPEN_BRACE) {
      this.skipValue();
      return;
    }
    this.#at++;
    if (this.#peek() === CLOSE_BRACE) {
      this.#at++;
      return;
    }
    for (;;) {
      const key = this.string();
      this.#expect(COLON);
      if (visit(key) === 'stop') return;
      if (this.#peek() === CLOSE_BRACE) break;
      this.#expect(COMMA);
    }
    this.#at++;
  }

  string(): string {
    if (this.#peek() !== QUOTE) throw this.#wrong();
    const start = this.#at;
    this.#skipString();
    const raw = this.#bytes.toString('utf8', start, this.#at);
    return raw.includes('\\') ? (JSON.parse(raw) as string) : raw.slice(1, -1);
  }

  skipValue(): void {
    const first = this.#peek();
    if (first === QUOTE) {
      this.#skipString();
    } else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      this.#skipNested();
    } else {
      while (this.#at < this.#bytes.length && !isDelimiter(this.#bytes[this.#at] ?? 0)) this.#at++;
    }
  }

  #skipNested(): void {
    let depth = 0;
    do {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw this.#wrong();
      if (byte === QUOTE) {
        this.#skipString();
        continue;
      }
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
      this.#at++;
    } while (depth > 0);
  }

  /** From quote to quote; a quote is a string's end unless an odd number of backslashes stands before it. */
  #skipString(): void {
    let end = this.#at;
    for (;;) {
      end = this.#bytes.indexOf(QUOTE, end + 1);
      if (end === -1) throw this.#wrong();
      let backslashes = 0;
      while (this.#bytes[end - 1 - backslashes] === BACKSLASH) backslashes++;
      if (backslashes % 2 === 0) break;
    }
    this.#at = end + 1;
  }

  #peek(): number | undefined {
    while (isSpace(this.#bytes[this.#at])) this.#at++;
    return this.#bytes[this.#at];
  }

  #expect(byte: number): void {
    if (this.#peek() !== byte) throw this.#wrong();
    this.#at++;
  }

  #wrong(): SyntaxError {
    return new SyntaxError(`a watch event is not valid JSON at byte ${this.#at}`);
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDelimiter(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte);
}
