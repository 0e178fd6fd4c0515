/** A JSON object of which nothing is known yet; the helpers below read it without trusting it. */
export type Dict = Record<string, unknown>;

export interface ObjectMeta extends Dict {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string | null;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A stored object is never changed in place: every write stores a new one, so that events and snapshots may share it. */
export interface KubeObject extends Dict {
  kind: string;
  apiVersion: string;
  metadata: ObjectMeta;
  spec?: Dict;
  status?: Dict;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export function isDict(value: unknown): value is Dict {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function dict(value: unknown): Dict {
  return isDict(value) ? value : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function dicts(value: unknown): readonly Dict[] {
  return list(value).filter(isDict);
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function strings(value: unknown): string[] {
  return list(value).filter((item): item is string => typeof item === 'string');
}

export function integer(value: unknown, otherwise = 0): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.trunc(value) : otherwise;
}

/** The value below `path` (dots separate keys), undefined where the way ends. */
export function at(value: unknown, path: string): unknown {
  let current = value;
  for (const key of path.split('.')) {
    if (!isDict(current)) return undefined;
    current = current[key];
  }
  return current;
}

export function clone<T>(value: T): T {
  return structuredClone(value);
}

/** Equal as JSON: the order of keys is nothing, an undefined value is an absent one. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => same(item, b[index]));
  }
  if (!isDict(a) || !isDict(b)) return false;
  const keys = definedKeys(a);
  return keys.length === definedKeys(b).length && keys.every((key) => same(a[key], b[key]));
}

function definedKeys(value: Dict): string[] {
  return Object.keys(value).filter((key) => value[key] !== undefined);
}

export function ownersOf(object: KubeObject): readonly OwnerReference[] {
  return dicts(object.metadata['ownerReferences']) as unknown as readonly OwnerReference[];
}

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return ownersOf(object).find((owner) => owner.controller === true);
}

/** metav1.Time: RFC 3339 in whole seconds. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

const bare = new WeakMap<KubeObject, string>();

/** The JSON of a stored object without kind and apiVersion, as the items of a list are written; kept for as long as the object. */
export function itemJson(object: KubeObject): string {
  let json = bare.get(object);
  if (json === undefined) {
    const { kind: _kind, apiVersion: _apiVersion, ...rest } = object;
    json = JSON.stringify(rest);
    bare.set(object, json);
  }
  return json;
}

/** The JSON of a stored object, kind and apiVersion first as the real API server writes it. */
export function objectJson(object: KubeObject): string {
  const head = `{"kind":${JSON.stringify(object.kind)},"apiVersion":${JSON.stringify(object.apiVersion)}`;
  const item = itemJson(object);
  return item === '{}' ? `${head}}` : `${head},${item.slice(1)}`;
}
