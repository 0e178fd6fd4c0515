import { ApiError } from '../api-error.js';
import { clone, isDict, same } from '../json.js';

function refuse(message: string): ApiError {
  return new ApiError(422, 'Invalid', `the server rejected our request due to an error in our request: ${message}`, {});
}

/** RFC 6902; the document is not changed. */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw refuse('a JSON patch is a list of operations');
  let current = clone(document);
  for (const operation of patch) {
    if (!isDict(operation)) throw refuse('each operation of a JSON patch is an object');
    current = applyOperation(current, operation);
  }
  return current;
}

function applyOperation(document: unknown, operation: Record<string, unknown>): unknown {
  const path = parsePointer(operation['path']);
  switch (operation['op']) {
    case 'add':
      return change(
        document,
        path,
        (parent, key) => insert(parent, key, clone(operation['value'])),
        operation['value'],
      );
    case 'remove':
      return change(document, path, take, undefined);
    case 'replace':
      read(document, path);
      return change(document, path, (parent, key) => put(parent, key, clone(operation['value'])), operation['value']);
    case 'test':
      if (same(read(document, path), operation['value'])) return document;
      throw refuse(`testing path ${String(operation['path'])} failed`);
    case 'copy':
    case 'move': {
      const from = parsePointer(operation['from']);
      const value = clone(read(document, from));
      const rest = operation['op'] === 'move' ? change(document, from, take, undefined) : document;
      return change(rest, path, (parent, key) => insert(parent, key, value), value);
    }
    default:
      throw refuse(`unknown operation ${JSON.stringify(operation['op'])}`);
  }
}

function parsePointer(pointer: unknown): string[] {
  if (pointer === '') return [];
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) throw refuse(`bad path ${JSON.stringify(pointer)}`);
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

type Parent = unknown[] | Record<string, unknown>;

function change(
  document: unknown,
  path: readonly string[],
  act: (parent: Parent, key: string) => void,
  root: unknown,
): unknown {
  const last = path.at(-1);
  if (last === undefined) return clone(root);
  const parent = read(document, path.slice(0, -1));
  if (!Array.isArray(parent) && !isDict(parent)) throw missing(path);
  act(parent, last);
  return document;
}

function read(document: unknown, path: readonly string[]): unknown {
  let current = document;
  for (const key of path) {
    if (Array.isArray(current)) current = current[indexOf(current, key, current.length - 1)];
    else if (isDict(current) && Object.hasOwn(current, key)) current = current[key];
    else throw missing(path);
  }
  return current;
}

function missing(path: readonly string[]): ApiError {
  return refuse(`path /${path.join('/')} does not exist`);
}

function indexOf(items: readonly unknown[], key: string, highest: number): number {
  const index = key === '-' ? items.length : /^(0|[1-9]\d*)$/.test(key) ? Number(key) : -1;
  if (index < 0 || index > highest) throw refuse(`index ${key} is out of bounds`);
  return index;
}

function insert(parent: Parent, key: string, value: unknown): void {
  if (Array.isArray(parent)) parent.splice(indexOf(parent, key, parent.length), 0, value);
  else parent[key] = value;
}

function put(parent: Parent, key: string, value: unknown): void {
  if (Array.isArray(parent)) parent[indexOf(parent, key, parent.length - 1)] = value;
  else parent[key] = value;
}

function take(parent: Parent, key: string): void {
  if (Array.isArray(parent)) parent.splice(indexOf(parent, key, parent.length - 1), 1);
  else if (Object.hasOwn(parent, key)) delete parent[key];
  else throw missing([key]);
}
