import { ACCESS_TYPES } from './access-types.js';
import { CORE_TYPES } from './core-types.js';
import { META_TYPES } from './meta-types.js';
import { POD_TYPES } from './pod-types.js';
import type { TypeSchema } from './schema-language.js';
import { parseSchemas } from './schema-language.js';
import { TRAFFIC_TYPES } from './traffic-types.js';
import { WORKLOAD_TYPES } from './workload-types.js';

const SOURCES = [META_TYPES, POD_TYPES, CORE_TYPES, WORKLOAD_TYPES, ACCESS_TYPES, TRAFFIC_TYPES];
const byName = new Map(SOURCES.flatMap(parseSchemas).map((type) => [type.name, type] as const));

/** By short name; undefined for a type that is not described, which is then open. */
export function schemaOf(name: string): TypeSchema | undefined {
  return byName.get(name);
}

/** The described types that `name` is made of, itself included. */
export function closureOf(name: string, into: Map<string, TypeSchema>): void {
  const type = byName.get(name);
  if (type === undefined || into.has(name)) return;
  into.set(name, type);
  for (const field of type.fields.values()) {
    let inner = field.type;
    while (inner.kind === 'list' || inner.kind === 'map') inner = inner.kind === 'list' ? inner.item : inner.value;
    if (inner.kind === 'ref') closureOf(inner.name, into);
  }
}
