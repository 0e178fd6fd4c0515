import type { IncomingMessage } from 'node:http';
import { badRequest, conflict, methodNotAllowed, notFound, unsupportedMediaType } from '../api-error.js';
import type { Dict, KubeObject } from '../json.js';
import { clone, dict, isDict, strings, text } from '../json.js';
import { applyServerSide } from '../managed-fields.js';
import { applyJsonPatch } from '../patch/json-patch.js';
import { applyMergePatch } from '../patch/merge-patch.js';
import { applyStrategicMergePatch } from '../patch/strategic-merge.js';
import type { DeleteOptions, Registry, WriteOptions } from '../registry.js';
import { schemaOf } from '../schema/schemas.js';
import type { ResourcePath } from './api-path.js';
import { readObject, readPatch } from './exchange.js';

export interface WriteCall {
  readonly registry: Registry;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly now: number;
  readonly warnings: string[];
}

export interface Written {
  readonly object: KubeObject;
  readonly created: boolean;
}

export async function createObject(call: WriteCall): Promise<Written> {
  const { registry, path } = call;
  const draft = await readObject(call.request);
  const object = registry.create(path.type, namespaceOf(path, draft), draft, writeOptions(call));
  return { object, created: true };
}

export async function replaceObject(call: WriteCall): Promise<Written> {
  const { registry, path } = call;
  const draft = await readObject(call.request);
  const existing = registry.find(path.type, path.namespace ?? '', path.name ?? '');
  return { object: registry.update(path.type, existing, draft, writeOptions(call)), created: false };
}

export async function patchObject(call: WriteCall): Promise<Written> {
  const { type, patch } = await readPatch(call.request);
  if (type === 'application/apply-patch+yaml') return apply(call, patch);
  const { registry, path } = call;
  const existing = registry.find(path.type, path.namespace ?? '', path.name ?? '');
  const draft = patched(clone(existing), { type, patch }, path.type.schema);
  if (!isDict(draft)) throw badRequest('the patch makes the object something else than an object');
  return { object: registry.update(path.type, existing, draft, writeOptions(call)), created: false };
}

/** By the content type of the patch. */
export function patched(target: unknown, given: { type: string; patch: unknown }, schema: string): unknown {
  switch (given.type) {
    case 'application/json-patch+json':
      return applyJsonPatch(target, given.patch);
    case 'application/merge-patch+json':
      return applyMergePatch(target, given.patch);
    case 'application/strategic-merge-patch+json':
      return applyStrategicMergePatch(target, given.patch, schemaOf(schema));
    default:
      throw unsupportedMediaType(given.type, [
        ...['application/json-patch+json', 'application/merge-patch+json'],
        ...['application/strategic-merge-patch+json', 'application/apply-patch+yaml'],
      ]);
  }
}

function apply(call: WriteCall, patch: unknown): Written {
  const { registry, path, query, now } = call;
  if (!isDict(patch)) throw badRequest('the body of an apply is an object');
  const manager = query.get('fieldManager') ?? '';
  if (manager === '')
    throw badRequest(
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    );
  const { type } = path;
  const stored = registry.store.get(type.storedAs ?? type.id, path.namespace ?? '', path.name ?? '');
  const config: Dict = { ...patch, metadata: { ...dict(patch['metadata']), name: path.name } };
  const { object } = applyServerSide({
    type,
    ...(stored === undefined ? {} : { existing: stored }),
    config,
    manager,
    force: query.get('force') === 'true',
    now,
  });
  const options: WriteOptions = { ...writeOptions(call), manager, applied: true };
  if (stored === undefined) {
    return { object: registry.create(type, path.namespace ?? '', object, options), created: true };
  }
  const asked = text(dict(patch['metadata'])['resourceVersion']);
  if (asked !== '' && asked !== stored.metadata.resourceVersion) throw conflict(type, path.name ?? '');
  return { object: registry.update(type, stored, object, options), created: false };
}

export async function deleteObject(call: WriteCall): Promise<{ object: KubeObject; gone: boolean }> {
  const { registry, path } = call;
  const options = await deleteOptions(call);
  const existing = registry.find(path.type, path.namespace ?? '', path.name ?? '');
  return registry.delete(path.type, existing, options);
}

export async function deleteOptions(call: WriteCall): Promise<DeleteOptions> {
  const body = await readObject(call.request, {});
  const { gracePeriodSeconds, propagationPolicy, dryRun, preconditions } = body;
  const grace =
    gracePeriodSeconds ??
    (call.query.has('gracePeriodSeconds') ? Number(call.query.get('gracePeriodSeconds')) : undefined);
  const policy = text(propagationPolicy) || (call.query.get('propagationPolicy') ?? '');
  const { uid, resourceVersion } = dict(preconditions);
  return {
    ...(typeof grace === 'number' ? { gracePeriodSeconds: grace } : {}),
    ...(policy === '' ? {} : { propagationPolicy: policy }),
    ...(strings(dryRun).includes('All') || call.query.get('dryRun') === 'All' ? { dryRun: true } : {}),
    ...(typeof uid === 'string' ? { uid } : {}),
    ...(typeof resourceVersion === 'string' ? { resourceVersion } : {}),
  };
}

/** The `scale` subresource: another type's view of spec.replicas. */
export async function serveScale(call: WriteCall): Promise<Dict> {
  const { registry, path, request } = call;
  const existing = registry.find(path.type, path.namespace ?? '', path.name ?? '');
  const scale = scaleOf(existing);
  if (request.method === 'GET') return scale;
  let wanted: unknown;
  if (request.method === 'PUT') wanted = await readObject(request);
  else if (request.method === 'PATCH') wanted = patched(scale, await readPatch(request), 'Scale');
  else throw methodNotAllowed();
  const version = text(dict(dict(wanted)['metadata'])['resourceVersion']);
  if (version !== '' && version !== existing.metadata.resourceVersion) throw conflict(path.type, path.name ?? '');
  const replicas = dict(dict(wanted)['spec'])['replicas'] ?? 0;
  const draft = clone(existing);
  draft.spec = { ...draft.spec, replicas };
  return scaleOf(registry.update(path.type, existing, draft, { ...writeOptions(call), subresource: 'scale' }));
}

function scaleOf(object: KubeObject): Dict {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const labels = dict(dict(object.spec?.['selector'])['matchLabels']);
  const selector = Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: object.spec?.['replicas'] ?? 0 },
    status: { replicas: object.status?.['replicas'] ?? 0, selector: selector.join(',') },
  };
}

function namespaceOf(path: ResourcePath, draft: Dict): string {
  if (!path.type.namespaced) return '';
  const namespace = path.namespace ?? text(dict(draft['metadata'])['namespace']);
  if (namespace === '') throw notFound(path.type, '');
  return namespace;
}

export function writeOptions(call: WriteCall): WriteOptions {
  const { query, request, path, warnings } = call;
  const validation = query.get('fieldValidation');
  return {
    // As the real server: the first word of the user agent, up to its version.
    manager: query.get('fieldManager') ?? (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown',
    dryRun: query.get('dryRun') === 'All',
    fieldValidation: validation === 'Strict' || validation === 'Ignore' ? validation : 'Warn',
    ...(path.subresource === undefined ? {} : { subresource: path.subresource }),
    warnings,
  };
}
