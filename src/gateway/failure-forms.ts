/** An upstream answer with a code of 400 or more; `body` is its beginning, decoded. */
export interface UpstreamFailure {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** True below a proxy subresource, where HTML and JSON are a workload's own. */
  readonly fromWorkload: boolean;
  /** Named in messages, so that the reader knows which cluster is meant. */
  readonly membership: string;
  /** What is known of the membership besides; messages say it in the commands that they name. */
  readonly about?: MembershipFacts;
  /** Set where the client asked for an upgrade: `websocket`, `spdy/3.1`. */
  readonly upgrade?: string;
}

export interface MembershipFacts {
  readonly id: string;
  readonly location: string;
  /** Of the fleet host: its id where known, else its number. */
  readonly project: string;
  readonly kind: string;
  /** What a person does where Google refuses its tokens, ending in a command. */
  readonly renewal?: string;
}

/** What Google says, freed of its form. */
export interface GoogleError {
  /** `json`: googleapis' error object; `text`: `generic::…`, alone or inside another text; `page`: HTML; `empty`: nothing at all. */
  readonly form: 'json' | 'text' | 'page' | 'empty' | 'kubernetes';
  /** Google's canonical status such as `NOT_FOUND`; empty where nothing tells it. */
  readonly canonical: string;
  /** HTTP status of the answer; 0 where the text came on a stream. */
  readonly httpStatus: number;
  /** One line, without a full stop. */
  readonly text: string;
  /** `google.rpc.ErrorInfo`'s reason, such as `SERVICE_DISABLED`; empty without one. */
  readonly reason: string;
  /** The error names the gateway as the service that it comes from. */
  readonly namesGateway: boolean;
}

/** The Connect agent's own identity in the cluster: what it is refused is not the user's RBAC but the gateway's set-up. */
const AGENT = /system:serviceaccount:gke-connect:connect-agent-sa\S* cannot impersonate/;

const AGENT_SENTENCE =
  /[a-z]+ "[^"]*" is forbidden: User "[^"]*:connect-agent-sa" cannot impersonate resource "[^"]*" in API group "[^"]*" (?:at the cluster scope|in the namespace "[^"]*")/;

/** As the API server writes a Status: with its kind before all else that could be long. */
const STATUS_BEGINS = /^\s*\{\s*"(?:kind"\s*:\s*"Status"|apiVersion"\s*:\s*"v1"\s*,\s*"kind"\s*:\s*"Status")/;

/** The texts of the gateway itself that come without any form. */
const BARE_TEXT = /cannot connect to agent|no active connections found for cluster/i;

/** Google's own error behind any of its forms, or undefined for what the cluster or a workload says. */
export function readGoogleError(failure: UpstreamFailure): GoogleError | undefined {
  const { body, contentType, status, fromWorkload } = failure;
  const json = contentType.includes('json') ? parseObject(body) : undefined;
  // Only its beginning is at hand of one that is long; whatever it quotes, the cluster says it.
  if (json === undefined && STATUS_BEGINS.test(body)) return undefined;
  if (json !== undefined) {
    return json['kind'] === 'Status' ? agentRefusal(json['message'], failure) : errorObject(json, failure);
  }
  // Typed clients of client-go have their errors in protobuf, where the message stands as it is.
  if (contentType.includes('vnd.kubernetes.protobuf')) return agentRefusal(AGENT_SENTENCE.exec(body)?.[0], failure);
  const generic = genericError(body, status);
  if (generic !== undefined) return generic;
  const plain = { httpStatus: status, reason: '', namesGateway: false };
  if (BARE_TEXT.test(body) && !fromWorkload) {
    return { ...plain, form: 'text', canonical: 'NOT_FOUND', text: oneLine(stripTags(body)) };
  }
  const isPage = contentType.includes('text/html') || /^\s*<!doctype html/i.test(body);
  if (isPage) {
    const isGooglePage = /<title>Error \d{3} \([^)]*\)!!1<\/title>/.test(body);
    if (fromWorkload && !isGooglePage) return undefined;
    return { ...plain, form: 'page', canonical: canonicalOf(status), text: pageText(body) };
  }
  // The API server never says 400 without a word; Google does when it throttles.
  if (status === 400 && body === '' && !fromWorkload) {
    return { ...plain, form: 'empty', canonical: '', text: 'HTTP 400 without a word' };
  }
  return undefined;
}

/** Google's error in words that came over a stream: the reason of a close, or a message of an error channel. */
export function readGoogleText(text: string): GoogleError | undefined {
  return genericError(text, 0);
}

/** Of all that a cluster says in its own form, this alone is about the gateway: its agent may not speak for the caller. */
function agentRefusal(message: unknown, failure: UpstreamFailure): GoogleError | undefined {
  if (typeof message !== 'string' || failure.fromWorkload || !AGENT.test(message.replaceAll('"', ''))) return undefined;
  return {
    form: 'kubernetes',
    canonical: 'PERMISSION_DENIED',
    httpStatus: failure.status,
    text: oneLine(message),
    reason: '',
    namesGateway: true,
  };
}

function errorObject(json: Record<string, unknown>, failure: UpstreamFailure): GoogleError | undefined {
  const error = json['error'];
  if (typeof error !== 'object' || error === null) return undefined;
  const { message, status, code, details } = error as Record<string, unknown>;
  if (typeof message !== 'string' || typeof code !== 'number') return undefined;
  const info = errorInfo(details);
  const generic = genericError(message, failure.status);
  const canonical = typeof status === 'string' && status !== '' ? status : canonicalOf(failure.status);
  return {
    form: 'json',
    canonical: generic?.canonical ?? canonical,
    httpStatus: failure.status,
    text: generic?.text ?? oneLine(message),
    reason: info.reason,
    namesGateway: info.service === 'connectgateway.googleapis.com',
  };
}

function errorInfo(details: unknown): { reason: string; service: string } {
  for (const detail of Array.isArray(details) ? (details as unknown[]) : []) {
    if (typeof detail !== 'object' || detail === null) continue;
    const { '@type': type, reason, metadata } = detail as Record<string, unknown>;
    if (typeof type !== 'string' || !type.endsWith('google.rpc.ErrorInfo')) continue;
    const service = (metadata as { service?: unknown } | null | undefined)?.service;
    return {
      reason: typeof reason === 'string' ? reason : '',
      service: typeof service === 'string' ? service : '',
    };
  }
  return { reason: '', service: '' };
}

/** `generic::permission_denied: text` is Google's canonical status in a message. */
function genericError(text: string, httpStatus: number): GoogleError | undefined {
  const match = /generic::([a-z_]+):\s*([\s\S]{1,2000})/.exec(text);
  if (match === null) return undefined;
  const canonical = (match[1] ?? '').toUpperCase();
  return { form: 'text', canonical, httpStatus, text: oneLine(match[2] ?? ''), reason: '', namesGateway: false };
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

/** Google's streaming methods put their error into a list of its own. */
function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    const value: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function canonicalOf(status: number): string {
  const names: Record<number, string> = {
    400: 'INVALID_ARGUMENT',
    401: 'UNAUTHENTICATED',
    403: 'PERMISSION_DENIED',
    404: 'NOT_FOUND',
    429: 'RESOURCE_EXHAUSTED',
    503: 'UNAVAILABLE',
  };
  return names[status] ?? '';
}
