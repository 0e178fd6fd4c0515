import type { Dict, KubeObject } from './json.js';
import { dict, dicts, isDict, strings, text } from './json.js';

/** Fills in the defaults of the types, as far as clients look at them. Changes `object`, which nobody else holds yet. */
export function applyDefaults(object: KubeObject): void {
  const spec = isDict(object.spec) ? object.spec : undefined;
  switch (`${object.apiVersion}/${object.kind}`) {
    case 'v1/Namespace':
      object.status = { phase: 'Active', ...object.status };
      return;
    case 'v1/Pod':
      if (spec !== undefined) defaultPodSpec(spec);
      return;
    case 'v1/Service':
      if (spec !== undefined) defaultService(spec);
      object.status ??= { loadBalancer: {} };
      return;
    case 'v1/Secret':
      defaultSecret(object);
      return;
    case 'v1/Node':
      object.spec ??= {};
      return;
    case 'v1/PersistentVolumeClaim':
      if (spec !== undefined) fill(spec, { volumeMode: 'Filesystem' });
      object.status ??= { phase: 'Pending' };
      return;
    case 'apps/v1/Deployment':
      if (spec !== undefined) defaultDeployment(spec);
      object.status ??= {};
      return;
    case 'apps/v1/ReplicaSet':
      if (spec !== undefined) fill(spec, { replicas: 1 });
      defaultTemplate(spec);
      object.status ??= { replicas: 0 };
      return;
    case 'apps/v1/StatefulSet':
      if (spec !== undefined) defaultStatefulSet(spec);
      object.status ??= { replicas: 0 };
      return;
    case 'apps/v1/DaemonSet':
      if (spec !== undefined) {
        fill(spec, { revisionHistoryLimit: 10, updateStrategy: { type: 'RollingUpdate' } });
        defaultTemplate(spec);
      }
      object.status ??= zeros('currentNumberScheduled', 'numberMisscheduled', 'desiredNumberScheduled', 'numberReady');
      return;
    case 'autoscaling/v2/HorizontalPodAutoscaler':
      if (spec !== undefined) defaultAutoscaler(spec);
      object.status ??= { desiredReplicas: 0 };
      return;
    case 'networking.k8s.io/v1/Ingress':
      object.status ??= { loadBalancer: {} };
      return;
    case 'batch/v1/Job':
      if (spec !== undefined) defaultJob(spec);
      object.status ??= {};
      return;
    case 'batch/v1/CronJob':
      if (spec !== undefined) {
        fill(spec, { concurrencyPolicy: 'Allow', suspend: false });
        fill(spec, { successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
        const inner = dict(spec['jobTemplate'])['spec'];
        if (isDict(inner)) defaultTemplate(inner);
      }
      object.status ??= {};
      return;
  }
}

function fill(target: Dict, values: Dict): void {
  for (const [key, value] of Object.entries(values)) if (target[key] === undefined) target[key] = value;
}

function zeros(...names: string[]): Dict {
  return Object.fromEntries(names.map((name) => [name, 0]));
}

function defaultTemplate(spec: Dict | undefined): void {
  const template = spec?.['template'];
  if (!isDict(template)) return;
  fill(template, { metadata: {} });
  if (isDict(template['spec'])) defaultPodTemplateSpec(template['spec']);
}

function defaultPodTemplateSpec(spec: Dict): void {
  for (const container of [...dicts(spec['initContainers']), ...dicts(spec['containers'])]) defaultContainer(container);
  fill(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  });
  if (spec['serviceAccountName'] !== undefined) fill(spec, { serviceAccount: spec['serviceAccountName'] });
}

function defaultPodSpec(spec: Dict): void {
  defaultPodTemplateSpec(spec);
  fill(spec, { enableServiceLinks: true });
}

function defaultContainer(container: Dict): void {
  for (const port of dicts(container['ports'])) fill(port, { protocol: 'TCP' });
  const image = text(container['image']);
  const latest = !image.includes('@') && (/:latest$/.test(image) || !/:[^/]+$/.test(image));
  fill(container, {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: latest ? 'Always' : 'IfNotPresent',
  });
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = container[name];
    if (!isDict(probe)) continue;
    fill(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
    if (isDict(probe['httpGet'])) fill(probe['httpGet'], { path: '/', scheme: 'HTTP' });
  }
}

function defaultDeployment(spec: Dict): void {
  fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {} });
  const strategy = spec['strategy'];
  if (isDict(strategy)) {
    fill(strategy, { type: 'RollingUpdate' });
    if (strategy['type'] === 'RollingUpdate') {
      strategy['rollingUpdate'] = { maxUnavailable: '25%', maxSurge: '25%', ...dict(strategy['rollingUpdate']) };
    }
  }
  defaultTemplate(spec);
}

function defaultAutoscaler(spec: Dict): void {
  const target = { type: 'Utilization', averageUtilization: 80 };
  fill(spec, { minReplicas: 1 });
  if (dicts(spec['metrics']).length === 0) spec['metrics'] = [{ type: 'Resource', resource: { name: 'cpu', target } }];
}

function defaultStatefulSet(spec: Dict): void {
  fill(spec, {
    replicas: 1,
    podManagementPolicy: 'OrderedReady',
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
    revisionHistoryLimit: 10,
    persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
  });
  defaultTemplate(spec);
}

function defaultJob(spec: Dict): void {
  fill(spec, { backoffLimit: 6, completionMode: 'NonIndexed', suspend: false, manualSelector: false });
  if (spec['completions'] === undefined && spec['parallelism'] === undefined) fill(spec, { completions: 1 });
  fill(spec, { parallelism: 1, podReplacementPolicy: 'TerminatingOrFailed' });
  defaultTemplate(spec);
}

function defaultService(spec: Dict): void {
  fill(spec, { type: 'ClusterIP', sessionAffinity: 'None' });
  for (const port of dicts(spec['ports'])) fill(port, { protocol: 'TCP', targetPort: port['port'] });
  if (spec['type'] === 'ExternalName') return;
  fill(spec, { internalTrafficPolicy: 'Cluster' });
  if (spec['type'] !== 'ClusterIP') fill(spec, { externalTrafficPolicy: 'Cluster' });
}

function defaultSecret(object: KubeObject): void {
  if (object['type'] === undefined) object['type'] = 'Opaque';
  const { stringData } = object;
  if (!isDict(stringData)) return;
  const data: Dict = { ...dict(object['data']) };
  for (const [key, value] of Object.entries(stringData)) data[key] = Buffer.from(String(value)).toString('base64');
  object['data'] = data;
  delete object['stringData'];
}

/** BestEffort without any resource, Guaranteed when all limits equal the requests, otherwise Burstable. */
export function qosClassOf(spec: Dict): string {
  const containers = dicts(spec['containers']).map((container) => dict(container['resources']));
  const kinds = containers.map(({ limits, requests }) => {
    if (Object.keys(dict(limits)).length === 0 && Object.keys(dict(requests)).length === 0) return 'BestEffort';
    const complete = ['cpu', 'memory'].every((name) => {
      const limit = dict(limits)[name];
      return limit !== undefined && (dict(requests)[name] ?? limit) === limit;
    });
    return complete ? 'Guaranteed' : 'Burstable';
  });
  const [first = 'BestEffort'] = strings(kinds);
  return kinds.every((kind) => kind === first) ? first : 'Burstable';
}
