import type { Dict, KubeObject } from './json.js';
import { clone, dict, dicts, isDict, text } from './json.js';

export interface AssignmentHelp {
  /** A free address for a service. */
  serviceAddress(): string;
  nodePort(): number;
}

/**
 * Fills in what the server gives an object beyond its type's defaults: addresses, ports, finalizers, what admission adds.
 * No manager owns these fields. Changes `object`.
 */
export function assignOnCreate(object: KubeObject, help: AssignmentHelp): void {
  switch (`${object.apiVersion}/${object.kind}`) {
    case 'v1/Namespace':
      object.spec = { finalizers: ['kubernetes'], ...object.spec };
      return;
    case 'v1/Pod':
      if (isDict(object.spec)) admitPod(object.spec);
      return;
    case 'v1/Service':
      if (isDict(object.spec)) allocateService(object.spec, help);
      return;
    case 'batch/v1/Job':
      if (isDict(object.spec)) selectJobPods(object.spec, object.metadata);
  }
}

const KEPT: Readonly<Record<string, readonly string[]>> = {
  'v1/Namespace': ['finalizers'],
  'v1/Pod': ['nodeName', 'serviceAccountName', 'serviceAccount', 'tolerations', 'priority', 'preemptionPolicy'],
  'batch/v1/Job': ['selector'],
  'v1/Service': ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'healthCheckNodePort'],
};

/** Clients that send an object again without what the server has given it do not take that away. Changes `object`. */
export function keepAssigned(object: KubeObject, existing: KubeObject): void {
  const before = existing.spec;
  if (!isDict(before)) return;
  const spec = isDict(object.spec) ? object.spec : {};
  if (object.kind === 'Service' && spec['type'] === 'ExternalName') return;
  for (const key of KEPT[`${object.apiVersion}/${object.kind}`] ?? []) {
    if (isAbsent(spec[key]) && before[key] !== undefined) {
      spec[key] = clone(before[key]);
      object.spec = spec;
    }
  }
  if (object.kind === 'Service' && (spec['type'] ?? before['type']) !== 'ClusterIP') keepNodePorts(spec, before);
}

/** What an update makes necessary, e.g. the node ports of a service that has become one of that type. */
export function assignOnUpdate(object: KubeObject, help: AssignmentHelp): void {
  if (object.kind === 'Service' && object.apiVersion === 'v1' && isDict(object.spec))
    allocateService(object.spec, help);
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === '';
}

function admitPod(spec: Dict): void {
  const account = text(spec['serviceAccountName']) || text(spec['serviceAccount']) || 'default';
  spec['serviceAccountName'] ??= account;
  spec['serviceAccount'] ??= account;
  spec['tolerations'] ??= ['not-ready', 'unreachable'].map((taint) => ({
    key: `node.kubernetes.io/${taint}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 300,
  }));
  spec['priority'] ??= 0;
  spec['preemptionPolicy'] ??= 'PreemptLowerPriority';
}

/** A job's pods are its own by its uid, unless a person has said otherwise. */
function selectJobPods(spec: Dict, { name, uid }: KubeObject['metadata']): void {
  if (spec['manualSelector'] === true) return;
  const ownId = { 'batch.kubernetes.io/controller-uid': uid };
  const template = dict(spec['template']);
  const metadata = dict(template['metadata']);
  // Both spellings: clients of either age select by them.
  const labels = { ...ownId, 'batch.kubernetes.io/job-name': name, 'controller-uid': uid, 'job-name': name };
  spec['selector'] = { matchLabels: ownId };
  spec['template'] = { ...template, metadata: { ...metadata, labels: { ...dict(metadata['labels']), ...labels } } };
}

function allocateService(spec: Dict, help: AssignmentHelp): void {
  if (spec['type'] === 'ExternalName') return;
  if (isAbsent(spec['clusterIP'])) spec['clusterIP'] = help.serviceAddress();
  spec['clusterIPs'] ??= [spec['clusterIP']];
  spec['ipFamilies'] ??= ['IPv4'];
  spec['ipFamilyPolicy'] ??= 'SingleStack';
  if (spec['type'] === 'ClusterIP') return;
  for (const port of dicts(spec['ports'])) port['nodePort'] ??= help.nodePort();
}

function keepNodePorts(spec: Dict, before: Dict): void {
  for (const port of dicts(spec['ports'])) {
    if (port['nodePort'] !== undefined) continue;
    const same = dicts(before['ports']).find(
      (other) => other['port'] === port['port'] && (port['protocol'] ?? 'TCP') === other['protocol'],
    );
    if (same?.['nodePort'] !== undefined) port['nodePort'] = same['nodePort'];
  }
}
