import type { Duplex } from 'node:stream';
import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { headerTokens } from '../base/flat-headers.js';

/** Whether the client asks for `Upgrade: SPDY/3.1`. */
export function asksForSpdy(headers: FlatHeaders): boolean {
  return headerTokens(headers, 'upgrade').some((token) => token.toLowerCase() === 'spdy/3.1');
}

/** What the client offers in X-Stream-Protocol-Version, repeated or in comma lists, in its order. */
export function offeredStreamProtocols(headers: FlatHeaders): string[] {
  return headerTokens(headers, 'x-stream-protocol-version');
}

/**
 * The first of the client's offers that is `known`, as the API server chooses.
 * Throws a CodedError with the API server's words: 400 without an offer, 403 where none is known.
 */
export function chooseStreamProtocol(headers: FlatHeaders, known: readonly string[]): string {
  const offered = offeredStreamProtocols(headers);
  if (offered.length === 0) {
    throw new CodedError({
      code: 'stream-protocol-missing',
      message: 'unable to upgrade: X-Stream-Protocol-Version is required',
      answer: { status: 400, reason: 'BadRequest' },
    });
  }
  const chosen = offered.find((protocol) => known.includes(protocol));
  if (chosen !== undefined) return chosen;
  throw new CodedError({
    code: 'stream-protocol-unknown',
    message: `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${known.join(' ')}]`,
    answer: { status: 403, reason: 'Forbidden' },
  });
}

/** Answers 101: SPDY is spoken on the socket from here on. */
export function switchToSpdy(socket: Duplex, protocol: string): void {
  // Fields are written one by one on this protocol; together they would wait for the peer's acknowledgement.
  (socket as Partial<{ setNoDelay(on: boolean): void }>).setNoDelay?.(true);
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
      `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
}
