import type { Dict, KubeObject } from '../json.js';
import { at, dict, dicts, integer, same, text } from '../json.js';
import { labelSelectorMatcher } from '../selectors.js';
import { CONTROLLER_MANAGER, type ControllerContext, isReady, ownerReference, TYPES } from './context.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;

/** Keeps endpoints and endpoint slices of a namespace's services in step with its pods. */
export function reconcileServices(context: ControllerContext, namespace: string): void {
  const found = context.store.get(TYPES.namespaces.id, '', namespace);
  if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
  const pods = context.store.list(TYPES.pods.id, namespace);
  for (const service of context.store.list(TYPES.services.id, namespace)) {
    const selector = service.spec?.['selector'];
    if (selector === undefined || service.metadata.deletionTimestamp !== undefined) continue;
    const matches = labelSelectorMatcher({ matchLabels: selector });
    const ready = pods.filter((pod) => matches(pod) && isReady(pod) && text(pod.status?.['podIP']) !== '');
    writeEndpoints(context, service, ready);
    writeSlice(context, service, ready);
  }
}

/** Slices go with their owner; endpoints have none. */
export function forgetService(context: ControllerContext, service: KubeObject): void {
  const { name, namespace = '' } = service.metadata;
  if (context.store.get(TYPES.services.id, namespace, name) !== undefined) return;
  const endpoints = context.store.get(TYPES.endpoints.id, namespace, name);
  if (endpoints !== undefined) context.registry.delete(TYPES.endpoints, endpoints, {});
}

function portsOf(service: KubeObject, pod: KubeObject | undefined): Dict[] {
  return dicts(service.spec?.['ports']).map(({ name, port, targetPort, protocol }) => ({
    ...(typeof name === 'string' ? { name } : {}),
    port: targetPortOf(targetPort ?? port, pod),
    protocol: text(protocol) || 'TCP',
  }));
}

/** A name is looked up in the pod. */
function targetPortOf(target: unknown, pod: KubeObject | undefined): number {
  if (typeof target === 'number') return target;
  const ports = dicts(at(pod, 'spec.containers')).flatMap(({ ports }) => dicts(ports));
  return integer(ports.find(({ name }) => name === target)?.['containerPort']);
}

function reference(pod: KubeObject): Dict {
  const { namespace, name, uid } = pod.metadata;
  return { kind: 'Pod', namespace, name, uid };
}

function writeEndpoints(context: ControllerContext, service: KubeObject, ready: readonly KubeObject[]): void {
  const addresses = ready.map((pod) => ({
    ip: text(pod.status?.['podIP']),
    nodeName: text(pod.spec?.['nodeName']),
    targetRef: reference(pod),
  }));
  const subsets = addresses.length === 0 ? [] : [{ addresses, ports: portsOf(service, ready[0]) }];
  const { name, namespace = '', labels } = service.metadata;
  put(context, TYPES.endpoints, namespace, {
    metadata: { name, ...(labels ? { labels } : {}) },
    ...(subsets.length > 0 ? { subsets } : {}),
  });
}

function writeSlice(context: ControllerContext, service: KubeObject, ready: readonly KubeObject[]): void {
  const { name, namespace = '' } = service.metadata;
  put(context, TYPES.endpointSlices, namespace, {
    metadata: {
      name: `${name}-slice`,
      labels: {
        'kubernetes.io/service-name': name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [ownerReference(TYPES.services, service)],
    },
    addressType: 'IPv4',
    endpoints: ready.map((pod) => ({
      addresses: [text(pod.status?.['podIP'])],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: reference(pod),
      nodeName: text(pod.spec?.['nodeName']),
    })),
    ports: portsOf(service, ready[0]),
  });
}

function put(context: ControllerContext, type: (typeof TYPES)['endpoints'], namespace: string, wanted: Dict): void {
  const { registry, store } = context;
  const name = text(dict(wanted['metadata'])['name']);
  const existing = store.get(type.id, namespace, name);
  if (existing === undefined) {
    registry.create(type, namespace, wanted, WRITE);
    return;
  }
  const { metadata: _metadata, kind: _kind, apiVersion: _apiVersion, ...content } = existing;
  const { metadata: _wantedMetadata, ...wantedContent } = wanted;
  if (same(content, wantedContent)) return;
  const draft = { kind: existing.kind, apiVersion: existing.apiVersion, metadata: existing.metadata, ...wantedContent };
  registry.update(type, existing, structuredClone(draft), WRITE);
}
