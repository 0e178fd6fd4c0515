import type { IncomingMessage } from 'node:http';
import type { FieldError } from '../api-error.js';
import { badRequest, conflict, unsupportedMediaType } from '../api-error.js';
import type { Dict, KubeObject } from '../json.js';
import { clone, dict, isDict, strings, text } from '../json.js';
import { applyServerSide } from '../managed-fields.js';
import { applyJsonPatch } from '../patch/json-patch.js';
import { applyMergePatch } from '../patch/merge-patch.js';
import { applyStrategicMergePatch } from '../patch/strategic-merge.js';
import type { DeleteOptions, Registry, WriteOptions } from '../registry.js';
import { schemaOf } from '../schema/schemas.js';
import { formatLabelSelector } from '../selectors.js';
import type { ResourcePath } from './api-path.js';
import { readObject, readPatch } from './exchange.js';
import { invalidOptions, unsupported } from './options.js';
import { shownForm, storedForm, storedType } from './stored-forms.js';

export interface WriteCall {
  readonly registry: Registry;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Collects what becomes Warning headers. */
  readonly warnings: string[];
}

export interface Written {
  readonly object: KubeObject;
  readonly created: boolean;
}

const APPLY = 'application/apply-patch+yaml';

export async function createObject(call: WriteCall): Promise<Written> {
  const { registry, path } = call;
  const options = writeOptions(call, 'CreateOptions');
  const draft = storedForm(path.type, await readObject(call.request));
  const object = registry.create(storedType(path.type), path.namespace ?? '', draft, options);
  return { object, created: true };
}

export async function replaceObject(call: WriteCall): Promise<Written> {
  const { path } = call;
  const options = writeOptions(call, 'UpdateOptions');
  const draft = storedForm(path.type, await readObject(call.request));
  return { object: call.registry.update(storedType(path.type), existingOf(call), draft, options), created: false };
}

export async function patchObject(call: WriteCall): Promise<Written> {
  const { type, patch } = await readPatch(call.request);
  const options = patchOptions(call, type === APPLY);
  if (type === APPLY) return apply(call, patch, options);
  const { path } = call;
  const existing = existingOf(call);
  const draft = patched(clone(shownForm(path.type, existing)), { type, patch }, path.type.schema);
  if (!isDict(draft)) throw badRequest('the patch makes the object something else than an object');
  const stored = storedForm(path.type, draft);
  return { object: call.registry.update(storedType(path.type), existing, stored, options), created: false };
}

function existingOf({ registry, path }: WriteCall): KubeObject {
  return registry.find(path.type, path.namespace ?? '', path.name ?? '');
}

/** By the content type of the patch. */
function patched(target: unknown, given: { type: string; patch: unknown }, schema: string): unknown {
  switch (given.type) {
    case 'application/json-patch+json':
      return applyJsonPatch(target, given.patch);
    case 'application/merge-patch+json':
      return applyMergePatch(target, given.patch);
    case 'application/strategic-merge-patch+json':
      return applyStrategicMergePatch(target, given.patch, schemaOf(schema));
    default:
      throw unsupportedMediaType(given.type, ['application/json-patch+json', 'application/merge-patch+json']);
  }
}

function apply(call: WriteCall, patch: unknown, writing: WriteOptions): Written {
  const { registry, path, query, now } = call;
  if (!isDict(patch)) throw badRequest('the body of an apply is an object');
  const { name = '', namespace = '', subresource } = path;
  const metadata = dict(patch['metadata']);
  const given = text(metadata['name']);
  if (given !== '' && given !== name) {
    throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
  }
  const type = storedType(path.type);
  const stored = registry.store.get(type.id, namespace, name);
  // Only a whole object can be made by applying it.
  if (stored === undefined && subresource !== undefined) existingOf(call);
  const version = text(metadata['resourceVersion']);
  if (stored !== undefined && version !== '' && version !== stored.metadata.resourceVersion) throw conflict(type, name);
  const { object } = applyServerSide({
    type,
    existing: stored,
    config: { ...storedForm(path.type, patch), metadata: { ...metadata, name } },
    manager: writing.manager,
    force: query.get('force') === 'true',
    now,
    ...(subresource === undefined ? {} : { subresource }),
  });
  const options: WriteOptions = { ...writing, applied: true };
  if (stored === undefined) return { object: registry.create(type, namespace, object, options), created: true };
  return { object: registry.update(type, stored, object, options), created: false };
}

export async function deleteObject(call: WriteCall): Promise<{ object: KubeObject; gone: boolean }> {
  const options = await deleteOptions(call);
  return call.registry.delete(storedType(call.path.type), existingOf(call), options);
}

export async function deleteOptions(call: WriteCall): Promise<DeleteOptions> {
  return readDeleteOptions(await readObject(call.request, {}), call.query);
}

/** Deletes a pod as its controller's budget would allow: the emulator has no budgets. */
export async function evict(call: WriteCall): Promise<void> {
  const { path, query } = call;
  const body = await readObject(call.request);
  const given = text(dict(body['metadata'])['name']);
  if (given !== '' && given !== path.name) throw badRequest('name in URL does not match name in Eviction object');
  const options = readDeleteOptions(dict(body['deleteOptions']), query);
  call.registry.delete(path.type, existingOf(call), options);
}

