import type { IncomingMessage } from 'node:http';
import type { Caller } from '../../cluster-backend.js';
import { ApiError, forbidden } from '../api-error.js';
import type { Dict } from '../json.js';
import { dict, text } from '../json.js';
import { RESOURCE_TYPES } from '../resource-table.js';

/** Who a request is made as, impersonation included. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** May only look, and not at secrets: so that refusals can be seen. Everybody else is an administrator. */
const VIEWER = 'viewer@example.com';
const LOOKING = ['get', 'list', 'watch'];
const AUTHENTICATED = 'system:authenticated';
const EXTRA = 'impersonate-extra-';

/** Throws the API server's refusal of an impersonation that is not allowed or not complete. */
export function userOf(request: IncomingMessage, caller: Caller): User {
  const own: User = { name: caller.user, groups: [...new Set([...caller.groups, AUTHENTICATED])] };
  const headers = impersonationHeaders(request);
  if (headers.length === 0) return own;
  const values = (wanted: string): string[] => headers.flatMap(([name, value]) => (name === wanted ? [value] : []));
  const [name = ''] = values('impersonate-user');
  if (name === '') {
    const told = [...new Set(headers.map(([header]) => header))].join(', ');
    throw new ApiError(500, 'InternalError', `requested ${told} without impersonating a user`);
  }
  if (own.name === VIEWER) {
    const why = `User "${own.name}" cannot impersonate resource "users" in API group "" at the cluster scope`;
    throw forbidden({ group: '', plural: 'users' }, name, why);
  }
  const [uid] = values('impersonate-uid');
  const extra: Record<string, string[]> = {};
  for (const [header, value] of headers) {
    if (!header.startsWith(EXTRA)) continue;
    const key = decodeKey(header.slice(EXTRA.length));
    extra[key] = [...(Object.hasOwn(extra, key) ? (extra[key] ?? []) : []), value];
  }
  return {
    name,
    groups: [...new Set([...groupsOf(name, values('impersonate-group')), AUTHENTICATED])],
    ...(uid === undefined ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

/** Names in small letters, with the values in the order of the request. */
function impersonationHeaders({ rawHeaders }: IncomingMessage): (readonly [string, string])[] {
  return rawHeaders.flatMap((raw, index) => {
    const name = raw.toLowerCase();
    return index % 2 === 0 && name.startsWith('impersonate-') ? [[name, rawHeaders[index + 1] ?? ''] as const] : [];
  });
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

/** A service account is in its groups without being asked. */
function groupsOf(name: string, asked: readonly string[]): readonly string[] {
  const account = /^system:serviceaccount:([^:]+):[^:]+$/.exec(name);
  if (account === null || asked.length > 0) return asked;
  return ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`];
}

export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export function mayDo(user: User, { verb, resource, subresource }: Attributes): boolean {
  if (user.name !== VIEWER) return true;
  if (/^selfsubject[a-z]*reviews$/.test(resource)) return true;
  const stream = ['exec', 'attach', 'portforward'].includes(subresource ?? '');
  return LOOKING.includes(verb) && resource !== 'secrets' && resource !== '*' && !stream;
}

/** Throws the real server's 403. */
export function assertMayDo(user: User, attributes: Attributes): void {
  if (mayDo(user, attributes)) return;
  const { verb, group, resource, subresource, namespace, name = '' } = attributes;
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  // A namespace counts as being in itself.
  const inside = resource === 'namespaces' && name !== '' ? name : namespace;
  const where = inside === undefined ? 'at the cluster scope' : `in the namespace "${inside}"`;
  const why = `User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`;
  throw forbidden({ group, plural: resource }, name, why);
}

/** The verb of a request to a resource, as RBAC and discovery know it. */
export function verbOf(method: string, options: { name: string | undefined; watch: boolean; stream: boolean }): string {
  if (options.watch) return 'watch';
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return options.name === undefined ? 'deletecollection' : 'delete';
    case 'GET':
      // Since Kubernetes 1.35 a stream needs both get and create (cluster-facts, RBAC): the rarer one is checked.
      return options.stream ? 'create' : options.name === undefined ? 'list' : 'get';
    default:
      return method.toLowerCase();
  }
}

/** Answers of the review resources, by kind. Undefined for a kind that is no review. */
export function review(kind: string, body: Dict, user: User): Dict | undefined {
  const { metadata: _metadata, status: _status, ...rest } = body;
  const answer = (status: Dict): Dict => ({ ...rest, kind, metadata: { creationTimestamp: null }, status });
  switch (kind) {
    case 'SelfSubjectReview': {
      const { name: username, uid, groups, extra } = user;
      const more = { ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) };
      return answer({ userInfo: { username, groups, ...more } });
    }
    case 'SelfSubjectAccessReview':
      return answer(verdict(user, dict(body['spec'])));
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview': {
      const spec = dict(body['spec']);
      return answer(verdict({ name: text(spec['user']), groups: [] }, spec));
    }
    case 'SelfSubjectRulesReview':
      return answer({ ...rulesOf(user), incomplete: false });
    default:
      return undefined;
  }
}

function rulesOf(user: User): Dict {
  if (user.name !== VIEWER) {
    return {
      resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
      nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
    };
  }
  const readable = RESOURCE_TYPES.filter(({ id, verbs }) => id !== 'secrets' && verbs.includes('get'));
  const groups = [...new Set(readable.map(({ group }) => group))];
  return {
    resourceRules: groups.map((group) => ({
      verbs: LOOKING,
      apiGroups: [group],
      resources: [...new Set(readable.filter((type) => type.group === group).map(({ plural }) => plural))],
    })),
    nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['*'] }],
  };
}

function verdict(user: User, spec: Dict): Dict {
  const wanted = dict(spec['resourceAttributes']);
  const allowed =
    spec['resourceAttributes'] === undefined ||
    mayDo(user, {
      verb: text(wanted['verb']),
      group: text(wanted['group']),
      resource: text(wanted['resource']),
      subresource: text(wanted['subresource']) || undefined,
    });
  return allowed ? { allowed: true, reason: 'emulator: administrators may do everything' } : { allowed: false };
}
