import { ageSince, ageText } from './duration-text.js';
import type { Dict, KubeObject } from './json.js';
import { at, dict, dicts, integer, list, strings, text } from './json.js';
import { formatLabelSelector } from './selectors.js';
import type { TableColumns } from './table-columns.js';
import { columnsOf } from './table-columns.js';

export type Cell = string | number;

export interface Printer {
  readonly columns: TableColumns;
  cells(object: KubeObject, now: number): Cell[];
}

const age = (object: KubeObject, now: number): string => ageSince(object.metadata.creationTimestamp, now);
const name = (object: KubeObject): string => object.metadata.name ?? '';
const count = (object: KubeObject, path: string): number => integer(at(object, path));
const word = (object: KubeObject, path: string): string => text(at(object, path));
const size = (value: unknown): number => Object.keys(dict(value)).length;

/** Names, images and selector of a pod template: the wide columns of everything that makes pods. */
function templateCells(object: KubeObject, spec = 'spec'): string[] {
  const containers = dicts(at(object, `${spec}.template.spec.containers`));
  return [
    containers.map((container) => text(container['name'])).join(','),
    containers.map((container) => text(container['image'])).join(','),
    formatLabelSelector(at(object, `${spec}.selector`)) || '<none>',
  ];
}

function labelsText(labels: unknown): string {
  return formatLabelSelector({ matchLabels: labels }) || '<none>';
}

const readyOf = (object: KubeObject): string =>
  `${count(object, 'status.readyReplicas')}/${count(object, 'spec.replicas')}`;

function jobStatus(job: KubeObject): string {
  const holding = dicts(at(job, 'status.conditions')).filter(({ status }) => status === 'True');
  const has = (type: string): boolean => holding.some((condition) => condition['type'] === type);
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating';
  return ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'].find(has) ?? 'Running';
}

function jobCompletions(job: KubeObject): string {
  const succeeded = count(job, 'status.succeeded');
  const completions = at(job, 'spec.completions');
  if (completions !== undefined) return `${succeeded}/${integer(completions)}`;
  const parallelism = count(job, 'spec.parallelism');
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function jobDuration(job: KubeObject, now: number): string {
  const started = Date.parse(word(job, 'status.startTime'));
  if (Number.isNaN(started)) return '';
  const completed = Date.parse(word(job, 'status.completionTime'));
  return ageText((Number.isNaN(completed) ? now : completed) - started);
}

function externalIp(service: KubeObject): string {
  const own = strings(at(service, 'spec.externalIPs'));
  const given = dicts(at(service, 'status.loadBalancer.ingress')).map(({ ip, hostname }) => text(ip) || text(hostname));
  switch (at(service, 'spec.type')) {
    case 'ExternalName':
      return word(service, 'spec.externalName');
    case 'LoadBalancer':
      return [...given.sort(), ...own].join(',') || '<pending>';
    default:
      return own.join(',') || '<none>';
  }
}

function servicePort({ port, nodePort, protocol }: Dict): string {
  const outside = integer(nodePort) > 0 ? `:${integer(nodePort)}` : '';
  return `${integer(port)}${outside}/${text(protocol) || 'TCP'}`;
}

function nodeStatus(node: KubeObject): string {
  const ready = dicts(at(node, 'status.conditions')).find(({ type }) => type === 'Ready');
  const status = ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady';
  return at(node, 'spec.unschedulable') === true ? `${status},SchedulingDisabled` : status;
}

const ROLE_PREFIX = 'node-role.kubernetes.io/';

function nodeRoles(node: KubeObject): string {
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([label, value]) => {
    if (label.startsWith(ROLE_PREFIX)) return [label.slice(ROLE_PREFIX.length)];
    return label === 'kubernetes.io/role' ? [value] : [];
  });
  return [...new Set(roles.filter((role) => role !== ''))].sort().join(',') || '<none>';
}

function nodeAddress(node: KubeObject, type: string): string {
  const found = dicts(at(node, 'status.addresses')).find((address) => address['type'] === type);
  return text(found?.['address']) || '<none>';
}

/** The first three, and how many more there are. */
function firstThree(items: readonly string[], empty: string): string {
  if (items.length === 0) return empty;
  const rest = items.length > 3 ? ` + ${items.length - 3} more...` : '';
  return items.slice(0, 3).join(',') + rest;
}

