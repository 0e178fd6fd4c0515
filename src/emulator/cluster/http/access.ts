import type { IncomingMessage } from 'node:http';
import type { Caller } from '../../cluster-backend.js';
import { forbidden } from '../api-error.js';
import type { Dict } from '../json.js';
import { dict, text } from '../json.js';

/** Who a request is made as, impersonation included. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

/** May only look, and not at secrets: so that refusals can be seen. Everybody else is an administrator. */
const VIEWER = 'viewer@example.com';
const LOOKING = new Set(['get', 'list', 'watch']);

export function userOf(request: IncomingMessage, caller: Caller): User {
  const raw = request.rawHeaders;
  const values = (wanted: string): string[] =>
    raw.flatMap((part, index) => (index % 2 === 0 && part.toLowerCase() === wanted ? [raw[index + 1] ?? ''] : []));
  const [impersonated] = values('impersonate-user');
  const name = impersonated ?? caller.user;
  const groups = impersonated === undefined ? caller.groups : values('impersonate-group');
  return { name, groups: [...new Set([...groups, 'system:authenticated'])] };
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
  if (/^self.*reviews$/.test(resource)) return true;
  const stream = ['exec', 'attach', 'portforward'].includes(subresource ?? '');
  return LOOKING.has(verb) && resource !== 'secrets' && !stream;
}

/** Throws the real server's 403. */
export function assertMayDo(user: User, attributes: Attributes): void {
  if (mayDo(user, attributes)) return;
  const { verb, group, resource, subresource, namespace, name = '' } = attributes;
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? ' at the cluster scope' : ` in the namespace "${namespace}"`;
  throw forbidden(
    { group, plural: resource },
    name,
    `User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}"${where}`,
  );
}

/** The verb of a request to a resource, as RBAC knows it. */
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
    default:
      // Since Kubernetes 1.35 a stream needs both get and create (cluster-facts, RBAC): the rarer one is checked.
      return options.stream ? 'create' : options.name === undefined ? 'list' : 'get';
  }
}

/** Answers of the review resources, by kind. Undefined for a kind that is no review. */
export function review(kind: string, body: Dict, user: User): Dict | undefined {
  const { metadata: _metadata, status: _status, ...rest } = body;
  const answer = (status: Dict): Dict => ({ ...rest, kind, metadata: { creationTimestamp: null }, status });
  switch (kind) {
    case 'SelfSubjectReview':
      return answer({ userInfo: { username: user.name, groups: user.groups } });
    case 'SelfSubjectAccessReview':
      return answer(verdict(user, dict(body['spec'])));
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview': {
      const spec = dict(body['spec']);
      return answer(verdict({ name: text(spec['user']), groups: [] }, spec));
    }
    case 'SelfSubjectRulesReview': {
      const viewer = user.name === VIEWER;
      const verbs = viewer ? [...LOOKING] : ['*'];
      return answer({
        resourceRules: [{ verbs, apiGroups: ['*'], resources: ['*'] }],
        nonResourceRules: [{ verbs: viewer ? ['get'] : ['*'], nonResourceURLs: ['*'] }],
        incomplete: false,
      });
    }
    default:
      return undefined;
  }
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
