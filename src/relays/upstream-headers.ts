import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { HeaderNames, headerTokens, headerValue, withoutHeaders } from '../base/flat-headers.js';

/** RFC 9110 7.6.1 and its predecessors: meant for the next hop only. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
];

/** Never sent to Google: the local credential, a browser's cookies, and what the upstream connection sets itself. */
const LOCAL_ONLY = ['authorization', 'cookie', 'cookie2', 'host', 'expect', 'http2-settings'];

const REMOVED_FROM_REQUESTS = new HeaderNames([...HOP_BY_HOP, ...LOCAL_ONLY]);
const REMOVED_FROM_RESPONSES = new HeaderNames([...HOP_BY_HOP, 'alt-svc']);
/** RFC 9110 6.5.1: fields that frame, route or authorize a message mean nothing, or mischief, behind its body. */
const REMOVED_FROM_TRAILERS = new HeaderNames([
  ...HOP_BY_HOP,
  ...LOCAL_ONLY,
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'set-cookie',
  'trailer',
]);

const LENGTH = new HeaderNames(['content-length']);

/** Google refuses requests whose headers exceed this, and adds the caller's groups to them on its way. */
const HEADER_LIMIT_BYTES = 8 * 1024;

/**
 * The client's headers as they go upstream, without a credential: order, case and repeats kept.
 * Throws a CodedError (400) where `Connection` names a header that says who is asking: a proxy that honoured it would
 * drop the impersonation and act with the full identity.
 */
export function requestHeaders(raw: FlatHeaders): string[] {
  const named = connectionNamed(raw);
  for (const name of named) {
    if (name === 'authorization' || name.startsWith('impersonate-')) {
      throw new CodedError({
        code: 'connection-names-identity',
        message: `the Connection header names ${name}: a request that drops its own identity on the way is refused`,
        answer: { status: 400, reason: 'BadRequest' },
      });
    }
  }
  return withoutHeaders(raw, withNamed(REMOVED_FROM_REQUESTS, named));
}

/** Of what a client says about its own connection, the one wish that can be granted on both. */
export function trailersWish(raw: FlatHeaders): string[] {
  const wanted = headerTokens(raw, 'te').some((token) => token.toLowerCase() === 'trailers');
  return wanted ? ['TE', 'trailers', 'Connection', 'TE'] : [];
}

/** Trailers as they go on, either way; nobody says there who is asking. */
export function trailersToPass(raw: FlatHeaders): string[] {
  if (raw.length === 0) return [];
  const kept = withoutHeaders(raw, REMOVED_FROM_TRAILERS);
  return kept.filter((_, i) => !(kept[i - (i % 2)] as string).toLowerCase().startsWith('impersonate-'));
}

/** Whether a response's body is compressed. */
export function isEncoded(headers: FlatHeaders): boolean {
  const encoding = headerValue(headers, 'content-encoding');
  return encoding !== undefined && encoding !== 'identity';
}

/** An upstream response's headers as they go to the client. */
export function responseHeaders(raw: FlatHeaders): string[] {
  const kept = withoutHeaders(raw, withNamed(REMOVED_FROM_RESPONSES, connectionNamed(raw)));
  // RFC 9112 6.3: of a body that came in chunks no other length is true.
  return headerValue(raw, 'transfer-encoding') === undefined ? kept : withoutHeaders(kept, LENGTH);
}

function connectionNamed(raw: FlatHeaders): string[] {
  return headerTokens(raw, 'connection').map((token) => token.toLowerCase());
}

/** `Connection` names headers, and what shall become of the connection. */
function withNamed(always: HeaderNames, named: readonly string[]): HeaderNames {
  return named.length === 0 ? always : always.and(named.filter((name) => name !== 'upgrade' && name !== 'close'));
}

/** Throws a CodedError (431) that names the longest header when `headers` would exceed Google's limit. */
export function assertWithinHeaderLimit(headers: FlatHeaders): void {
  let total = 0;
  for (let i = 0; i + 1 < headers.length; i += 2) total += lineBytes(headers, i);
  if (total <= HEADER_LIMIT_BYTES) return;
  const sizes = new Map<string, number>();
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const key = (headers[i] as string).toLowerCase();
    sizes.set(key, (sizes.get(key) ?? 0) + lineBytes(headers, i));
  }
  const [name, bytes] = [...sizes].sort((a, b) => b[1] - a[1])[0] ?? ['', 0];
  throw new CodedError({
    code: 'headers-too-large',
    message: `the request's headers take ${total} bytes and Connect gateway accepts ${HEADER_LIMIT_BYTES}; the largest is ${name} with ${bytes} bytes: send less of it`,
    answer: { status: 431, reason: 'RequestHeaderFieldsTooLarge' },
  });
}

/** Name, colon, space, value, CR, LF. */
function lineBytes(headers: FlatHeaders, at: number): number {
  return (headers[at] as string).length + (headers[at + 1] as string).length + 4;
}
