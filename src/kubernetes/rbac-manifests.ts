/** Who gets a right, as RBAC names them. A Google service account is a user there, by its e-mail. */
export type RbacSubject =
  | { readonly kind: 'User'; readonly name: string }
  | { readonly kind: 'Group'; readonly name: string }
  | { readonly kind: 'ServiceAccount'; readonly name: string; readonly namespace: string };

/** Where rights hold. */
export type RbacScope = { readonly namespace: string } | 'cluster';

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** One object of the RBAC API, in the order in which people write its keys. */
export type RbacManifest = Readonly<Record<string, unknown>>;

/** What an access review asks: may somebody do this. */
export interface AccessQuestion {
  readonly verb: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  /** Absent: everywhere. */
  readonly namespace?: string;
  /** The oldest Kubernetes that asks for it; absent: all do. */
  readonly since?: string;
}

const RBAC_API = 'rbac.authorization.k8s.io';
export const STREAM_SUBRESOURCES = ['exec', 'attach', 'portforward'] as const;
/** The Connect agent, which acts for every caller of an agent cluster. */
export const CONNECT_AGENT = { kind: 'ServiceAccount', name: 'connect-agent-sa', namespace: 'gke-connect' } as const;
export const STREAM_ROLE = 'connect-gateway-streams';
export const IMPERSONATE_ROLE = 'gateway-impersonate';
/** As `gcloud container fleet memberships generate-gateway-rbac` marks them, so that both are found by one selector. */
const OWNER_LABEL = { 'connect.gke.io/owner-feature': 'connect-gateway' };
/** Before it a WebSocket stream took the verb get alone (cluster-facts, RBAC). */
export const CREATE_SINCE = '1.35';

/**
 * exec, attach, cp and port-forward: `get` is the WebSocket request, `create` the permission that Kubernetes asks for
 * besides from 1.35. kubectl, and the daemon after a cut, look at the pod first.
 */
export function streamRules(): PolicyRule[] {
  return [
    { apiGroups: [''], resources: STREAM_SUBRESOURCES.map((name) => `pods/${name}`), verbs: ['get', 'create'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  ];
}

/** A role for streams and its binding to `subject`. The role is the same for everybody, so that applying it again changes nothing. */
export function streamManifests(subject: RbacSubject, scope: RbacScope): RbacManifest[] {
  const cluster = scope === 'cluster';
  const at = cluster ? {} : { namespace: scope.namespace };
  const roleKind = cluster ? 'ClusterRole' : 'Role';
  return [
    {
      apiVersion: `${RBAC_API}/v1`,
      kind: roleKind,
      metadata: { name: STREAM_ROLE, ...at },
      rules: streamRules(),
    },
    {
      apiVersion: `${RBAC_API}/v1`,
      kind: `${roleKind}Binding`,
      metadata: { name: `${STREAM_ROLE}:${objectName(subject)}`, ...at },
      roleRef: { apiGroup: RBAC_API, kind: roleKind, name: STREAM_ROLE },
      subjects: [subjectEntry(subject)],
    },
  ];
}

/**
 * Lets the Connect agent act for `subject`. Each subject has a role of its own: `kubectl apply` of one shared role would
 * take the right from whoever had it before.
 */
export function impersonationManifests(subject: RbacSubject): RbacManifest[] {
  const name = `${IMPERSONATE_ROLE}:${objectName(subject)}`;
  return [
    {
      apiVersion: `${RBAC_API}/v1`,
      kind: 'ClusterRole',
      metadata: { name, labels: OWNER_LABEL },
      rules: [
        {
          apiGroups: [''],
          resources: [impersonatedResource(subject)],
          resourceNames: [subject.name],
          verbs: ['impersonate'],
        },
      ],
    },
    {
      apiVersion: `${RBAC_API}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels: OWNER_LABEL },
      roleRef: { apiGroup: RBAC_API, kind: 'ClusterRole', name },
      subjects: [{ ...CONNECT_AGENT }],
    },
  ];
}

/** One question per right of `streamManifests`. */
export function streamQuestions(scope: RbacScope): AccessQuestion[] {
  const at = scope === 'cluster' ? {} : { namespace: scope.namespace };
  return [
    ...STREAM_SUBRESOURCES.flatMap((subresource) => [
      { verb: 'get', resource: 'pods', subresource, ...at },
      { verb: 'create', resource: 'pods', subresource, since: CREATE_SINCE, ...at },
    ]),
    { verb: 'get', resource: 'pods', ...at },
  ];
}

/** To be asked of the Connect agent. */
export function impersonationQuestion(subject: RbacSubject): AccessQuestion {
  const at = subject.kind === 'ServiceAccount' ? { namespace: subject.namespace } : {};
  return { verb: 'impersonate', resource: impersonatedResource(subject), name: subject.name, ...at };
}

/** A SubjectAccessReview for `subject`, or a SelfSubjectAccessReview without one. */
export function accessReview(question: AccessQuestion, subject?: RbacSubject): Readonly<Record<string, unknown>> {
  const { since: _since, ...resourceAttributes } = question;
  return {
    apiVersion: 'authorization.k8s.io/v1',
    kind: subject === undefined ? 'SelfSubjectAccessReview' : 'SubjectAccessReview',
    spec: { resourceAttributes, ...(subject === undefined ? {} : whoAsks(subject)) },
  };
}

function whoAsks(subject: RbacSubject): { user?: string; groups: string[] } {
  switch (subject.kind) {
    case 'Group':
      return { groups: [subject.name, 'system:authenticated'] };
    case 'User':
      return { user: subject.name, groups: ['system:authenticated'] };
    case 'ServiceAccount': {
      const { namespace, name } = subject;
      return {
        user: `system:serviceaccount:${namespace}:${name}`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      };
    }
  }
}

function impersonatedResource({ kind }: RbacSubject): string {
  return { User: 'users', Group: 'groups', ServiceAccount: 'serviceaccounts' }[kind];
}

function subjectEntry(subject: RbacSubject): RbacManifest {
  if (subject.kind === 'ServiceAccount') return { ...subject };
  return { apiGroup: RBAC_API, kind: subject.kind, name: subject.name };
}

/** RBAC names may hold anything that a path segment may. */
function objectName(subject: RbacSubject): string {
  const name = subject.kind === 'ServiceAccount' ? `${subject.namespace}:${subject.name}` : subject.name;
  return name.replace(/[/%]+/g, '-');
}
