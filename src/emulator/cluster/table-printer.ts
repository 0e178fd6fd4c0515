import { ageText } from './duration-text.js';
import type { Dict, KubeObject } from './json.js';
import { at, dict, dicts, integer, list, strings, text } from './json.js';
import { podCells } from './pod-cells.js';
import type { ResourceType } from './resource-table.js';
import { formatLabelSelector } from './selectors.js';

export interface TableOptions {
  readonly now: number;
  readonly listMetadata?: Dict;
  readonly includeObject: 'None' | 'Metadata' | 'Object';
  /** Only the first event of a watch has them. */
  readonly withColumns: boolean;
}

export type Cell = string | number;

interface Column {
  readonly name: string;
  readonly type?: 'string' | 'integer' | 'date';
  readonly format?: string;
  /** Above 0: only with -o wide. */
  readonly priority?: number;
}

interface Printer {
  readonly columns: readonly Column[];
  cells(object: KubeObject, now: number): Cell[];
}

/** meta.k8s.io/v1 Table, as clients ask for it with `as=Table`. */
export function toTable(type: ResourceType, objects: readonly KubeObject[], options: TableOptions): Dict {
  const printer = PRINTERS[type.id] ?? GENERIC;
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.listMetadata ?? {},
    columnDefinitions: options.withColumns ? [NAME, ...printer.columns].map(columnDefinition) : null,
    rows: objects.map((object) => ({
      cells: [object.metadata.name, ...printer.cells(object, options.now)],
      ...(options.includeObject === 'None'
        ? { object: null }
        : { object: options.includeObject === 'Object' ? object : toPartialMetadata(object) }),
    })),
  };
}

export function toPartialMetadata(object: KubeObject): Dict {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

export function toPartialMetadataList(objects: readonly KubeObject[], listMetadata: Dict): Dict {
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: 'meta.k8s.io/v1',
    metadata: listMetadata,
    items: objects.map(toPartialMetadata),
  };
}

const NAME: Column = { name: 'Name', format: 'name' };
const AGE: Column = { name: 'Age' };

function columnDefinition({ name, type = 'string', format = '', priority = 0 }: Column): Dict {
  return { name, type, format, description: `${name} of the object.`, priority };
}

