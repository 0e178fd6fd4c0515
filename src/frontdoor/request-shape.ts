import type { IncomingMessage } from 'node:http';
import { CodedError, type WireAnswer } from '../base/errors.js';

/** Throws a CodedError (405) for TRACE: its answer is the request as it arrived, Google's token included. */
export function assertSafeMethod({ method }: IncomingMessage): void {
  if (method === 'TRACE') throw refusal('method-unsafe', 'TRACE is not passed on', METHOD_NOT_ALLOWED);
}

/** Throws a CodedError (400) for an upgrade with a body: it would be on its way together with the stream's first bytes. */
export function assertBodilessUpgrade({ headers }: IncomingMessage): void {
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return;
  throw refusal('upgrade-with-body', 'a request to upgrade the connection cannot have a body');
}

/**
 * Checks a raw request target without changing it. Throws a CodedError (400) for absolute form, and for `..` segments,
 * in any spelling that some server on the way could read as such, that would climb out of the membership's prefix.
 */
export function assertSafeTarget(target: string): void {
  if (!target.startsWith('/')) {
    throw refusal('target-not-origin-form', 'the request target must begin with /: this endpoint is no forward proxy');
  }
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  // Nearly all targets: nothing that could become a dot segment.
  if (!path.includes('..') && !path.includes('%') && !path.includes('\\')) return;
  let depth = 0;
  for (const segment of decodedTwice(path).split(/[/\\]/)) {
    // Servers that merge slashes and those that do not count empty segments differently; not counting them is the stricter.
    if (segment === '' || segment === '.') continue;
    depth += segment === '..' ? -1 : 1;
    if (depth < 0) throw refusal('target-escapes', 'the path climbs out of the membership with ".."');
  }
}

/** Twice, because a server behind a decoding proxy sees the second layer. Undecodable bytes stay as they are. */
function decodedTwice(path: string): string {
  const once = (text: string): string =>
    text.replace(/%(2e|2f|5c|25)/gi, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return once(once(path));
}

const BAD_REQUEST: WireAnswer = { status: 400, reason: 'BadRequest' };
const METHOD_NOT_ALLOWED: WireAnswer = { status: 405, reason: 'MethodNotAllowed' };

function refusal(code: string, message: string, answer = BAD_REQUEST): CodedError {
  return new CodedError({ code, message: `connect-gateway-proxy: ${message}`, answer });
}
