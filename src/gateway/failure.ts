import type { RetryClass } from '../base/errors.js';

/**
 * What an upstream answer means. `pass`: it is the cluster's own (a Kubernetes `Status`, or anything a workload behind
 * a proxy subresource says) and goes to the client byte for byte. `answer`: it is Google's, and the client gets this instead.
 */
export type Verdict = { readonly kind: 'pass' } | FailureAnswer;

export interface FailureAnswer {
  readonly kind: 'answer';
  /** Stable, in kebab case. */
  readonly code: string;
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  readonly retry: RetryClass;
}

/** An upstream answer with a code of 400 or more; `body` is its beginning, decoded. */
export interface UpstreamFailure {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** True below a proxy subresource, where HTML and JSON are a workload's own. */
  readonly fromWorkload: boolean;
  /** Named in messages, so that the reader knows which cluster is meant. */
  readonly membership: string;
}

const PASS: Verdict = { kind: 'pass' };

/** Bytes of a failure's body that are enough to judge it: Google's error pages are below 4 kB, a Status seldom above 16 kB. */
export const JUDGED_BODY_BYTES = 64 * 1024;

/** True where the body need not be looked at: a success, or a form that only the cluster itself uses. */
export function passesUnread(status: number): boolean {
  return status < 400;
}

export function judge(failure: UpstreamFailure): Verdict {
  const google = googleError(failure);
  if (google === undefined) return PASS;
  const text = google.message;
  const at = `membership ${failure.membership}`;
  if (/cannot connect to agent|connection unexpectedly terminated|no active connections found/i.test(text)) {
    // Upstream says 404, and watchers give up on 404. No Retry-After: kubectl would stall through ten silent retries.
    return answer('agent-lost', 503, 'ServiceUnavailable', 'later', [
      `the Connect agent of ${at} is not connected to Google: ${text}.`,
      "Its cluster's administrator can look at it with: kubectl logs -n gke-connect -l app=gke-connect-agent",
    ]);
  }
  switch (google.status || statusOfCode(failure.status)) {
    case 'UNAUTHENTICATED':
      return answer('google-unauthenticated', 401, 'Unauthorized', 'safe', [
        `Google did not accept the daemon's access token for ${at}: ${text}.`,
        'If it goes on, log in again: gcloud auth application-default login',
      ]);
    case 'PERMISSION_DENIED':
      return answer('google-permission-denied', 403, 'Forbidden', 'never', [
        `Google refused the request for ${at}: ${text}.`,
        "Ask the fleet host project's owner for the role that holds the permission (see roles/gkehub.gatewayEditor, roles/gkehub.gatewayAdmin)",
      ]);
    case 'RESOURCE_EXHAUSTED':
      return answer('google-quota', 429, 'TooManyRequests', 'later', [
        `a Connect gateway quota of the fleet is used up (${at}): ${text}`,
      ]);
    case 'FAILED_PRECONDITION':
      return answer(
        'gateway-precondition',
        /status=403/.test(text) ? 403 : 503,
        /status=403/.test(text) ? 'Forbidden' : 'ServiceUnavailable',
        'later',
        [`Connect gateway could not carry the request to ${at}: ${text}`],
      );
    case 'NOT_FOUND':
      return answer('gateway-not-found', 404, 'NotFound', 'never', [
        `Connect gateway does not know ${at}: ${text}. Check it with: gcloud container fleet memberships list`,
      ]);
    case 'INVALID_ARGUMENT':
      return answer('gateway-bad-request', 400, 'BadRequest', 'never', [
        `Connect gateway rejected the request for ${at}: ${text}`,
      ]);
    default:
      return answer(
        'gateway-failure',
        failure.status,
        reasonOf(failure.status),
        failure.status >= 500 ? 'later' : 'never',
        [`Connect gateway answered HTTP ${failure.status} for ${at}: ${text}`],
      );
  }
}

function answer(
  code: string,
  status: number,
  reason: string,
  retry: RetryClass,
  lines: readonly string[],
): FailureAnswer {
  return { kind: 'answer', code, status, reason, retry, message: lines.join(' ') };
}

/** Google's own error behind any of its three forms (JSON, HTML page, `generic::` text), or undefined for the cluster's. */
function googleError(failure: UpstreamFailure): { status: string; message: string } | undefined {
  const { body, contentType } = failure;
  const json = contentType.includes('json') ? parseObject(body) : undefined;
  if (json !== undefined) {
    const error = json['error'];
    if (json['kind'] === 'Status' || typeof error !== 'object' || error === null) return undefined;
    const { message, status, code } = error as { message?: unknown; status?: unknown; code?: unknown };
    if (typeof message !== 'string' || typeof code !== 'number') return undefined;
    const generic = genericError(message);
    return generic ?? { status: typeof status === 'string' ? status : '', message: oneLine(message) };
  }
  const generic = genericError(body);
  if (generic !== undefined) return generic;
  if (/cannot connect to agent|no active connections found for cluster/i.test(body) && !failure.fromWorkload) {
    return { status: 'NOT_FOUND', message: oneLine(stripTags(body)) };
  }
  const isPage = contentType.includes('text/html') || /^\s*<!doctype html/i.test(body);
  if (!isPage) return undefined;
  const isGooglePage = /<title>Error \d{3} \([^)]*\)!!1<\/title>/.test(body);
  if (failure.fromWorkload && !isGooglePage) return undefined;
  return { status: '', message: pageText(body) };
}

/** `generic::permission_denied: text` is Google's canonical status in a message. */
function genericError(text: string): { status: string; message: string } | undefined {
  const match = /generic::([a-z_]+):\s*([\s\S]{1,2000})/.exec(text);
  if (match === null) return undefined;
  return { status: (match[1] ?? '').toUpperCase(), message: oneLine(match[2] ?? '') };
}

function pageText(html: string): string {
  const title = /<title>([^<]*)<\/title>/i.exec(html)?.[1]?.replace(/!!1$/, '') ?? '';
  const paragraph =
    /<p>(?!<b>)([\s\S]*?)(?:<ins>|<\/p>|$)/i.exec(html.replace(/<p><b>[\s\S]*?<\/ins>/i, ''))?.[1] ?? '';
  const said = [title, oneLine(stripTags(paragraph))].filter((part) => part !== '').join(': ');
  return said === '' ? 'an HTML page without text' : said;
}

function stripTags(html: string): string {
  return html.replace(/<(?:style|script)[\s\S]*?<\/(?:style|script)>/gi, ' ').replace(/<[^>]*>/g, ' ');
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().replace(/\.$/, '').slice(0, 1000);
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function statusOfCode(code: number): string {
  const names: Record<number, string> = {
    400: 'INVALID_ARGUMENT',
    401: 'UNAUTHENTICATED',
    403: 'PERMISSION_DENIED',
    404: 'NOT_FOUND',
    429: 'RESOURCE_EXHAUSTED',
  };
  return names[code] ?? '';
}

function reasonOf(code: number): string {
  const reasons: Record<number, string> = {
    405: 'MethodNotAllowed',
    409: 'Conflict',
    500: 'InternalError',
    502: 'BadGateway',
    503: 'ServiceUnavailable',
    504: 'Timeout',
  };
  return reasons[code] ?? 'Unknown';
}
