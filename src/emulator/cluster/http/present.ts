import type { Dict, KubeObject } from '../json.js';
import { itemJson, objectJson } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf } from '../resource-table.js';
import { toPartialMetadata, toTable } from '../table-printer.js';
import type { Form } from './exchange.js';

export interface PresentOptions {
  readonly form: Form;
  readonly query: URLSearchParams;
  readonly now: number;
}

/** One object as JSON text in the wanted form. */
export function presentObject(type: ResourceType, stored: KubeObject, options: PresentOptions): string {
  const object = ownForm(type, stored);
  if (options.form.kind === 'partial') return JSON.stringify(toPartialMetadata(object));
  if (options.form.kind !== 'table') return objectJson(object);
  const { resourceVersion = '' } = object.metadata;
  return JSON.stringify(toTable(type, [object], tableOptions(options, { resourceVersion }, true)));
}

/** The object of a watch event; only the first table has columns. */
export function presentEvent(type: ResourceType, stored: KubeObject, options: PresentOptions, first: boolean): string {
  if (options.form.kind !== 'table') return presentObject(type, stored, options);
  const { resourceVersion = '' } = stored.metadata;
  return JSON.stringify(toTable(type, [ownForm(type, stored)], tableOptions(options, { resourceVersion }, first)));
}

export function presentList(
  type: ResourceType,
  stored: readonly KubeObject[],
  listMetadata: Dict,
  options: PresentOptions,
): string {
  const objects = type.storedAs === undefined ? stored : stored.map((object) => ownForm(type, object));
  if (options.form.kind === 'table')
    return JSON.stringify(toTable(type, objects, tableOptions(options, listMetadata, true)));
  const partial = options.form.kind === 'partial';
  const kind = partial ? 'PartialObjectMetadataList' : `${type.kind}List`;
  const apiVersion = partial ? 'meta.k8s.io/v1' : apiVersionOf(type);
  const items = objects.map((object) => (partial ? JSON.stringify(toPartialMetadata(object)) : itemJson(object)));
  const head = JSON.stringify({ kind, apiVersion, metadata: listMetadata }).slice(0, -1);
  return `${head},"items":[${items.join(',')}]}\n`;
}

function tableOptions(
  options: PresentOptions,
  listMetadata: Dict,
  withColumns: boolean,
): Parameters<typeof toTable>[2] {
  const wanted = options.query.get('includeObject');
  const includeObject = wanted === 'None' || wanted === 'Object' ? wanted : 'Metadata';
  return { now: options.now, listMetadata, includeObject, withColumns };
}

/** events.k8s.io/v1 shows the stored core events under its own names. */
function ownForm(type: ResourceType, object: KubeObject): KubeObject {
  if (type.storedAs === undefined) return object;
  const {
    metadata,
    reason,
    type: eventType,
    message,
    involvedObject,
    source,
    count,
    firstTimestamp,
    lastTimestamp,
  } = object;
  return {
    kind: type.kind,
    apiVersion: apiVersionOf(type),
    metadata,
    ...{ reason, type: eventType, note: message, regarding: involvedObject, eventTime: object['eventTime'] ?? null },
    ...{ deprecatedSource: source, deprecatedCount: count },
    ...{ deprecatedFirstTimestamp: firstTimestamp, deprecatedLastTimestamp: lastTimestamp },
  };
}
