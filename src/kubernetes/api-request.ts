import { isTrue } from './query-boolean.js';

/** What a request to the Kubernetes API asks for, read from its method and target alone. */
export interface ApiRequest {
  readonly kind: ApiRequestKind;
  /** API group; empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespace?: string;
  readonly resource?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/**
 * `discovery` is /api, /apis, /apis/g, /api/v1, /apis/g/v and /openapi; `proxy` is anything below a pod's, service's or
 * node's proxy subresource, whose answers are not the API server's own; `other` is /version, /healthz and the unknown.
 */
export type ApiRequestKind =
  | 'discovery'
  | 'resource'
  | 'watch'
  | 'log'
  | 'log-follow'
  | 'exec'
  | 'attach'
  | 'port-forward'
  | 'proxy'
  | 'other';

/** `target` is the raw request target, beginning with `/`; it is only read, never rewritten. */
export function parseApiRequest(target: string): ApiRequest {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? '' : target.slice(mark + 1);
  const segments = segmentsOf(path);
  const [root] = segments;
  if (root === 'openapi') return { kind: 'discovery', group: '', version: '' };
  if (root !== 'api' && root !== 'apis') return { kind: 'other', group: '', version: '' };
  const core = root === 'api';
  const group = core ? '' : (segments[1] ?? '');
  const version = (core ? segments[1] : segments[2]) ?? '';
  let rest = segments.slice(core ? 2 : 3);
  if (rest.length === 0) return { kind: 'discovery', group, version };

  // The old /watch/ prefix form is deprecated since 1.11 but still served.
  const prefixWatch = rest[0] === 'watch' && rest.length > 1;
  if (prefixWatch) rest = rest.slice(1);
  let namespace: string | undefined;
  if (rest[0] === 'namespaces' && rest.length > 2 && !isNamespaceSubresource(rest)) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [resource, name, subresource] = rest;
  const kind = kindOf({ core, resource, name, subresource, query, prefixWatch });
  const request: { -readonly [K in keyof ApiRequest]: ApiRequest[K] } = { kind, group, version };
  if (namespace !== undefined) request.namespace = namespace;
  if (resource !== undefined) request.resource = resource;
  if (name !== undefined) request.name = name;
  if (subresource !== undefined) request.subresource = subresource;
  return request;
}

/** Without empty ones. By hand: `split` and `filter` take longer than all the rest. */
function segmentsOf(path: string): string[] {
  const segments: string[] = [];
  for (let at = 0; at < path.length; ) {
    const slash = path.indexOf('/', at);
    const end = slash === -1 ? path.length : slash;
    if (end > at) segments.push(path.slice(at, end));
    at = end + 1;
  }
  return segments;
}

/**
 * Whether a request keeps some program's picture of the cluster fresh, and nobody waits for it: discovery, and what
 * caches of controllers ask, which are watches and the lists that they begin from. `kubectl get` names no resourceVersion.
 */
export function isBackground(api: ApiRequest, call: { method: string; target: string }): boolean {
  if (call.method !== 'GET') return false;
  if (api.kind === 'discovery' || api.kind === 'watch') return true;
  return api.kind === 'resource' && api.name === undefined && /[?&]resourceVersion=/.test(call.target);
}

function isNamespaceSubresource(rest: readonly string[]): boolean {
  return rest.length === 3 && (rest[2] === 'finalize' || rest[2] === 'status');
}

function kindOf(request: {
  core: boolean;
  resource: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
  query: string;
  prefixWatch: boolean;
}): ApiRequestKind {
  const { core, resource, subresource, query } = request;
  if (core && subresource === 'proxy') return 'proxy';
  if (core && resource === 'pods') {
    if (subresource === 'exec') return 'exec';
    if (subresource === 'attach') return 'attach';
    if (subresource === 'portforward') return 'port-forward';
    if (subresource === 'log') return asks(query, 'follow') ? 'log-follow' : 'log';
  }
  // Behind the name of one object the parameter means nothing to API servers: they answer the object.
  const watches = request.prefixWatch || (request.name === undefined && asks(query, 'watch'));
  return watches ? 'watch' : 'resource';
}

function asks(query: string, name: string): boolean {
  return query.includes(name) && isTrue(new URLSearchParams(query).get(name));
}

/** A request target that can be read in one way only. */
export type StrictApiRequest =
  | {
      readonly kind: 'path';
      /** Of /, discovery, openapi, version, health and the like. */
      readonly segments: readonly string[];
    }
  | {
      readonly kind: 'resource';
      readonly group: string;
      readonly version: string;
      readonly namespace?: string;
      readonly resource: string;
      readonly name?: string;
      readonly subresource?: string;
      /** The old /watch/ prefix. */
      readonly prefixWatch: boolean;
    };

const WORD = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/;
/** Of a path that names no resource: nothing that any server on the way could decode, merge or cut at. */
const PATH_SEGMENT = /^\.?[A-Za-z0-9][A-Za-z0-9._-]*$/;
/**
 * RBAC objects have colons and at signs in their names, which some clients escape. No other escape is read: it could
 * hide a slash, a dot or a word.
 */
const NAME = /^(?:[A-Za-z0-9_~+:@-]|\.(?!\.)|%3A|%40)+$/i;
const QUERY = /^[!"$-~]*$/;

/**
 * Reads a target as `parseApiRequest` does, but answers undefined for whatever two servers could read differently: empty
 * and dot segments, escapes, `;`, `\`, capitals where Kubernetes has none, a trailing slash behind a resource, and
 * anything below a subresource. What a policy decides on is read here.
 */
export function parseStrictly(target: string): StrictApiRequest | undefined {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  if (mark !== -1 && !QUERY.test(target.slice(mark + 1))) return undefined;
  if (!path.startsWith('/')) return undefined;
  const segments = path.slice(1).split('/');
  // Discovery is asked for with a trailing slash by some clients.
  const slash = segments.at(-1) === '';
  if (slash) segments.pop();
  const [root, second] = segments;
  const core = root === 'api';
  const head = core ? 2 : 3;
  if ((!core && root !== 'apis') || segments.length <= head) {
    return segments.every((segment) => PATH_SEGMENT.test(segment)) ? { kind: 'path', segments } : undefined;
  }
  const group = core ? '' : (second ?? '');
  const version = segments[head - 1] ?? '';
  if (slash || !WORD.test(version) || (!core && !WORD.test(group))) return undefined;
  return strictResource(segments.slice(head), { group, version });
}

function strictResource(
  segments: readonly string[],
  api: { group: string; version: string },
): StrictApiRequest | undefined {
  const prefixWatch = segments[0] === 'watch' && segments.length > 1;
  let rest = prefixWatch ? segments.slice(1) : segments;
  let namespace: string | undefined;
  if (rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'finalize' && rest[2] !== 'status') {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [resource = '', name, subresource] = rest;
  if (rest.length > 3 || !WORD.test(resource)) return undefined;
  if (namespace !== undefined && !WORD.test(namespace)) return undefined;
  if (name !== undefined && (!NAME.test(name) || name === '.')) return undefined;
  if (subresource !== undefined && !WORD.test(subresource)) return undefined;
  return {
    kind: 'resource',
    ...api,
    ...(namespace === undefined ? {} : { namespace }),
    resource,
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
    prefixWatch,
  };
}
