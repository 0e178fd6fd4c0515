import { CodedError } from '../base/errors.js';
import { type FlatHeaders, headerTokens } from '../base/flat-headers.js';
import { parseStrictly, type StrictApiRequest } from './api-request.js';

/**
 * What clients of one membership may do, whatever the identity's roles allow beyond it. Each policy is a list of what is
 * allowed; whatever is not on it, or cannot be read in one way only, is refused.
 */
export type AccessPolicy = 'full' | 'no-exec' | 'read-only';

/** One request, as it came. */
export interface PolicyCall {
  readonly method: string;
  /** Raw, beginning with `/`. */
  readonly target: string;
  readonly headers: FlatHeaders;
  /** The client asks for another protocol: exec and the like, and watches over WebSocket. */
  readonly upgrade: boolean;
}

type ResourceRequest = Extract<StrictApiRequest, { kind: 'resource' }>;

/** The same for both policies: what describes the server, and holds no objects. */
const OPEN_PATHS: readonly RegExp[] = [
  /^$/,
  /^api(?:\/[a-z0-9]+)?$/,
  /^apis(?:\/[a-z0-9.-]+){0,2}$/,
  /^openapi\/v2$/,
  /^openapi\/v3(?:\/[A-Za-z0-9._-]+)*$/,
  /^version$/,
  /^(?:healthz|livez|readyz)(?:\/[A-Za-z0-9._-]+)*$/,
  /^metrics$/,
  /^\.well-known\/openid-configuration$/,
  /^openid\/v1\/jwks$/,
];

/** Questions that Kubernetes takes by POST and keeps nothing of. `kubectl auth can-i` and `whoami` ask them. */
const QUESTIONS: ReadonlySet<string> = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authorization.k8s.io/subjectaccessreviews',
  'authorization.k8s.io/localsubjectaccessreviews',
  'authentication.k8s.io/selfsubjectreviews',
]);

const READ_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

/** Of any resource: they are part of the object. */
const READ_SUBRESOURCES: ReadonlySet<string> = new Set(['status', 'scale']);
/** `group/resource/subresource`. Nothing here runs a program, opens a connection, or reaches one. */
const WRITE_SUBRESOURCES: ReadonlySet<string> = new Set([
  '/pods/log',
  '/pods/binding',
  '/pods/eviction',
  '/pods/resize',
  '/serviceaccounts/token',
  '/namespaces/finalize',
  'certificates.k8s.io/certificatesigningrequests/approval',
]);

/** Verbs of the old API that stood where a resource stands now. */
const OLD_VERBS: ReadonlySet<string> = new Set(['proxy', 'redirect', 'watch']);

/** Google's front ends, and servers behind some of them, take the method or the path from these instead. */
const OVERRIDING_HEADERS: ReadonlySet<string> = new Set([
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-http-path-override',
  'x-original-method',
  'x-original-url',
  'x-original-uri',
  'x-rewrite-url',
  'x-envoy-original-path',
]);

/** Why the policy refuses the call, in words that end a sentence; undefined where it is allowed. */
export function policyObjection(policy: AccessPolicy, call: PolicyCall): string | undefined {
  if (policy === 'full') return undefined;
  const overriding = overridingName(call);
  if (overriding !== undefined) return `${overriding} could make it another request on the way`;
  const request = parseStrictly(call.target);
  if (request === undefined) return 'its path can be read in more than one way';
  if (call.upgrade || headerTokens(call.headers, 'upgrade').length > 0) {
    return 'it asks for a connection of its own (exec, attach, port-forward, or an upgraded watch)';
  }
  if (request.kind === 'path') {
    if (!READ_METHODS.has(call.method)) return `${call.method} is allowed on resources alone`;
    const path = request.segments.join('/');
    return OPEN_PATHS.some((open) => open.test(path)) ? undefined : `/${path} is not among the paths that it allows`;
  }
  if (OLD_VERBS.has(request.resource)) return `/${request.resource}/ is not allowed`;
  if (request.prefixWatch && (call.method !== 'GET' || request.subresource !== undefined)) {
    return 'the path prefix /watch/ is for reading objects';
  }
  return policy === 'read-only' ? readObjection(call.method, request) : writeObjection(call.method, request);
}

function readObjection(method: string, request: ResourceRequest): string | undefined {
  const { group, resource, name, subresource } = request;
  if (method === 'POST' && name === undefined && QUESTIONS.has(`${group}/${resource}`)) return undefined;
  if (!READ_METHODS.has(method)) return 'it changes something; only reading is allowed';
  // As Kubernetes' own role `view`: a secret may hold a credential that may do more.
  if (group === '' && resource === 'secrets') return 'secrets are not shown';
  if (subresource === undefined || READ_SUBRESOURCES.has(subresource) || isPodLog(request)) return undefined;
  return `the subresource ${subresource} is not among those that it lets read`;
}

function writeObjection(method: string, request: ResourceRequest): string | undefined {
  const { group, resource, subresource } = request;
  if (!METHODS.has(method)) return `the method ${method} is not allowed`;
  if (subresource === undefined || READ_SUBRESOURCES.has(subresource)) return undefined;
  if (WRITE_SUBRESOURCES.has(`${group}/${resource}/${subresource}`)) return undefined;
  return `the subresource ${subresource} is not among those that it allows`;
}

function isPodLog({ group, resource, subresource }: ResourceRequest): boolean {
  return group === '' && resource === 'pods' && subresource === 'log';
}

/** Google reads parameters that begin with `$` as headers and methods; Kubernetes has none of that name. */
function overridingName({ headers, target }: PolicyCall): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase().replaceAll('_', '-');
    if (OVERRIDING_HEADERS.has(name)) return `the header ${headers[i]}`;
  }
  const mark = target.indexOf('?');
  if (mark === -1) return undefined;
  for (const name of new URLSearchParams(target.slice(mark)).keys()) {
    if (name.startsWith('$') || name === '_method') return 'a query parameter';
  }
  return undefined;
}

/** Throws a CodedError (403, `policy-refused`) that names the policy, the membership and where the policy is set. */
export function assertPolicyAllows(
  membership: { readonly name: string; readonly alias: string; readonly policy: AccessPolicy },
  call: PolicyCall,
): void {
  const objection = policyObjection(membership.policy, call);
  if (objection === undefined) return;
  const { alias, name, policy } = membership;
  throw new CodedError({
    code: 'policy-refused',
    message: `connect-gateway-proxy: the policy ${policy} of membership ${alias} refuses this ${safeMethod(call.method)}: ${objection}. The policy is the key policy: of ${name} under memberships: in the daemon's config file`,
    answer: { status: 403, reason: 'Forbidden' },
  });
}

function safeMethod(method: string): string {
  return METHODS.has(method) ? method : 'request';
}