function columns(...names: string[]): Column[] {
  return names.map((name) => {
    const wide = name.startsWith('*');
    const count = name.endsWith('#');
    return {
      name: name.replace(/^\*|#$/g, ''),
      ...(wide ? { priority: 1 } : {}),
      ...(count ? { type: 'integer' } : {}),
    };
  });
}

export function age(object: KubeObject, now: number): string {
  const created = object.metadata.creationTimestamp;
  return typeof created === 'string' ? ageText(now - Date.parse(created)) : '<unknown>';
}

function since(value: unknown, now: number): string {
  return typeof value === 'string' && value !== '' ? ageText(now - Date.parse(value)) : '<unknown>';
}

const joined = (values: readonly string[], empty = '<none>'): string =>
  values.length === 0 ? empty : values.join(',');
const count = (object: KubeObject, path: string): number => integer(at(object, path));
const template = (object: KubeObject): readonly Dict[] => dicts(at(object, 'spec.template.spec.containers'));
const names = (containers: readonly Dict[]): string => joined(containers.map(({ name }) => text(name)));
const images = (containers: readonly Dict[]): string => joined(containers.map(({ image }) => text(image)));
const selector = (object: KubeObject): string => formatLabelSelector(at(object, 'spec.selector')) || '<none>';

const GENERIC: Printer = { columns: [AGE], cells: (object, now) => [age(object, now)] };
const CREATED: Printer = {
  columns: [{ name: 'Created At', type: 'date' }],
  cells: (object) => [text(object.metadata.creationTimestamp)],
};
const BINDING: Printer = {
  columns: columns('Role', 'Age'),
  cells: (object, now) => [`${text(at(object, 'roleRef.kind'))}/${text(at(object, 'roleRef.name'))}`, age(object, now)],
};

const PRINTERS: Readonly<Record<string, Printer>> = {
  pods: {
    columns: columns('Ready', 'Status', 'Restarts', 'Age', '*IP', '*Node', '*Nominated Node', '*Readiness Gates'),
    cells: (pod, now) => podCells(pod, age(pod, now)),
  },
  'deployments.apps': {
    columns: columns('Ready', 'Up-to-date#', 'Available#', 'Age', '*Containers', '*Images', '*Selector'),
    cells: (object, now) => [
      `${count(object, 'status.readyReplicas')}/${count(object, 'spec.replicas')}`,
      count(object, 'status.updatedReplicas'),
      count(object, 'status.availableReplicas'),
      age(object, now),
      names(template(object)),
      images(template(object)),
      selector(object),
    ],
  },
  'replicasets.apps': {
    columns: columns('Desired#', 'Current#', 'Ready#', 'Age', '*Containers', '*Images', '*Selector'),
    cells: (object, now) => [
      count(object, 'spec.replicas'),
      count(object, 'status.replicas'),
      count(object, 'status.readyReplicas'),
      age(object, now),
      names(template(object)),
      images(template(object)),
      selector(object),
    ],
  },
  'statefulsets.apps': {
    columns: columns('Ready', 'Age', '*Containers', '*Images'),
    cells: (object, now) => [
      `${count(object, 'status.readyReplicas')}/${count(object, 'spec.replicas')}`,
      age(object, now),
      names(template(object)),
      images(template(object)),
    ],
  },
  'daemonsets.apps': {
    columns: columns(
      'Desired#',
      'Current#',
      'Ready#',
      'Up-to-date#',
      'Available#',
      'Node Selector',
      'Age',
      '*Containers',
      '*Images',
      '*Selector',
    ),
    cells: (object, now) => [
      count(object, 'status.desiredNumberScheduled'),
      count(object, 'status.currentNumberScheduled'),
      count(object, 'status.numberReady'),
      count(object, 'status.updatedNumberScheduled'),
      count(object, 'status.numberAvailable'),
      formatLabelSelector({ matchLabels: at(object, 'spec.template.spec.nodeSelector') }) || '<none>',
      age(object, now),
      names(template(object)),
      images(template(object)),
      selector(object),
    ],
  },
  'jobs.batch': {
    columns: columns('Status', 'Completions', 'Duration', 'Age', '*Containers', '*Images', '*Selector'),
    cells: (object, now) => {
      const finished = dicts(at(object, 'status.conditions')).find(({ status }) => status === 'True');
      const started = at(object, 'status.startTime');
      const ended = text(at(object, 'status.completionTime'));
      return [
        finished === undefined ? 'Running' : text(finished['type']),
        `${count(object, 'status.succeeded')}/${count(object, 'spec.completions') || 1}`,
        typeof started !== 'string' ? '' : since(started, ended === '' ? now : Date.parse(ended)),
        age(object, now),
        names(template(object)),
        images(template(object)),
        selector(object),
      ];
    },
  },
  'cronjobs.batch': {
    columns: columns('Schedule', 'Timezone', 'Suspend', 'Active#', 'Last Schedule', 'Age'),
    cells: (object, now) => [
      text(at(object, 'spec.schedule')),
      text(at(object, 'spec.timeZone')) || '<none>',
      at(object, 'spec.suspend') === true ? 'True' : 'False',
      list(at(object, 'status.active')).length,
      at(object, 'status.lastScheduleTime') === undefined
        ? '<none>'
        : since(at(object, 'status.lastScheduleTime'), now),
      age(object, now),
    ],
  },
  services: {
    columns: columns('Type', 'Cluster-IP', 'External-IP', 'Port(s)', 'Age', '*Selector'),
    cells: (object, now) => {
      const ports = dicts(at(object, 'spec.ports')).map(({ port, nodePort, protocol = 'TCP' }) =>
        nodePort === undefined
          ? `${String(port)}/${String(protocol)}`
          : `${String(port)}:${String(nodePort)}/${String(protocol)}`,
      );
      const kind = text(at(object, 'spec.type'));
      const external =
        kind === 'ExternalName'
          ? text(at(object, 'spec.externalName'))
          : kind === 'LoadBalancer'
            ? '<pending>'
            : '<none>';
      const chosen = formatLabelSelector({ matchLabels: at(object, 'spec.selector') });
      return [
        kind,
        text(at(object, 'spec.clusterIP')) || '<none>',
        external,
        joined(ports),
        age(object, now),
        chosen || '<none>',
      ];
    },
  },
  nodes: {
    columns: columns(
      'Status',
      'Roles',
      'Age',
      'Version',
      '*Internal-IP',
      '*External-IP',
      '*OS-Image',
      '*Kernel-Version',
      '*Container-Runtime',
    ),
    cells: (object, now) => {
      const ready = dicts(at(object, 'status.conditions')).find(({ type }) => type === 'Ready');
      const status = ready?.['status'] === 'True' ? 'Ready' : 'NotReady';
      const prefix = 'node-role.kubernetes.io/';
      const roles = Object.keys(object.metadata.labels ?? {}).filter((label) => label.startsWith(prefix));
      const address = (type: string): string =>
        text(dicts(at(object, 'status.addresses')).find((candidate) => candidate['type'] === type)?.['address']) ||
        '<none>';
      const info = dict(at(object, 'status.nodeInfo'));
      return [
        at(object, 'spec.unschedulable') === true ? `${status},SchedulingDisabled` : status,
        joined(roles.map((label) => label.slice(prefix.length))),
        age(object, now),
        text(info['kubeletVersion']),
        address('InternalIP'),
        address('ExternalIP'),
        text(info['osImage']) || '<unknown>',
        text(info['kernelVersion']) || '<unknown>',
        text(info['containerRuntimeVersion']) || '<unknown>',
      ];
    },
  },
  namespaces: {
    columns: columns('Status', 'Age'),
    cells: (object, now) => [text(at(object, 'status.phase')), age(object, now)],
  },
  configmaps: {
    columns: columns('Data#', 'Age'),
    cells: (object, now) => [
      Object.keys(dict(object['data'])).length + Object.keys(dict(object['binaryData'])).length,
      age(object, now),
    ],
  },
  secrets: {
    columns: columns('Type', 'Data#', 'Age'),
    cells: (object, now) => [text(object['type']), Object.keys(dict(object['data'])).length, age(object, now)],
  },
  serviceaccounts: {
    columns: columns('Secrets#', 'Age'),
    cells: (object, now) => [list(object['secrets']).length, age(object, now)],
  },
  events: {
    columns: columns(
      'Last Seen',
      'Type',
      'Reason',
      'Object',
      '*Subobject',
      '*Source',
      'Message',
      '*First Seen',
      '*Count#',
      '*Name',
    ),
    cells: (object, now) => {
      const about = dict(object['involvedObject']);
      const first = object['firstTimestamp'] ?? object['eventTime'];
      return [
        since(object['lastTimestamp'] ?? first, now),
        text(object['type']),
        text(object['reason']),
        `${text(about['kind']).toLowerCase()}/${text(about['name'])}`,
        text(about['fieldPath']),
        text(at(object, 'source.component')),
        text(object['message']).trim(),
        since(first, now),
        integer(object['count'], 1),
        object.metadata.name,
      ];
    },
  },
  endpoints: {
    columns: columns('Endpoints', 'Age'),
    cells: (object, now) => {
      const all = dicts(object['subsets']).flatMap(({ addresses, ports }) =>
        dicts(addresses).flatMap(({ ip }) => dicts(ports).map(({ port }) => `${text(ip)}:${String(port)}`)),
      );
      return [
        all.length > 3 ? `${all.slice(0, 3).join(',')} + ${all.length - 3} more...` : joined(all),
        age(object, now),
      ];
    },
  },
  'endpointslices.discovery.k8s.io': {
    columns: columns('AddressType', 'Ports', 'Endpoints', 'Age'),
    cells: (object, now) => [
      text(object['addressType']),
      joined(
        dicts(object['ports']).map(({ port }) => String(port)),
        '<unset>',
      ),
      joined(
        dicts(object['endpoints']).flatMap(({ addresses }) => strings(addresses)),
        '<unset>',
      ),
      age(object, now),
    ],
  },
  'leases.coordination.k8s.io': {
    columns: columns('Holder', 'Age'),
    cells: (object, now) => [text(at(object, 'spec.holderIdentity')), age(object, now)],
  },
  persistentvolumeclaims: {
    columns: columns('Status', 'Volume', 'Capacity', 'Access Modes', 'StorageClass', 'Age'),
    cells: (object, now) => [
      text(at(object, 'status.phase')),
      text(at(object, 'spec.volumeName')),
      text(at(object, 'status.capacity.storage')),
      strings(at(object, 'spec.accessModes')).join(','),
      text(at(object, 'spec.storageClassName')),
      age(object, now),
    ],
  },
  'roles.rbac.authorization.k8s.io': CREATED,
  'clusterroles.rbac.authorization.k8s.io': CREATED,
  'rolebindings.rbac.authorization.k8s.io': BINDING,
  'clusterrolebindings.rbac.authorization.k8s.io': BINDING,
};
