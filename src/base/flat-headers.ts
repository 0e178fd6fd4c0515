/**
 * HTTP headers as they stand on the wire: name, value, name, value, ... in order, repeats kept, case kept.
 * The form of Node's `rawHeaders`.
 */
export type FlatHeaders = readonly string[];

/** Every value of `name` (given in lower case), in order. */
export function headerValues(headers: FlatHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const candidate = headers[i] as string;
    if (candidate.length === name.length && candidate.toLowerCase() === name) values.push(headers[i + 1] as string);
  }
  return values;
}

/** The first value of `name` (given in lower case). */
export function headerValue(headers: FlatHeaders, name: string): string | undefined {
  return headerValues(headers, name)[0];
}

/** The members of a comma-separated header over all its lines, trimmed, empty ones dropped. */
export function headerTokens(headers: FlatHeaders, name: string): string[] {
  const values = headerValues(headers, name);
  if (values.length === 0) return values;
  return values
    .flatMap((value) => value.split(','))
    .map((token) => token.trim())
    .filter((token) => token !== '');
}

/** All but the named headers (lower case). */
export function withoutHeaders(headers: FlatHeaders, names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
