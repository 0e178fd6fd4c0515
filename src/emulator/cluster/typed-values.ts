import type { FieldSet } from './field-sets.js';
import { EMPTY_SET, isEmptySet, LEAF, nodeOf } from './field-sets.js';
import type { Dict } from './json.js';
import { isDict, same } from './json.js';
import type { ResourceType } from './resource-table.js';
import type { Field, FieldType, TypeSchema } from './schema/schema-language.js';
import { schemaOf } from './schema/schemas.js';

/**
 * How the parts of a value belong together by its schema. `leaf` is replaced whole (scalars and everything atomic), `open`
 * is an object that no schema describes: its keys are fields, its lists are atomic.
 */
export type Shape =
  | { readonly kind: 'leaf' | 'open' | 'set' }
  | { readonly kind: 'struct'; readonly schema: TypeSchema }
  | { readonly kind: 'map'; readonly value: Shape }
  | { readonly kind: 'keyed'; readonly keys: readonly string[]; readonly item: Shape };

const LEAF_SHAPE: Shape = { kind: 'leaf' };
const OPEN_SHAPE: Shape = { kind: 'open' };
const SET_SHAPE: Shape = { kind: 'set' };

export function rootShape(type: ResourceType): Shape {
  const schema = schemaOf(type.schema);
  return schema === undefined ? OPEN_SHAPE : { kind: 'struct', schema };
}

const shapes = new WeakMap<Field, Shape>();

function shapeOfField(field: Field): Shape {
  let shape = shapes.get(field);
  if (shape === undefined) {
    shape = field.atomic ? LEAF_SHAPE : shapeOfType(field.type, field);
    shapes.set(field, shape);
  }
  return shape;
}

function shapeOfType(type: FieldType, field?: Field): Shape {
  switch (type.kind) {
    case 'scalar':
      return type.scalar === 'object' ? OPEN_SHAPE : LEAF_SHAPE;
    case 'ref': {
      const schema = schemaOf(type.name);
      if (schema === undefined) return OPEN_SHAPE;
      return schema.atomic ? LEAF_SHAPE : { kind: 'struct', schema };
    }
    case 'map':
      return { kind: 'map', value: shapeOfType(type.value) };
    case 'list':
      if (field?.listType === 'set') return SET_SHAPE;
      if (field?.listType !== 'map') return LEAF_SHAPE;
      // An item of a list by keys is merged even where its type is atomic elsewhere.
      return { kind: 'keyed', keys: [...(field.mapKeys ?? [])].sort(), item: shapeOfType(type.item) };
  }
}

/** The one key of a merged list that clients leave out. */
const KEY_DEFAULTS: Readonly<Dict> = { protocol: 'TCP' };

function keyElement(item: unknown, keys: readonly string[]): string {
  const values = isDict(item) ? item : {};
  const present = keys
    .map((key) => [key, values[key] ?? KEY_DEFAULTS[key]] as const)
    .filter(([, value]) => value !== undefined);
  return `k:${JSON.stringify(Object.fromEntries(present))}`;
}

interface Part {
  readonly value: unknown;
  readonly shape: Shape;
}

/** Whether the value is of the form that its shape expects; anything else is treated as a leaf. */
function fits(value: unknown, shape: Shape): boolean {
  if (shape.kind === 'leaf') return false;
  return shape.kind === 'keyed' || shape.kind === 'set' ? Array.isArray(value) : isDict(value);
}

function childShape(shape: Shape, key: string, value: unknown): Shape | undefined {
  switch (shape.kind) {
    case 'struct': {
      const field = shape.schema.fields.get(key);
      return field === undefined ? undefined : shapeOfField(field);
    }
    case 'map':
      return shape.value;
    default:
      return isDict(value) ? OPEN_SHAPE : LEAF_SHAPE;
  }
}

/** The parts of a value by path element. What the schema does not know is no part. */
function partsOf(value: unknown, shape: Shape): Map<string, Part> {
  const parts = new Map<string, Part>();
  if (!fits(value, shape)) return parts;
  if (Array.isArray(value)) {
    for (const item of value) {
      if (shape.kind === 'keyed') parts.set(keyElement(item, shape.keys), { value: item, shape: shape.item });
      else parts.set(`v:${JSON.stringify(item)}`, { value: item, shape: LEAF_SHAPE });
    }
  } else if (isDict(value)) {
    for (const [key, inner] of Object.entries(value)) {
      if (inner === undefined || inner === null) continue;
      const child = childShape(shape, key, inner);
      if (child !== undefined) parts.set(`f:${key}`, { value: inner, shape: child });
    }
  }
  return parts;
}

/** The fields that an applied configuration speaks of. */
export function fieldsOf(value: unknown, shape: Shape): FieldSet {
  if (!fits(value, shape)) return LEAF;
  const ownsParts = shape.kind === 'map' || shape.kind === 'keyed' || shape.kind === 'set';
  const children = [...partsOf(value, shape)].map(([element, part]) => {
    const inner = fieldsOf(part.value, part.shape);
    return [element, ownsParts && !inner.member ? { ...inner, member: true } : inner] as const;
  });
  return nodeOf(isDict(value) && Object.keys(value).length === 0, children);
}

