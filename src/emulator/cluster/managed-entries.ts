import type { FieldSet } from './field-sets.js';
import { formatFieldsV1, isEmptySet, parseFieldsV1, withoutPath } from './field-sets.js';
import type { Dict, KubeObject } from './json.js';
import { isDict, list, text } from './json.js';
import type { ResourceType } from './resource-table.js';

/** One entry of metadata.managedFields, its fields parsed. */
export interface ManagedEntry {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly fields: FieldSet;
}

/** Undefined when any entry cannot be read: then the whole list is not to be trusted. */
export function parseEntries(managedFields: unknown): ManagedEntry[] | undefined {
  const entries: ManagedEntry[] = [];
  for (const item of list(managedFields)) {
    if (!isDict(item) || item['fieldsType'] !== 'FieldsV1') return undefined;
    const { manager, operation, apiVersion, subresource, time, fieldsV1 } = item;
    if (operation !== 'Apply' && operation !== 'Update') return undefined;
    entries.push({
      manager: text(manager),
      operation,
      apiVersion: text(apiVersion),
      subresource: text(subresource),
      time: text(time),
      fields: parseFieldsV1(fieldsV1),
    });
  }
  return entries;
}

/** In the API server's order: applied ones first, then by age, then by name. Entries without fields vanish. */
export function storeEntries(object: KubeObject, entries: readonly ManagedEntry[]): void {
  const kept = entries.filter(({ fields }) => !isEmptySet(fields));
  if (kept.length === 0) {
    delete object.metadata['managedFields'];
    return;
  }
  const sortKey = (entry: ManagedEntry): string =>
    [entry.operation, entry.time, entry.manager, entry.apiVersion, entry.subresource].join('\0');
  object.metadata['managedFields'] = kept
    .map((entry) => [sortKey(entry), entry] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, entry]) => formatEntry(entry));
}

function formatEntry({ manager, operation, apiVersion, subresource, time, fields }: ManagedEntry): Dict {
  return {
    ...(manager === '' ? {} : { manager }),
    operation,
    apiVersion,
    ...(time === '' ? {} : { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: formatFieldsV1(fields),
    ...(subresource === '' ? {} : { subresource }),
  };
}

/** Whose values are the server's affair, or part of the object's identity: nobody manages them. */
const UNMANAGED = [
  ...['apiVersion', 'kind'].map((name) => [`f:${name}`]),
  ...[
    ...['name', 'namespace', 'creationTimestamp', 'selfLink', 'uid', 'generation', 'managedFields'],
    ...['resourceVersion', 'clusterName'],
  ].map((name) => ['f:metadata', `f:${name}`]),
];

/** `fields` without what no manager can own through this (sub)resource. */
export function manageable(fields: FieldSet, type: ResourceType, subresource: string): FieldSet {
  let result = fields;
  for (const path of UNMANAGED) result = withoutPath(result, path);
  if (subresource === 'status') return withoutPath(result, ['f:spec']);
  return hasStatus(type) ? withoutPath(result, ['f:status']) : result;
}

export function hasStatus(type: ResourceType): boolean {
  return type.subresources.some(({ name }) => name === 'status');
}
