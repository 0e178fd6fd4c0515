export interface Subresource {
  readonly name: string;
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** One served resource. Everything that depends on the type of an object is read from here. */
export interface ResourceType {
  /** `pods`, `deployments.apps`: the key in the store. Of a second version, which is stored as the first, it holds the version. */
  readonly id: string;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  /** Name of its schema. */
  readonly schema: string;
  readonly subresources: readonly Subresource[];
  /** Beside metadata.name and metadata.namespace. */
  readonly fieldSelectors: readonly string[];
  /** Whether the server counts changes of the spec. */
  readonly generation: boolean;
  /** Another type whose objects this one shows in its own form. */
  readonly storedAs?: string;
}

const ALL_VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const STATUS_VERBS = ['get', 'patch', 'update'];
const STREAM_VERBS = ['create', 'get'];

interface Draft {
  readonly short?: string;
  readonly categories?: readonly string[];
  readonly cluster?: true;
  readonly verbs?: readonly string[];
  readonly schema?: string;
  readonly status?: false;
  readonly scale?: true;
  readonly sub?: readonly Subresource[];
  readonly fields?: readonly string[];
  readonly generation?: true;
  readonly storedAs?: string;
  /** Not the group's preferred version. */
  readonly second?: true;
}

function type(gv: string, kind: string, plural: string, draft: Draft = {}): ResourceType {
  const [group = '', version = ''] = gv.includes('/') ? gv.split('/') : ['', gv];
  const status: Subresource[] = draft.status === false ? [] : [{ name: 'status', kind, verbs: STATUS_VERBS }];
  const scale: Subresource[] = draft.scale
    ? [{ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: STATUS_VERBS }]
    : [];
  return {
    id: draft.second === true ? `${plural}.${version}.${group}` : group === '' ? plural : `${plural}.${group}`,
    group,
    version,
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: draft.short?.split(',') ?? [],
    categories: draft.categories ?? [],
    namespaced: draft.cluster !== true,
    verbs: draft.verbs ?? ALL_VERBS,
    schema: draft.schema ?? kind,
    subresources: [...(draft.sub ?? []), ...scale, ...status],
    fieldSelectors: draft.fields ?? [],
    generation: draft.generation === true,
    ...(draft.storedAs === undefined ? {} : { storedAs: draft.storedAs }),
  };
}

const ALL = ['all'];
const WORKLOAD: Draft = { categories: ALL, scale: true, generation: true };
const PLAIN: Draft = { status: false };
const REVIEW: Draft = { verbs: ['create'], cluster: true, status: false };
const EVENT_FIELDS = [
  ...['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(
    (f) => `involvedObject.${f}`,
  ),
  ...['reason', 'reportingComponent', 'source', 'type'],
];
const POD_FIELDS = [
  ...['nodeName', 'restartPolicy', 'schedulerName', 'serviceAccountName', 'hostNetwork'].map((f) => `spec.${f}`),
  ...['phase', 'podIP', 'podIPs', 'nominatedNodeName'].map((f) => `status.${f}`),
];
const stream = (name: string, kind: string): Subresource => ({ name, kind, verbs: STREAM_VERBS });

/** In the order in which `kubectl api-resources` gets them. */
export const RESOURCE_TYPES: readonly ResourceType[] = [
  type('v1', 'ConfigMap', 'configmaps', { ...PLAIN, short: 'cm' }),
  type('v1', 'Endpoints', 'endpoints', { ...PLAIN, short: 'ep' }),
  type('v1', 'Event', 'events', { ...PLAIN, short: 'ev', fields: EVENT_FIELDS }),
  type('v1', 'Namespace', 'namespaces', {
    short: 'ns',
    cluster: true,
    verbs: ALL_VERBS.filter((verb) => verb !== 'deletecollection'),
    sub: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
    fields: ['status.phase'],
  }),
  type('v1', 'Node', 'nodes', { short: 'no', cluster: true, fields: ['spec.unschedulable'] }),
  type('v1', 'PersistentVolumeClaim', 'persistentvolumeclaims', { short: 'pvc' }),
  type('v1', 'PersistentVolume', 'persistentvolumes', { short: 'pv', cluster: true }),
  type('v1', 'Pod', 'pods', {
    short: 'po',
    categories: ALL,
    generation: true,
    fields: POD_FIELDS,
    sub: [
      stream('attach', 'PodAttachOptions'),
      { name: 'ephemeralcontainers', kind: 'Pod', verbs: STATUS_VERBS },
      { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
      stream('exec', 'PodExecOptions'),
      { name: 'log', kind: 'Pod', verbs: ['get'] },
      stream('portforward', 'PodPortForwardOptions'),
    ],
  }),
  type('v1', 'Secret', 'secrets', { ...PLAIN, fields: ['type'] }),
  type('v1', 'ServiceAccount', 'serviceaccounts', {
    ...PLAIN,
    short: 'sa',
    sub: [{ name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] }],
  }),
  type('v1', 'Service', 'services', { short: 'svc', categories: ALL }),
  type('apps/v1', 'DaemonSet', 'daemonsets', { short: 'ds', categories: ALL, generation: true }),
  type('apps/v1', 'Deployment', 'deployments', { ...WORKLOAD, short: 'deploy' }),
  type('apps/v1', 'ReplicaSet', 'replicasets', { ...WORKLOAD, short: 'rs' }),
  type('apps/v1', 'StatefulSet', 'statefulsets', { ...WORKLOAD, short: 'sts' }),
  type('authentication.k8s.io/v1', 'SelfSubjectReview', 'selfsubjectreviews', REVIEW),
  type('authorization.k8s.io/v1', 'LocalSubjectAccessReview', 'localsubjectaccessreviews', {
    verbs: ['create'],
    status: false,
  }),
  type('authorization.k8s.io/v1', 'SelfSubjectAccessReview', 'selfsubjectaccessreviews', REVIEW),
  type('authorization.k8s.io/v1', 'SelfSubjectRulesReview', 'selfsubjectrulesreviews', REVIEW),
  type('authorization.k8s.io/v1', 'SubjectAccessReview', 'subjectaccessreviews', REVIEW),
  type('autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers', { short: 'hpa', categories: ALL }),
  type('autoscaling/v1', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers', {
    short: 'hpa',
    categories: ALL,
    schema: 'HorizontalPodAutoscalerV1',
    storedAs: 'horizontalpodautoscalers.autoscaling',
    second: true,
  }),
  type('batch/v1', 'CronJob', 'cronjobs', { short: 'cj', categories: ALL, generation: true }),
  type('batch/v1', 'Job', 'jobs', { categories: ALL, generation: true, fields: ['status.successful'] }),
  type('coordination.k8s.io/v1', 'Lease', 'leases', PLAIN),
  type('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices', PLAIN),
  type('events.k8s.io/v1', 'Event', 'events', { ...PLAIN, short: 'ev', schema: 'EventsEvent', storedAs: 'events' }),
  type('networking.k8s.io/v1', 'Ingress', 'ingresses', { short: 'ing', generation: true }),
  type('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', 'clusterrolebindings', { ...PLAIN, cluster: true }),
  type('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles', { ...PLAIN, cluster: true }),
  type('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings', PLAIN),
  type('rbac.authorization.k8s.io/v1', 'Role', 'roles', PLAIN),
];

