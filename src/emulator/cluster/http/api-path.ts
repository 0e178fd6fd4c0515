import { badRequest, noSuchPath } from '../api-error.js';
import type { ResourceType } from '../resource-table.js';
import { findResource } from '../resource-table.js';

/** A request to a resource of the API, read from its target. */
export interface ResourcePath {
  readonly type: ResourceType;
  /** Undefined for cluster-wide resources and for all namespaces. */
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** By the old `/watch/` path. */
  readonly watch: boolean;
}

/** Decoded, without empty segments. Throws a 400 for what cannot be decoded. */
export function splitTarget(target: string): { segments: string[]; query: URLSearchParams } {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  try {
    const segments = path.split('/').filter((part) => part !== '');
    return { segments: segments.map((segment) => decodeURIComponent(segment)), query };
  } catch {
    throw badRequest('the path of the request holds a % that is no valid escape');
  }
}

/** Throws the real server's 404 for what does not exist. `segments` are decoded, without empty ones. */
export function parseResourcePath(segments: readonly string[]): ResourcePath {
  const core = segments[0] === 'api';
  const group = core ? '' : (segments[1] ?? '');
  const version = (core ? segments[1] : segments[2]) ?? '';
  let rest = segments.slice(core ? 2 : 3);
  const watch = rest[0] === 'watch';
  if (watch) rest = rest.slice(1);
  let namespace: string | undefined;
  const ownSubresource = rest.length === 3 && (rest[2] === 'status' || rest[2] === 'finalize');
  if (rest[0] === 'namespaces' && rest.length > 2 && !ownSubresource) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [plural = '', name, subresource, ...more] = rest;
  const type = findResource(group, version, plural);
  if (type === undefined || more.length > 0 || (namespace !== undefined && !type.namespaced)) throw noSuchPath();
  if (type.namespaced && namespace === undefined && name !== undefined) throw noSuchPath();
  if (subresource !== undefined && !type.subresources.some((known) => known.name === subresource)) throw noSuchPath();
  if (watch && subresource !== undefined) throw noSuchPath();
  return { type, namespace, name, subresource, watch };
}
