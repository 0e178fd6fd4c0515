import type { Dict, KubeObject } from './json.js';
import { podCells, podRowConditions } from './pod-cells.js';
import type { ResourceType } from './resource-table.js';
import { columnDefinition, columnsOf } from './table-columns.js';
import type { Printer } from './table-rows.js';
import { ROW_PRINTERS } from './table-rows.js';

export interface TableOptions {
  /** Milliseconds since the epoch, from which ages are counted. */
  readonly now: number;
  readonly listMetadata?: Dict;
  readonly includeObject: 'None' | 'Metadata' | 'Object';
  /** Of a watch, only the first event has them. */
  readonly withColumns: boolean;
}

const PODS: Printer = {
  columns: columnsOf(
    ...['Name', 'Ready', 'Status', 'Restarts', 'Age', '*IP', '*Node', '*Nominated Node', '*Readiness Gates'],
  ),
  cells: (pod, now) => [nameOf(pod), ...podCells(pod, now)],
};

/** For types that the API server has no columns for. */
const OTHERS: Printer = {
  columns: columnsOf('Name', 'Created At:date'),
  cells: (object) => [nameOf(object), object.metadata.creationTimestamp ?? ''],
};

const PRINTERS: Readonly<Record<string, Printer>> = { pods: PODS, ...ROW_PRINTERS };

/** A meta.k8s.io/v1 Table, as kubectl asks for it with `as=Table`. */
export function toTable(type: ResourceType, objects: readonly KubeObject[], options: TableOptions): Dict {
  const printer = PRINTERS[type.id] ?? OTHERS;
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.listMetadata ?? {},
    columnDefinitions: options.withColumns ? printer.columns.map(columnDefinition) : null,
    rows: objects.map((object) => {
      const conditions = type.id === 'pods' ? podRowConditions(object) : undefined;
      return {
        cells: printer.cells(object, options.now),
        ...(conditions === undefined ? {} : { conditions }),
        object: rowObject(object, options.includeObject),
      };
    }),
  };
}

function rowObject(object: KubeObject, include: TableOptions['includeObject']): Dict | null {
  if (include === 'None') return null;
  return include === 'Object' ? object : toPartialMetadata(object);
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

/** The object of a bookmark has none. */
function nameOf(object: KubeObject): string {
  return object.metadata.name ?? '';
}
