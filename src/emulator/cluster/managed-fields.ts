import { ApiError, badRequest } from './api-error.js';
import type { FieldSet } from './field-sets.js';
import { difference, EMPTY_SET, intersection, isEmptySet, pathsOf, sameSet, union } from './field-sets.js';
import type { Dict, KubeObject } from './json.js';
import { clone, dict, isDict, list, same, timestamp } from './json.js';
import type { ManagedEntry } from './managed-entries.js';
import { hasStatus, manageable, parseEntries, storeEntries } from './managed-entries.js';
import type { ResourceType } from './resource-table.js';
import { apiVersionOf } from './resource-table.js';
import type { Shape } from './typed-values.js';
import { compareValues, fieldsOf, mergeValues, pruneValues, rootShape } from './typed-values.js';

export interface UpdateRecord {
  readonly manager: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly subresource?: string;
}

/** Writes into `object` who manages which of its fields after a create (no `existing`), update or patch. */
export function recordUpdate(
  type: ResourceType,
  existing: KubeObject | undefined,
  object: KubeObject,
  { manager, now, subresource = '' }: UpdateRecord,
): void {
  const before = entriesBefore(existing, object, subresource);
  if (existing !== undefined && before.length === 0) {
    // Once an object is managed by nobody, only an apply starts again.
    storeEntries(object, []);
    return;
  }
  const comparison = compareValues(existing ?? {}, object, rootShape(type));
  const changed = manageable(comparison.changed, type, subresource);
  const { removed } = comparison;
  const gone = union(changed, removed);
  const entries = before.map((entry) => ({ ...entry, fields: difference(entry.fields, gone) }));
  if (!isEmptySet(changed)) {
    const own = { manager, operation: 'Update', apiVersion: apiVersionOf(type), subresource } as const;
    const index = entries.findIndex((entry) => isSameManager(entry, own));
    const fields = union(entries[index]?.fields ?? EMPTY_SET, changed);
    entries.splice(index < 0 ? entries.length : index, 1, { ...own, time: timestamp(now), fields });
  }
  storeEntries(object, entries);
}

type ManagerId = Pick<ManagedEntry, 'manager' | 'operation' | 'apiVersion' | 'subresource'>;

function isSameManager(a: ManagerId, b: ManagerId): boolean {
  return (
    a.manager === b.manager &&
    a.operation === b.operation &&
    a.apiVersion === b.apiVersion &&
    a.subresource === b.subresource
  );
}

/** Clients may write managedFields themselves (`[{}]` forgets all); those that leave it out or spoil it change nothing. */
function entriesBefore(existing: KubeObject | undefined, object: KubeObject, subresource: string): ManagedEntry[] {
  const stored = parseEntries(existing?.metadata['managedFields']) ?? [];
  if (subresource !== '') return stored;
  const given = list(object.metadata['managedFields']);
  if (given.length === 1 && isDict(given[0]) && Object.keys(given[0]).length === 0) return [];
  const parsed = parseEntries(given);
  return parsed === undefined || parsed.length === 0 ? stored : parsed;
}

export interface ApplyRequest {
  readonly type: ResourceType;
  readonly existing?: KubeObject | undefined;
  /** The applied configuration: the fields that the manager has an opinion about. */
  readonly config: Dict;
  readonly manager: string;
  /** Takes fields from other managers instead of failing. */
  readonly force: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly subresource?: string;
}

export interface ApplyResult {
  /** With managedFields; for Registry.create or update with `applied: true`. */
  readonly object: KubeObject;
  /** The fields whose values are not as before, e.g. `.spec.replicas`. */
  readonly changed: readonly string[];
}

/** Server-side apply. Throws the API server's conflict when other managers own fields that would change. */
export function applyServerSide(request: ApplyRequest): ApplyResult {
  const { type, existing, manager, subresource = '' } = request;
  const shape = rootShape(type);
  const config = readConfig(request);
  const live = existing ?? { kind: type.kind, apiVersion: apiVersionOf(type), metadata: { name: '' } };
  const id: ManagerId = { manager, operation: 'Apply', apiVersion: apiVersionOf(type), subresource };
  const before = existing === undefined ? [] : liveEntries(request, existing, shape);
  const last = before.find((entry) => isSameManager(entry, id));
  const others = before.filter((entry) => entry !== last);
  const applied = fieldsOf(config, shape);

  const kept = others.reduce((fields, entry) => union(fields, entry.fields), applied);
  const merged = mergeValues(live, config, shape);
  const pruned = last === undefined ? merged : pruneValues(merged, shape, last.fields, kept);
  const object = clone(pruned) as KubeObject;
  const { changed, removed } = compareValues(live, object, shape);
  if (!request.force) refuseConflicts(others, changed, ownedByLastApplied(request, shape));

  const gone = union(changed, removed);
  const fields = manageable(applied, type, subresource);
  updateLastApplied(object, config, manager);
  const unchanged = last !== undefined && same(object, live) && sameSet(last.fields, fields);
  const time = unchanged ? last.time : timestamp(request.now);
  storeEntries(object, [
    ...others.map((entry) => ({ ...entry, fields: difference(entry.fields, gone) })),
    { ...id, time, fields },
  ]);
  return { object, changed: pathsOf(manageable(gone, type, subresource)) };
}

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** The manager of `kubectl apply --server-side`, for which the server eases the way from client-side apply. */
const KUBECTL = 'kubectl';