const byId = new Map(RESOURCE_TYPES.map((resource) => [resource.id, resource] as const));
const byPath = new Map(RESOURCE_TYPES.map((resource) => [pathOf(resource), resource] as const));

function pathOf({ group, version, plural }: Pick<ResourceType, 'group' | 'version' | 'plural'>): string {
  return `${group}/${version}/${plural}`;
}

export function resourceById(id: string): ResourceType {
  const found = byId.get(id);
  if (found === undefined) throw new Error(`no resource type ${id}`);
  return found;
}

export function findResource(group: string, version: string, plural: string): ResourceType | undefined {
  return byPath.get(pathOf({ group, version, plural }));
}

export function apiVersionOf(type: { readonly group: string; readonly version: string }): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

export interface GroupVersion {
  readonly group: string;
  readonly version: string;
  readonly resources: readonly ResourceType[];
}

/** Of a group with several versions the preferred one comes first. */
export const GROUP_VERSIONS: readonly GroupVersion[] = [...new Set(RESOURCE_TYPES.map(apiVersionOf))].map(
  (apiVersion): GroupVersion => {
    const resources = RESOURCE_TYPES.filter((resource) => apiVersionOf(resource) === apiVersion);
    return { group: resources[0]?.group ?? '', version: resources[0]?.version ?? '', resources };
  },
);
