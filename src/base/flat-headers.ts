/**
 * HTTP headers as they stand on the wire: name, value, name, value, ... in order, repeats kept, case kept.
 * The form of Node's `rawHeaders`.
 */
export type FlatHeaders = readonly string[];

/** Names of headers, given in lower case. Asked for every header of every message, so that most are told apart by length. */
export class HeaderNames {
  readonly #names: ReadonlySet<string>;
  readonly #hasLength: readonly boolean[];

  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
    const longest = Math.max(0, ...[...this.#names].map(({ length }) => length));
    this.#hasLength = Array.from({ length: longest + 1 }, (_, length) =>
      [...this.#names].some((name) => name.length === length),
    );
  }

  /** In any case of its letters. */
  has(name: string): boolean {
    return this.#hasLength[name.length] === true && this.#names.has(name.toLowerCase());
  }

  /** These and more; the same where `more` says nothing new. */
  and(more: readonly string[]): HeaderNames {
    return more.every((name) => this.#names.has(name)) ? this : new HeaderNames([...this.#names, ...more]);
  }
}

function isName(candidate: string, name: string): boolean {
  if (candidate.length !== name.length) return false;
  return candidate === name || candidate.toLowerCase() === name;
}

/** Every value of `name` (given in lower case), in order. */
export function headerValues(headers: FlatHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (isName(headers[i] as string, name)) values.push(headers[i + 1] as string);
  }
  return values;
}

/** The first value of `name` (given in lower case). */
export function headerValue(headers: FlatHeaders, name: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (isName(headers[i] as string, name)) return headers[i + 1];
  }
  return undefined;
}

/** The members of a comma-separated header over all its lines, trimmed, empty ones dropped. */
export function headerTokens(headers: FlatHeaders, name: string): string[] {
  const tokens: string[] = [];
  for (const value of headerValues(headers, name)) {
    for (const token of value.includes(',') ? value.split(',') : [value]) {
      const trimmed = token.trim();
      if (trimmed !== '') tokens.push(trimmed);
    }
  }
  return tokens;
}

/** All but the named headers. */
export function withoutHeaders(headers: FlatHeaders, names: HeaderNames): string[] {
  let i = 0;
  while (i + 1 < headers.length && !names.has(headers[i] as string)) i += 2;
  // Most often there is nothing to leave out.
  const kept = headers.slice(0, i);
  for (; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!names.has(name)) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
