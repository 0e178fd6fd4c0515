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
  /** Who Google sees, as RBAC names them; absent where no name is known. */
  readonly user?: string;
  /** The same as IAM's commands name it: `user:dev@example.com`. */
  readonly member?: string;
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
  /** What `google.rpc.ErrorInfo` says besides, such as the permission or the quota; empty without one. */
  readonly metadata: string;
  /** The error names the gateway as the service that it comes from. */
  readonly namesGateway: boolean;
  /** Its form does not tell that Google says it: only words that nobody else uses make it Google's. */
  readonly doubtful?: true;
}

/** The Connect agent's own identity in the cluster: what it is refused is not the user's RBAC but the gateway's set-up. */
const AGENT = /system:serviceaccount:gke-connect:connect-agent-sa\S* cannot impersonate/;

const AGENT_SENTENCE =
  /[a-z]+ "[^"]*" is forbidden: User "[^"]*:connect-agent-sa" cannot impersonate resource "[^"]*" in API group "[^"]*" (?:at the cluster scope|in the namespace "[^"]*")/;

/** As the API server writes a Status: with its kind before all else that could be long. */
const STATUS_BEGINS = /^\s*\{\s*"(?:kind"\s*:\s*"Status"|apiVersion"\s*:\s*"v1"\s*,\s*"kind"\s*:\s*"Status")/;

/** The texts of the gateway itself that come without any form. */
const BARE_TEXT = /cannot connect to agent|no active connections found for cluster/i;

/** What the API server never begins a message with, though it may quote it: such a Status is the gateway's. */
const GATEWAY_SPEAKS =
  /^(?:generic::[a-z_]+|(?:rpc error: code = \w+ desc = )?(?:cannot connect to agent|no active connections found for cluster|permission\s*'gkehub\.gateway\.|(?:agent connection|connection (?:to|with) (?:the )?agent) (?:failed|terminated)|error encountered within the cluster|failed to connect to the cluster's API Server with response))/i;

/** google.rpc.Code, by number. */
const RPC_CODES =
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED'.split(
    ' ',
  );

/** Google's own error behind any of its forms, or undefined for what the cluster or a workload says. */
export function readGoogleError(failure: UpstreamFailure): GoogleError | undefined {
  const { body, contentType, status, fromWorkload } = failure;
  // Which content type Google gives its errors is not known from any report: JSON is known by its beginning too.
  const json = contentType.includes('json') || /^\s*[[{]/.test(body) ? parseObject(body) : undefined;
  // Only its beginning is at hand of one that is long; whatever it quotes, the cluster says it.
  if (json === undefined && STATUS_BEGINS.test(body)) return undefined;
  if (json !== undefined) {
    const message = json['message'];
    return json['kind'] === 'Status'
      ? (agentRefusal(message, failure) ?? gatewayStatus(message, failure))
      : errorObject(json, failure);
  }
  // Typed clients of client-go have their errors in protobuf, where the message stands as it is.
  if (contentType.includes('vnd.kubernetes.protobuf')) return agentRefusal(AGENT_SENTENCE.exec(body)?.[0], failure);
  const isPage = contentType.includes('text/html') || /^\s*<(?:!doctype html|html)/i.test(body);
  const said = isPage ? textOf(body) : body;
  const generic = genericError(said, status);
  if (generic !== undefined) return generic;
  const plain = { httpStatus: status, reason: '', metadata: '', namesGateway: false };
  const line = oneLine(said);
  if (BARE_TEXT.test(line) && !fromWorkload) return { ...plain, form: 'text', canonical: 'NOT_FOUND', text: line };
  if (isPage) {
    const isGooglePage = /<title>Error \d{3} \([^)]*\)!!1<\/title>/.test(body);
    if (fromWorkload && !isGooglePage) return undefined;
    return { ...plain, form: 'page', canonical: canonicalOf(status), text: pageText(body) };
  }
  if (fromWorkload) return undefined;
  if (body === '') return emptyError(failure);
  return { ...plain, form: 'text', canonical: '', text: line, doubtful: true };
}

/** Google's error in words that came over a stream: the reason of a close, or a message of an error channel. */
export function readGoogleText(text: string): GoogleError | undefined {
  const generic = genericError(text, 0);
  if (generic !== undefined) return generic;
  const message = parseObject(text)?.['message'];
  const words = typeof message === 'string' ? message : text;
  // A command may say on its end what it likes.
  if (!GATEWAY_SPEAKS.test(words.trim())) return undefined;
  return {
    form: 'text',
    canonical: '',
    httpStatus: 0,
    text: oneLine(words),
    reason: '',
    metadata: '',
    namesGateway: false,
  };
}

/** The API server never says 400 or 429 without a word; Google does when it throttles. */
function emptyError({ status }: UpstreamFailure): GoogleError | undefined {
  if (status !== 400 && status !== 429) return undefined;
  const canonical = status === 429 ? 'RESOURCE_EXHAUSTED' : '';
  return {
    form: 'empty',
    canonical,
    httpStatus: status,
    text: `HTTP ${status} without a word`,
    reason: '',
    metadata: '',
    namesGateway: false,
  };
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
    metadata: '',
    namesGateway: true,
  };
}

/** The gateway's own words in the cluster's form. */
function gatewayStatus(message: unknown, failure: UpstreamFailure): GoogleError | undefined {
  if (typeof message !== 'string' || failure.fromWorkload || !GATEWAY_SPEAKS.test(message.trim())) return undefined;
  return messageError(message, { failure, form: 'text' });
}

function errorObject(json: Record<string, unknown>, failure: UpstreamFailure): GoogleError | undefined {
  const { error = json } = json;
  if (typeof error === 'string') {
    // As grpc-gateway wrote it once: the words are there twice, the code beside them.
    const doubtful = rpcCode(json['code']) === undefined;
    return failure.fromWorkload ? undefined : messageError(error, { failure, form: 'text', doubtful });
  }
  if (typeof error !== 'object' || error === null) return undefined;
  const { message, status, code, details } = error as Record<string, unknown>;
  if (typeof message !== 'string') return undefined;
  // Without a wrapper it is google.rpc.Status itself, as grpc-gateway writes it.
  const rpc = error === json ? rpcCode(code) : undefined;
  const known = error === json ? rpc !== undefined : typeof code === 'number';
  if (failure.fromWorkload && (!known || error === json)) return undefined;
  const canonical = typeof status === 'string' && status !== '' ? status : rpc;
  return messageError(message, {
    failure,
    form: 'json',
    doubtful: !known,
    info: errorInfo(details),
    ...(canonical === undefined ? {} : { canonical }),
  });
}

function messageError(
  message: string,
  o: {
    failure: UpstreamFailure;
    form: 'json' | 'text';
    canonical?: string;
    doubtful?: boolean;
    info?: { reason: string; metadata: string; service: string };
  },
): GoogleError {
  const { failure, form, info, canonical = canonicalOf(failure.status) } = o;
  const generic = genericError(message, failure.status) ?? rpcError(message);
  return {
    form,
    canonical: generic?.canonical ?? canonical,
    httpStatus: failure.status,
    text: generic?.text ?? oneLine(message),
    reason: info?.reason ?? '',
    metadata: info?.metadata ?? '',
    namesGateway: info?.service.startsWith('connectgateway.') ?? false,
    ...(o.doubtful === true ? { doubtful: true } : {}),
  };
}

/** Undefined for what is no code of google.rpc.Code, by number or by name. */
function rpcCode(code: unknown): string | undefined {
  if (typeof code === 'number') return code === 0 ? undefined : RPC_CODES[code];
  return typeof code === 'string' && RPC_CODES.includes(code) ? code : undefined;
}

function errorInfo(details: unknown): { reason: string; metadata: string; service: string } {
  for (const detail of Array.isArray(details) ? (details as unknown[]) : []) {
    if (typeof detail !== 'object' || detail === null) continue;
    const { '@type': type, reason, metadata } = detail as Record<string, unknown>;
    if (typeof type !== 'string' || !type.endsWith('google.rpc.ErrorInfo')) continue;
    const values = typeof metadata === 'object' && metadata !== null ? (metadata as Record<string, unknown>) : {};
    const { service } = values;
    return {
      reason: typeof reason === 'string' ? reason : '',
      metadata: Object.values(values)
        .filter((value) => typeof value === 'string')
        .join(' '),
      service: typeof service === 'string' ? service : '',
    };
  }
  return { reason: '', metadata: '', service: '' };
}

/** `generic::permission_denied: text` is Google's canonical status in a message. */
function genericError(text: string, httpStatus: number): GoogleError | undefined {
  const match = /generic::([a-z_]+):?\s*([\s\S]{0,2000})/i.exec(text);
  if (match === null) return undefined;
  const [whole, code = '', said = ''] = match;
  const canonical = code.toUpperCase();
  const words = oneLine(said) || whole;
  return { form: 'text', canonical, httpStatus, text: words, reason: '', metadata: '', namesGateway: false };
}

/** `rpc error: code = PermissionDenied desc = text` is the same as gRPC's clients in Go write it. */
function rpcError(text: string): { canonical: string; text: string } | undefined {
  const match = /rpc error: code = (\w+) desc = ([\s\S]{1,2000})/.exec(text);
  if (match === null) return undefined;
  const [, name = '', said = ''] = match;
  return { canonical: name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(), text: oneLine(said) };
}

function pageText(html: string): string {
  const title = /<title>([^<]*)<\/title>/i.exec(html)?.[1]?.replace(/!!1$/, '') ?? '';
  const paragraph =
    /<p>(?!<b>)([\s\S]*?)(?:<ins>|<\/p>|$)/i.exec(html.replace(/<p><b>[\s\S]*?<\/ins>/i, ''))?.[1] ?? '';
  const said = [title, oneLine(textOf(paragraph))].filter((part) => part !== '').join(': ');
  return said === '' ? 'an HTML page without text' : said;
}

function textOf(html: string): string {
  return html
    .replace(/<(?:style|script)[\s\S]*?<\/(?:style|script)>/gi, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(?:#39|#x27|apos|rsquo);/gi, "'")
    .replace(/&quot;/gi, '"')
    .replace(/&amp;/gi, '&');
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
