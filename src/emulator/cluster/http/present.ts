import type { Dict, KubeObject } from '../json.js';
import { itemJson, objectJson } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf } from '../resource-table.js';
import { toPartialMetadata, toPartialMetadataList, toTable } from '../table-printer.js';
import type { Form } from './exchange.js';
import { shownForm } from './stored-forms.js';

export interface PresentOptions {
  readonly form: Form;
  readonly query: URLSearchParams;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** One object as JSON text in the wanted form. */
export function presentObject(type: ResourceType, stored: KubeObject, options: PresentOptions): string {
  return presentEvent(type, stored, options, true);
}

/** The object of a watch event; only the first table has columns. */
export function presentEvent(
  type: ResourceType,
  stored: KubeObject,
  options: PresentOptions,
  withColumns: boolean,
): string {
  const object = shownForm(type, stored);
  if (options.form.kind === 'partial') return JSON.stringify(toPartialMetadata(object));
  if (options.form.kind !== 'table') return objectJson(object);
  const { resourceVersion } = object.metadata;
  const metadata = resourceVersion === undefined ? {} : { resourceVersion };
  return JSON.stringify(toTable(type, [object], tableOptions(options, metadata, withColumns)));
}

export function presentList(
  type: ResourceType,
  stored: readonly KubeObject[],
  listMetadata: Dict,
  options: PresentOptions,
): string {
  const objects = type.storedAs === undefined ? stored : stored.map((object) => shownForm(type, object));
  const { form } = options;
  if (form.kind === 'table') return JSON.stringify(toTable(type, objects, tableOptions(options, listMetadata, true)));
  if (form.kind === 'partial') return JSON.stringify(toPartialMetadataList(objects, listMetadata));
  const head = JSON.stringify({ kind: `${type.kind}List`, apiVersion: apiVersionOf(type), metadata: listMetadata });
  return `${head.slice(0, -1)},"items":[${objects.map(itemJson).join(',')}]}\n`;
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
