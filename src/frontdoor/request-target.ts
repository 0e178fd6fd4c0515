import { CodedError } from '../base/errors.js';

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

function refusal(code: string, message: string): CodedError {
  return new CodedError({
    code,
    message: `connect-gateway-proxy: ${message}`,
    answer: { status: 400, reason: 'BadRequest' },
  });
}