export interface Comparison {
  /** Added or with another value. */
  readonly changed: FieldSet;
  readonly removed: FieldSet;
}

const UNCHANGED: Comparison = { changed: EMPTY_SET, removed: EMPTY_SET };

/**
 * Fields that the API server's own types hold by value, so that they are never absent: that they appear is no change, and
 * nobody owns them as such.
 */
const NEVER_ABSENT = new Set([
  ...['metadata', 'spec', 'status', 'template', 'jobTemplate', 'strategy', 'updateStrategy', 'containers', 'resources'],
  ...['loadBalancer', 'daemonEndpoints', 'nodeInfo', 'involvedObject', 'source', 'state', 'lastState'],
]);

/** Of the same name, but held by pointer. */
const MAY_BE_ABSENT = new Set(['PodSpec.resources', 'PodStatus.resources', 'ContainerStatus.resources']);

function isNeverAbsent(shape: Shape, element: string): boolean {
  const name = element.slice(2);
  return shape.kind === 'struct' && NEVER_ABSENT.has(name) && !MAY_BE_ABSENT.has(`${shape.schema.name}.${name}`);
}

export function compareValues(left: unknown, right: unknown, shape: Shape): Comparison {
  if (left === right) return UNCHANGED;
  const model = left ?? right;
  if (!fits(model, shape) || (left !== undefined && right !== undefined && !fits(right, shape))) {
    if (left === undefined) return { changed: LEAF, removed: EMPTY_SET };
    if (right === undefined) return { changed: EMPTY_SET, removed: LEAF };
    return same(left, right) ? UNCHANGED : { changed: LEAF, removed: EMPTY_SET };
  }
  const before = partsOf(left, shape);
  const after = partsOf(right, shape);
  const changed: [string, FieldSet][] = [];
  const removed: [string, FieldSet][] = [];
  for (const element of new Set([...before.keys(), ...after.keys()])) {
    const part = after.get(element) ?? before.get(element);
    if (part === undefined) continue;
    const stays = isNeverAbsent(shape, element) ? emptyOf(part) : undefined;
    const inner = compareValues(
      before.get(element)?.value ?? (left === undefined ? undefined : stays),
      after.get(element)?.value ?? (right === undefined ? undefined : stays),
      part.shape,
    );
    changed.push([element, inner.changed]);
    removed.push([element, inner.removed]);
  }
  return {
    changed: nodeOf(left === undefined, changed),
    removed: nodeOf(right === undefined, removed),
  };
}

function emptyOf({ value, shape }: Part): unknown {
  if (!fits(value, shape)) return undefined;
  return Array.isArray(value) ? [] : {};
}

/** `left` with everything that `right` says; neither is changed, but the result shares parts with them. */
export function mergeValues(left: unknown, right: unknown, shape: Shape): unknown {
  if (!fits(left, shape) || !fits(right, shape)) return right;
  if (isDict(left) && isDict(right)) {
    const result: Dict = { ...left };
    for (const [key, value] of Object.entries(right)) {
      const child = childShape(shape, key, value);
      result[key] = child === undefined ? value : mergeValues(result[key], value, child);
    }
    return result;
  }
  const before = partsOf(left, shape);
  const after = partsOf(right, shape);
  const result: unknown[] = [];
  const waiting = [...after];
  const add = ([element, part]: [string, Part]): void => {
    const old = before.get(element);
    result.push(old === undefined ? part.value : mergeValues(old.value, part.value, part.shape));
  };
  // The order of `right` wins; what only `left` has keeps its place before the next item that both have.
  for (const [element, part] of before) {
    const index = waiting.findIndex(([other]) => other === element);
    if (index >= 0) waiting.splice(0, index + 1).forEach(add);
    else if (!after.has(element)) result.push(part.value);
  }
  waiting.forEach(add);
  return result;
}

/** Takes out what was owned `before` and is not `kept` by anyone, whole. */
export function pruneValues(value: unknown, shape: Shape, before: FieldSet, kept: FieldSet): unknown {
  if (before.children.size === 0 || !fits(value, shape)) return value;
  const entries: [string, unknown][] = [];
  for (const [element, part] of partsOf(value, shape)) {
    const last = before.children.get(element) ?? EMPTY_SET;
    const owners = kept.children.get(element) ?? EMPTY_SET;
    // Who owned a part of a struct owned, for this purpose, the struct.
    const owned = last.member || (shape.kind === 'struct' && !isEmptySet(last));
    if (owned && isEmptySet(owners)) continue;
    entries.push([element, pruneValues(part.value, part.shape, last, owners)]);
  }
  if (Array.isArray(value)) return entries.map(([, item]) => item);
  const unknown = isDict(value)
    ? Object.entries(value).filter(([key, inner]) => childShape(shape, key, inner) === undefined)
    : [];
  return Object.fromEntries([...unknown, ...entries.map(([element, inner]) => [element.slice(2), inner] as const)]);
}