function endpointsText(endpoints: KubeObject): string {
  const addresses = dicts(endpoints['subsets']).flatMap((subset) => {
    const ips = dicts(subset['addresses']).map(({ ip }) => text(ip));
    const ports = dicts(subset['ports']);
    return ports.length === 0 ? ips : ports.flatMap(({ port }) => ips.map((ip) => `${ip}:${integer(port)}`));
  });
  return firstThree(addresses, '<none>');
}

/** Both kinds of event: those of events.k8s.io name their fields otherwise. */
function eventCells(event: KubeObject, now: number): Cell[] {
  const about = dict(event['involvedObject'] ?? event['regarding']);
  const source = dict(event['source'] ?? event['deprecatedSource']);
  const series = dict(event['series']);
  const first = ageSince(event['firstTimestamp'] ?? event['deprecatedFirstTimestamp'] ?? event['eventTime'], now);
  const lastTime = series['lastObservedTime'] ?? event['lastTimestamp'] ?? event['deprecatedLastTimestamp'];
  const component =
    text(source['component']) || text(event['reportingComponent']) || text(event['reportingController']);
  const host = text(source['host']) || text(event['reportingInstance']);
  const kind = text(about['kind']).toLowerCase();
  return [
    lastTime === undefined || lastTime === null ? first : ageSince(lastTime, now),
    text(event['type']),
    text(event['reason']),
    text(about['name']) === '' ? kind : `${kind}/${text(about['name'])}`,
    text(about['fieldPath']),
    host === '' ? component : `${component}, ${host}`,
    text(event['message'] ?? event['note']).trim(),
    first,
    integer(series['count'] ?? event['count'] ?? event['deprecatedCount']) || 1,
    name(event),
  ];
}

const ACCESS_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

function accessModes(modes: unknown): string {
  const given = new Set(strings(modes));
  return Object.entries(ACCESS_MODES)
    .filter(([mode]) => given.has(mode))
    .map(([, short]) => short)
    .join(',');
}

function volumePhase(object: KubeObject): string {
  return object.metadata.deletionTimestamp === undefined ? word(object, 'status.phase') : 'Terminating';
}

function claimOf(volume: KubeObject): string {
  const { namespace, name: claim } = dict(at(volume, 'spec.claimRef'));
  return claim === undefined ? '' : `${text(namespace)}/${text(claim)}`;
}

function subjects(binding: KubeObject, kind: string): string {
  return dicts(binding['subjects'])
    .filter((subject) => subject['kind'] === kind)
    .map((subject) => (kind === 'ServiceAccount' ? `${text(subject['namespace'])}/` : '') + text(subject['name']))
    .join(', ');
}

/** What is measured and what is aimed at; nobody measures here, as in a cluster without a metrics server. */
function metricText(metric: Dict): string {
  const { name: resource, target } = dict(metric['resource']);
  const { averageUtilization, averageValue } = dict(target);
  if (metric['type'] !== 'Resource') return '<unknown type>';
  const aim = averageUtilization === undefined ? text(averageValue) || '<auto>' : `${integer(averageUtilization)}%`;
  return `${text(resource)}: <unknown>/${aim}`;
}

function ingressHosts(ingress: KubeObject): string {
  const hosts = dicts(at(ingress, 'spec.rules')).map(({ host }) => text(host));
  return firstThree(
    hosts.filter((host) => host !== ''),
    '*',
  );
}

const TEMPLATE = ['*Containers', '*Images', '*Selector'];

const BINDINGS: Printer = {
  columns: columnsOf('Name', 'Role', 'Age', '*Users', '*Groups', '*ServiceAccounts'),
  cells: (object, now) => [
    ...[name(object), `${word(object, 'roleRef.kind')}/${word(object, 'roleRef.name')}`, age(object, now)],
    ...['User', 'Group', 'ServiceAccount'].map((kind) => subjects(object, kind)),
  ],
};

const EVENTS: Printer = {
  columns: columnsOf(
    ...['Last Seen', 'Type', 'Reason', 'Object', '*Subobject', '*Source', 'Message', '*First Seen', '*Count', '*Name'],
  ),
  cells: eventCells,
};

const autoscalers = (targets: (object: KubeObject) => string[]): Printer => ({
  columns: columnsOf('Name', 'Reference', 'Targets', 'MinPods', 'MaxPods:integer', 'Replicas:integer', 'Age'),
  cells: (object, now) => [
    ...[name(object), `${word(object, 'spec.scaleTargetRef.kind')}/${word(object, 'spec.scaleTargetRef.name')}`],
    firstThree(targets(object), '<none>'),
    ...[String(count(object, 'spec.minReplicas')), count(object, 'spec.maxReplicas')],
    ...[count(object, 'status.currentReplicas'), age(object, now)],
  ],
});

