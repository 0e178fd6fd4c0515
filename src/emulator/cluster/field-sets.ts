import type { Dict } from './json.js';
import { dict } from './json.js';

/**
 * A set of fields as a tree of path elements in the notation of FieldsV1: `f:name` a field, `k:{"name":"x"}` an item of a
 * list merged by keys, `v:"x"` an item of a set. A node is in the set itself when `member` is true. Never changed in place.
 */
export interface FieldSet {
  readonly member: boolean;
  readonly children: ReadonlyMap<string, FieldSet>;
}

const NO_CHILDREN: ReadonlyMap<string, FieldSet> = new Map();
export const EMPTY_SET: FieldSet = { member: false, children: NO_CHILDREN };
export const LEAF: FieldSet = { member: true, children: NO_CHILDREN };

export function isEmptySet(set: FieldSet): boolean {
  return !set.member && set.children.size === 0;
}

/** Makes a node of its parts and drops the children that hold nothing. */
export function nodeOf(member: boolean, children: Iterable<readonly [string, FieldSet]>): FieldSet {
  const kept = new Map<string, FieldSet>();
  for (const [element, child] of children) if (!isEmptySet(child)) kept.set(element, child);
  if (kept.size === 0) return member ? LEAF : EMPTY_SET;
  return { member, children: kept };
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || isEmptySet(b)) return a;
  if (isEmptySet(a)) return b;
  const children = new Map(a.children);
  for (const [element, child] of b.children) children.set(element, union(children.get(element) ?? EMPTY_SET, child));
  return { member: a.member || b.member, children };
}

export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(b)) return a;
  const children = [...a.children].map(
    ([element, child]) => [element, difference(child, b.children.get(element) ?? EMPTY_SET)] as const,
  );
  return nodeOf(a.member && !b.member, children);
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const children = [...a.children].map(
    ([element, child]) => [element, intersection(child, b.children.get(element) ?? EMPTY_SET)] as const,
  );
  return nodeOf(a.member && b.member, children);
}

export function sameSet(a: FieldSet, b: FieldSet): boolean {
  if (a === b) return true;
  if (a.member !== b.member || a.children.size !== b.children.size) return false;
  return [...a.children].every(([element, child]) => {
    const other = b.children.get(element);
    return other !== undefined && sameSet(child, other);
  });
}

/** Without the node at `path` and everything below it. */
export function withoutPath(set: FieldSet, path: readonly string[]): FieldSet {
  const [element, ...rest] = path;
  if (element === undefined) return EMPTY_SET;
  const child = set.children.get(element);
  if (child === undefined) return set;
  const children = new Map(set.children).set(element, withoutPath(child, rest));
  return nodeOf(set.member, children);
}

/** FieldsV1 as it is stored: `.` marks a node that is a member beside its children. */
export function parseFieldsV1(fields: unknown): FieldSet {
  const entries = Object.entries(dict(fields));
  if (entries.length === 0) return LEAF;
  const children = new Map<string, FieldSet>();
  let member = false;
  for (const [element, inner] of entries) {
    if (element === '.') member = true;
    else children.set(element, parseFieldsV1(inner));
  }
  return { member, children };
}

export function formatFieldsV1(set: FieldSet): Dict {
  if (set.children.size === 0) return {};
  const children = [...set.children].sort(([a], [b]) => compareElements(a, b));
  return {
    ...(set.member ? { '.': {} } : {}),
    ...Object.fromEntries(children.map(([element, child]) => [element, formatFieldsV1(child)])),
  };
}

/** Every member as people read it, e.g. `.spec.containers[name="main"].image`. */
export function pathsOf(set: FieldSet): string[] {
  const paths: string[] = [];
  const visit = (node: FieldSet, path: string): void => {
    if (node.member) paths.push(path);
    for (const [element, child] of [...node.children].sort(([a], [b]) => compareElements(a, b))) {
      visit(child, path + elementText(element));
    }
  };
  visit(set, '');
  return paths;
}

function elementText(element: string): string {
  const body = element.slice(2);
  if (element.startsWith('v:')) return `[=${body}]`;
  if (!element.startsWith('k:')) return `.${body}`;
  const keys = Object.entries(dict(JSON.parse(body) as unknown));
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
}

function compareElements(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
