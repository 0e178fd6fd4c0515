import { badRequest } from '../api-error.js';
import type { Dict } from '../json.js';
import { isDict, list, same } from '../json.js';
import type { Field, FieldType, TypeSchema } from '../schema/schema-language.js';
import { schemaOf } from '../schema/schemas.js';

const DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_PREFIX = '$deleteFromPrimitiveList/';
const ORDER_PREFIX = '$setElementOrder/';

/**
 * Kubernetes' own patch format: like a merge patch, but lists with a merge key are merged item by item, and directives
 * (`$patch: delete|replace|merge`, `$retainKeys`, `$deleteFromPrimitiveList/f`, `$setElementOrder/f`) say the rest.
 */
export function applyStrategicMergePatch(target: unknown, patch: unknown, type: TypeSchema | undefined): unknown {
  if (!isDict(patch)) throw badRequest('a strategic merge patch is an object');
  return mergeObject(isDict(target) ? target : {}, patch, type);
}

function mergeObject(target: Dict, patch: Dict, type: TypeSchema | undefined): Dict {
  const directive = patch[DIRECTIVE];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`unknown patch directive ${String(directive)}`);

  const result: Dict = { ...target };
  const retained = patch[RETAIN_KEYS];
  if (Array.isArray(retained)) for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE_PREFIX)) {
      const name = key.slice(DELETE_PREFIX.length);
      const gone = list(value);
      result[name] = list(result[name]).filter((item) => !gone.some((other) => same(item, other)));
    } else if (!key.startsWith('$')) {
      if (value === null) delete result[key];
      else result[key] = mergeValue(result[key], value, type?.fields.get(key), patch);
    }
  }
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith(ORDER_PREFIX)) continue;
    const name = key.slice(ORDER_PREFIX.length);
    if (Array.isArray(result[name])) result[name] = reorder(list(result[name]), list(value), type?.fields.get(name));
  }
  return result;
}

function mergeValue(target: unknown, value: unknown, field: Field | undefined, _patch: Dict): unknown {
  if (isDict(value)) {
    if (field?.type.kind === 'map') return mergeObject(isDict(target) ? target : {}, value, refOf(field.type.value));
    return mergeObject(isDict(target) ? target : {}, value, field === undefined ? undefined : refOf(field.type));
  }
  if (!Array.isArray(value)) return value;
  if (field?.patchStrategies.includes('merge') !== true) return value.map(stripDirectives);
  return mergeList(list(target), value, field);
}

function refOf(type: FieldType): TypeSchema | undefined {
  return type.kind === 'ref' ? schemaOf(type.name) : undefined;
}

function mergeList(target: readonly unknown[], patch: readonly unknown[], field: Field): unknown[] {
  const key = field.patchMergeKey;
  if (key === undefined) {
    const added = patch.filter((item) => !target.some((other) => same(item, other)));
    return [...target, ...added];
  }
  const items = patch.filter(isDict);
  const replaced = items.some((item) => item[DIRECTIVE] === 'replace');
  let result: unknown[] = replaced ? [] : [...target];
  const itemType = field.type.kind === 'list' ? refOf(field.type.item) : undefined;
  for (const item of items) {
    const keyValue = item[key];
    if (keyValue === undefined) {
      if (item[DIRECTIVE] === 'replace') continue;
      throw badRequest(`map: an item of ${field.name} in the patch does not contain the merge key ${key}`);
    }
    if (item[DIRECTIVE] === 'delete') {
      result = result.filter((other) => !isDict(other) || other[key] !== keyValue);
      continue;
    }
    const index = result.findIndex((other) => isDict(other) && other[key] === keyValue);
    const existing = result[index];
    if (index === -1) result.push(mergeObject({}, item, itemType));
    else result[index] = mergeObject(isDict(existing) ? existing : {}, item, itemType);
  }
  return result;
}

/** Items that the order does not name keep their place behind the ones before them. */
function reorder(items: readonly unknown[], order: readonly unknown[], field: Field | undefined): unknown[] {
  const key = field?.patchMergeKey;
  const idOf = (item: unknown): unknown => (key !== undefined && isDict(item) ? item[key] : item);
  const wanted = order.map(idOf);
  const named = wanted.flatMap((id) => items.filter((item) => same(idOf(item), id)));
  const result: unknown[] = [...named];
  items.forEach((item, index) => {
    if (named.includes(item)) return;
    const before = items.slice(0, index).findLast((other) => result.includes(other));
    result.splice(before === undefined ? 0 : result.indexOf(before) + 1, 0, item);
  });
  return result;
}

function stripDirectives(value: unknown): unknown {
  return isDict(value) ? withoutDirectives(value) : value;
}

function withoutDirectives(value: Dict): Dict {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !key.startsWith('$'))
      .map(([key, inner]) => [key, stripDirectives(inner)]),
  );
}