/** By the id of the resource type. */
export const ROW_PRINTERS: Readonly<Record<string, Printer>> = {
  'deployments.apps': {
    columns: columnsOf('Name', 'Ready', 'Up-to-date', 'Available', 'Age', ...TEMPLATE),
    cells: (object, now) => [
      ...[name(object), readyOf(object), count(object, 'status.updatedReplicas')],
      ...[count(object, 'status.availableReplicas'), age(object, now), ...templateCells(object)],
    ],
  },
  'replicasets.apps': {
    columns: columnsOf('Name', 'Desired:integer', 'Current:integer', 'Ready:integer', 'Age', ...TEMPLATE),
    cells: (object, now) => [
      ...[name(object), count(object, 'spec.replicas'), count(object, 'status.replicas')],
      ...[count(object, 'status.readyReplicas'), age(object, now), ...templateCells(object)],
    ],
  },
  'statefulsets.apps': {
    columns: columnsOf('Name', 'Ready', 'Age', '*Containers', '*Images'),
    cells: (object, now) => [name(object), readyOf(object), age(object, now), ...templateCells(object).slice(0, 2)],
  },
  'daemonsets.apps': {
    columns: columnsOf(
      ...['Name', 'Desired:integer', 'Current:integer', 'Ready:integer', 'Up-to-date:integer', 'Available:integer'],
      ...['Node Selector', 'Age', ...TEMPLATE],
    ),
    cells: (object, now) => [
      ...[name(object), count(object, 'status.desiredNumberScheduled'), count(object, 'status.currentNumberScheduled')],
      ...[count(object, 'status.numberReady'), count(object, 'status.updatedNumberScheduled')],
      ...[count(object, 'status.numberAvailable'), labelsText(at(object, 'spec.template.spec.nodeSelector'))],
      ...[age(object, now), ...templateCells(object)],
    ],
  },
  'jobs.batch': {
    columns: columnsOf('Name', 'Status', 'Completions', 'Duration', 'Age', ...TEMPLATE),
    cells: (object, now) => [
      ...[name(object), jobStatus(object), jobCompletions(object), jobDuration(object, now), age(object, now)],
      ...templateCells(object),
    ],
  },
  'cronjobs.batch': {
    columns: columnsOf(
      ...['Name', 'Schedule', 'Timezone', 'Suspend:boolean', 'Active:integer', 'Last Schedule', 'Age', ...TEMPLATE],
    ),
    cells: (object, now) => [
      ...[name(object), word(object, 'spec.schedule'), word(object, 'spec.timeZone') || '<none>'],
      ...[at(object, 'spec.suspend') === true ? 'True' : 'False', list(at(object, 'status.active')).length],
      at(object, 'status.lastScheduleTime') === undefined
        ? '<none>'
        : ageSince(at(object, 'status.lastScheduleTime'), now),
      ...[age(object, now), ...templateCells(object, 'spec.jobTemplate.spec')],
    ],
  },
  'horizontalpodautoscalers.autoscaling': autoscalers((object) => dicts(at(object, 'spec.metrics')).map(metricText)),
  'horizontalpodautoscalers.v1.autoscaling': autoscalers((object) => {
    const percent = at(object, 'spec.targetCPUUtilizationPercentage');
    return percent === undefined ? [] : [`cpu: <unknown>/${integer(percent)}%`];
  }),
  'ingresses.networking.k8s.io': {
    columns: columnsOf('Name', 'Class', 'Hosts', 'Address', 'Ports', 'Age'),
    cells: (object, now) => [
      ...[name(object), word(object, 'spec.ingressClassName') || '<none>', ingressHosts(object)],
      dicts(at(object, 'status.loadBalancer.ingress'))
        .map(({ ip, hostname }) => text(ip) || text(hostname))
        .join(','),
      ...[dicts(at(object, 'spec.tls')).length > 0 ? '80, 443' : '80', age(object, now)],
    ],
  },
  services: {
    columns: columnsOf('Name', 'Type', 'Cluster-IP', 'External-IP', 'Port(s)', 'Age', '*Selector'),
    cells: (object, now) => [
      ...[name(object), word(object, 'spec.type'), word(object, 'spec.clusterIP') || '<none>', externalIp(object)],
      dicts(at(object, 'spec.ports')).map(servicePort).join(',') || '<none>',
      ...[age(object, now), labelsText(at(object, 'spec.selector'))],
    ],
  },
  nodes: {
    columns: columnsOf(
      ...['Name', 'Status', 'Roles', 'Age', 'Version', '*Internal-IP', '*External-IP', '*OS-Image'],
      ...['*Kernel-Version', '*Container-Runtime'],
    ),
    cells: (object, now) => [
      ...[name(object), nodeStatus(object), nodeRoles(object), age(object, now)],
      word(object, 'status.nodeInfo.kubeletVersion'),
      ...[nodeAddress(object, 'InternalIP'), nodeAddress(object, 'ExternalIP')],
      ...['osImage', 'kernelVersion', 'containerRuntimeVersion'].map(
        (fact) => word(object, `status.nodeInfo.${fact}`) || '<unknown>',
      ),
    ],
  },
  namespaces: {
    columns: columnsOf('Name', 'Status', 'Age'),
    cells: (object, now) => [name(object), word(object, 'status.phase'), age(object, now)],
  },
  configmaps: {
    columns: columnsOf('Name', 'Data', 'Age'),
    cells: (object, now) => [name(object), size(object['data']) + size(object['binaryData']), age(object, now)],
  },
  secrets: {
    columns: columnsOf('Name', 'Type', 'Data', 'Age'),
    cells: (object, now) => [name(object), text(object['type']), size(object['data']), age(object, now)],
  },
  serviceaccounts: {
    columns: columnsOf('Name', 'Age'),
    cells: (object, now) => [name(object), age(object, now)],
  },
  events: EVENTS,
  'events.events.k8s.io': EVENTS,
  endpoints: {
    columns: columnsOf('Name', 'Endpoints', 'Age'),
    cells: (object, now) => [name(object), endpointsText(object), age(object, now)],
  },
  'endpointslices.discovery.k8s.io': {
    columns: columnsOf('Name', 'AddressType', 'Ports', 'Endpoints', 'Age'),
    cells: (object, now) => {
      const ports = dicts(object['ports']).map(({ port, name: portName }) => String(port ?? (text(portName) || '*')));
      const addresses = dicts(object['endpoints']).flatMap((endpoint) => strings(endpoint['addresses']));
      return [
        ...[name(object), text(object['addressType']), firstThree(ports, '<unset>')],
        ...[firstThree(addresses, '<unset>'), age(object, now)],
      ];
    },
  },
  persistentvolumes: {
    columns: columnsOf(
      ...['Name', 'Capacity', 'Access Modes', 'Reclaim Policy', 'Status', 'Claim', 'StorageClass'],
      ...['VolumeAttributesClass', 'Reason', 'Age', '*VolumeMode'],
    ),
    cells: (object, now) => [
      ...[name(object), word(object, 'spec.capacity.storage'), accessModes(at(object, 'spec.accessModes'))],
      ...[word(object, 'spec.persistentVolumeReclaimPolicy'), volumePhase(object), claimOf(object)],
      ...[word(object, 'spec.storageClassName'), word(object, 'spec.volumeAttributesClassName') || '<unset>'],
      ...[word(object, 'status.reason'), age(object, now), word(object, 'spec.volumeMode') || '<unset>'],
    ],
  },
  persistentvolumeclaims: {
    columns: columnsOf(
      ...['Name', 'Status', 'Volume', 'Capacity', 'Access Modes', 'StorageClass', 'VolumeAttributesClass', 'Age'],
      '*VolumeMode',
    ),
    cells: (object, now) => {
      const bound = word(object, 'spec.volumeName') !== '';
      return [
        ...[name(object), volumePhase(object), word(object, 'spec.volumeName')],
        bound ? word(object, 'status.capacity.storage') : '',
        bound ? accessModes(at(object, 'status.accessModes')) : '',
        ...[word(object, 'spec.storageClassName'), word(object, 'spec.volumeAttributesClassName') || '<unset>'],
        ...[age(object, now), word(object, 'spec.volumeMode') || '<unset>'],
      ];
    },
  },
  'leases.coordination.k8s.io': {
    columns: columnsOf('Name', 'Holder', 'Age'),
    cells: (object, now) => [name(object), word(object, 'spec.holderIdentity'), age(object, now)],
  },
  'rolebindings.rbac.authorization.k8s.io': BINDINGS,
  'clusterrolebindings.rbac.authorization.k8s.io': BINDINGS,
};
