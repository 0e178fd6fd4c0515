import type { IncomingMessage } from 'node:http';
import { HeaderNames, headerTokens, withoutHeaders } from '../base/flat-headers.js';

/** A kind of HTTP and no stream: Java's client offers it with every request that goes without TLS. */
const DECLINED = 'h2c';
const OF_THE_OFFER = new HeaderNames(['upgrade', 'http2-settings', 'connection']);

/** Whether all that the client wants to upgrade to is better answered as if it had not asked, which HTTP allows. */
export function declinesUpgrade({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  const tokens = headerTokens(rawHeaders, 'upgrade');
  return httpVersion === '1.0' || tokens.every((token) => token.toLowerCase() === DECLINED);
}

/** The request's head without the offer, as it would have stood on the wire. */
export function withoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const connection = headerTokens(rawHeaders, 'connection').filter(
    (token) => !['upgrade', 'http2-settings'].includes(token.toLowerCase()),
  );
  const headers = withoutHeaders(rawHeaders, OF_THE_OFFER);
  if (connection.length > 0) headers.push('Connection', connection.join(', '));
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