function readDeleteOptions(body: Dict, query: URLSearchParams): DeleteOptions {
  const { gracePeriodSeconds, dryRun, preconditions, orphanDependents } = body;
  const asked = query.get('gracePeriodSeconds') ?? '';
  const grace = gracePeriodSeconds ?? (asked === '' ? undefined : Number(asked));
  const orphan = typeof orphanDependents === 'boolean' ? (orphanDependents ? 'Orphan' : 'Background') : '';
  const policy = text(body['propagationPolicy']) || query.get('propagationPolicy') || orphan;
  const errors: FieldError[] = dryRunErrors([...strings(dryRun), ...query.getAll('dryRun')]);
  if (!['', ...POLICIES].includes(policy)) errors.push(unsupported('propagationPolicy', policy, POLICIES));
  if (grace !== undefined && !Number.isSafeInteger(grace)) {
    const message = `Invalid value: ${JSON.stringify(asked)}: must be a whole number of seconds`;
    errors.push({ reason: 'FieldValueInvalid', field: 'gracePeriodSeconds', message });
  }
  if (errors.length > 0) throw invalidOptions('DeleteOptions', errors);
  const { uid, resourceVersion } = dict(preconditions);
  return {
    // Less than nothing is as little as there is.
    ...(typeof grace === 'number' ? { gracePeriodSeconds: grace < 0 ? 1 : grace } : {}),
    ...(policy === '' ? {} : { propagationPolicy: policy }),
    ...(strings(dryRun).includes('All') || query.get('dryRun') === 'All' ? { dryRun: true } : {}),
    ...(typeof uid === 'string' ? { uid } : {}),
    ...(typeof resourceVersion === 'string' ? { resourceVersion } : {}),
  };
}

const POLICIES = ['Foreground', 'Background', 'Orphan'];

/** The `scale` subresource: another type's view of spec.replicas. */
export async function serveScale(call: WriteCall): Promise<Dict> {
  const { registry, path, request } = call;
  if (request.method === 'GET' || request.method === 'HEAD') return scaleOf(existingOf(call));
  const put = request.method === 'PUT';
  const given = put ? { type: '', patch: await readObject(request) } : await readPatch(request);
  const options = put ? writeOptions(call, 'UpdateOptions') : patchOptions(call, false);
  const existing = existingOf(call);
  const wanted = dict(put ? given.patch : patched(scaleOf(existing), given, 'Scale'));
  const { resourceVersion, uid } = dict(wanted['metadata']);
  const stale = text(resourceVersion) !== '' && resourceVersion !== existing.metadata.resourceVersion;
  if (stale || (text(uid) !== '' && uid !== existing.metadata.uid)) throw conflict(path.type, path.name ?? '');
  const draft = clone(existing);
  draft.spec = { ...draft.spec, replicas: dict(wanted['spec'])['replicas'] ?? 0 };
  return scaleOf(registry.update(path.type, existing, draft, { ...options, subresource: 'scale' }));
}

function scaleOf(object: KubeObject): Dict {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: object.spec?.['replicas'] ?? 0 },
    status: {
      replicas: object.status?.['replicas'] ?? 0,
      selector: formatLabelSelector(object.spec?.['selector'] ?? {}),
    },
  };
}

const VALIDATIONS = ['Ignore', 'Strict', 'Warn'] as const;
const MAX_MANAGER_BYTES = 128;

function patchOptions(call: WriteCall, applies: boolean): WriteOptions {
  const errors: FieldError[] = [];
  if (applies && (call.query.get('fieldManager') ?? '') === '') {
    const message = 'Required value: is required for apply patch';
    errors.push({ reason: 'FieldValueRequired', field: 'fieldManager', message });
  }
  if (!applies && call.query.has('force')) {
    const message = 'Forbidden: may not be specified for non-apply patch';
    errors.push({ reason: 'FieldValueForbidden', field: 'force', message });
  }
  return writeOptions(call, 'PatchOptions', errors);
}

function writeOptions(call: WriteCall, kind: string, found: readonly FieldError[] = []): WriteOptions {
  const { query, request, path, warnings } = call;
  const manager = query.get('fieldManager') ?? '';
  const asked = query.get('fieldValidation') ?? '';
  const fieldValidation = VALIDATIONS.find((known) => known === asked);
  const errors = [...found, ...dryRunErrors(query.getAll('dryRun'))];
  if (Buffer.byteLength(manager) > MAX_MANAGER_BYTES) {
    const message = `Too long: may not be more than ${MAX_MANAGER_BYTES} bytes`;
    errors.push({ reason: 'FieldValueInvalid', field: 'fieldManager', message });
  }
  if (asked !== '' && fieldValidation === undefined) errors.push(unsupported('fieldValidation', asked, VALIDATIONS));
  if (errors.length > 0) throw invalidOptions(kind, errors);
  return {
    manager: manager || managerOf(request.headers['user-agent']),
    dryRun: query.get('dryRun') === 'All',
    fieldValidation: fieldValidation ?? 'Warn',
    ...(path.subresource === undefined ? {} : { subresource: path.subresource }),
    warnings,
  };
}

function dryRunErrors(values: readonly string[]): FieldError[] {
  return values
    .filter((value) => value !== 'All' && value !== '')
    .map((value) => unsupported('dryRun', value, ['All']));
}

/** As the real server: the first word of the user agent, up to its version. */
function managerOf(userAgent: string | undefined): string {
  const word = (userAgent ?? '').split('/')[0] ?? '';
  return word.replace(/[^\x20-\x7e]/g, '').slice(0, MAX_MANAGER_BYTES) || 'unknown';
}