function readConfig({ type, config, subresource = '' }: ApplyRequest): Dict {
  const metadata = dict(config['metadata']);
  if (list(metadata['managedFields']).length > 0) throw badRequest('metadata.managedFields must be nil');
  const result = withoutNulls(config) as Dict;
  if (subresource === 'status') {
    for (const key of Object.keys(result)) {
      if (!['kind', 'apiVersion', 'metadata', 'status'].includes(key)) delete result[key];
    }
  } else if (hasStatus(type)) {
    delete result['status'];
  }
  return result;
}

/** Who still applies on the client's side elsewhere must find what was applied last. Nobody owns the change. */
function updateLastApplied(object: KubeObject, config: Dict, manager: string): void {
  const { annotations } = object.metadata;
  if (manager !== KUBECTL || annotations?.[LAST_APPLIED] === undefined) return;
  annotations[LAST_APPLIED] = `${JSON.stringify(withoutLastApplied(config))}\n`;
}

function withoutLastApplied(config: Dict): Dict {
  const metadata = dict(config['metadata']);
  if (metadata['annotations'] === undefined) return config;
  const { [LAST_APPLIED]: _last, ...annotations } = dict(metadata['annotations']);
  return { ...config, metadata: { ...metadata, annotations } };
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isDict(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutNulls(inner)]));
}

/** An object that nobody manages yet is first given, as it is, to a manager of the past. */
function liveEntries({ type, now }: ApplyRequest, existing: KubeObject, shape: Shape): ManagedEntry[] {
  const entries = parseEntries(existing.metadata['managedFields']) ?? [];
  if (entries.length > 0) return entries;
  const fields = manageable(compareValues({}, existing, shape).changed, type, '');
  const apiVersion = apiVersionOf(type);
  const time = timestamp(now);
  return [{ manager: 'before-first-apply', operation: 'Update', apiVersion, subresource: '', time, fields }];
}

/** What client-side apply had set and nobody has changed since may be taken over by kubectl without force. */
function ownedByLastApplied({ manager, existing }: ApplyRequest, shape: Shape): FieldSet {
  const annotation = existing?.metadata.annotations?.[LAST_APPLIED];
  if (manager !== KUBECTL || annotation === undefined) return EMPTY_SET;
  let lastApplied: unknown;
  try {
    lastApplied = JSON.parse(annotation);
  } catch {
    // Somebody has spoilt the annotation: then it gives no right to anything.
    return EMPTY_SET;
  }
  if (!isDict(lastApplied)) return EMPTY_SET;
  const { changed, removed } = compareValues(lastApplied, existing, shape);
  return difference(fieldsOf(lastApplied, shape), union(changed, removed));
}

function refuseConflicts(others: readonly ManagedEntry[], changed: FieldSet, allowed: FieldSet): void {
  const byManager = others
    .map((entry) => ({
      manager: managerText(entry),
      paths: pathsOf(difference(intersection(entry.fields, changed), allowed)),
    }))
    .filter(({ paths }) => paths.length > 0)
    .sort((a, b) => (a.manager < b.manager ? -1 : 1));
  const causes = byManager.flatMap(({ manager, paths }) =>
    paths.map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${manager}`, field })),
  );
  const [first] = causes;
  if (first === undefined) return;
  const told =
    causes.length === 1
      ? `Apply failed with 1 conflict: ${first.message}: ${first.field}`
      : `Apply failed with ${causes.length} conflicts: ${byManager.map(conflictsText).join('\n')}`;
  throw new ApiError(409, 'Conflict', told, { causes });
}

function conflictsText({ manager, paths }: { readonly manager: string; readonly paths: readonly string[] }): string {
  return `conflicts with ${manager}:\n${paths.map((path) => `- ${path}`).join('\n')}`;
}

function managerText({ manager, operation, apiVersion, subresource }: ManagedEntry): string {
  const name = JSON.stringify(manager) + (subresource === '' ? '' : ` with subresource ${JSON.stringify(subresource)}`);
  return operation === 'Update' ? `${name} using ${apiVersion}` : name;
}
