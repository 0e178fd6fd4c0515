import { ApiError, badRequest, expired } from '../api-error.js';
import type { Dict, KubeObject } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import type { Matcher } from '../selectors.js';
import { parseFieldSelector, parseLabelSelector } from '../selectors.js';
import type { Store } from '../store.js';
import { keyOfObject } from '../store.js';
import type { ResourcePath } from './api-path.js';

export function matcherOf(type: ResourceType, query: URLSearchParams): Matcher {
  const byLabels = parseLabelSelector(query.get('labelSelector') ?? '');
  const byFields = parseFieldSelector(query.get('fieldSelector') ?? '', type.fieldSelectors);
  return (object) => byLabels(object) && byFields(object);
}

/** One page of a list, by the rules of limit, continue, resourceVersion and resourceVersionMatch. */
export function listObjects(
  store: Store,
  path: Pick<ResourcePath, 'type' | 'namespace'>,
  query: URLSearchParams,
): { objects: readonly KubeObject[]; metadata: Dict } {
  const { type, namespace } = path;
  const matches = matcherOf(type, query);
  const limit = Number(query.get('limit') ?? 0);
  const token = query.get('continue') ?? '';
  const from = token === '' ? undefined : readToken(token);
  const revision = from?.revision ?? revisionFor(store, query);
  if (revision < store.compactedRevision) {
    throw expired('The provided continue parameter is too old to display a consistent list result.');
  }
  const all = store
    .listAt(type.storedAs ?? type.id, namespace, revision)
    .filter((object) => from === undefined || keyOfObject(object) > from.after)
    .filter(matches);
  const resourceVersion = String(revision);
  if (limit <= 0 || all.length <= limit) return { objects: all, metadata: { resourceVersion } };
  const objects = all.slice(0, limit);
  const last = objects.at(-1);
  const next = last === undefined ? '' : writeToken({ revision, after: keyOfObject(last) });
  return { objects, metadata: { resourceVersion, continue: next, remainingItemCount: all.length - limit } };
}

function revisionFor(store: Store, query: URLSearchParams): number {
  const asked = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  if (asked === '' || asked === '0') return store.revision;
  const revision = Number(asked);
  if (!Number.isSafeInteger(revision) || revision < 0) {
    throw badRequest(`Invalid value: "${asked}": resourceVersion must be a number`);
  }
  if (revision > store.revision) {
    throw new ApiError(504, 'Timeout', `Too large resource version: ${revision}, current: ${store.revision}`, {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    });
  }
  return match === 'Exact' ? revision : store.revision;
}

interface ContinueToken {
  readonly revision: number;
  readonly after: string;
}

function writeToken(token: ContinueToken): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function readToken(text: string): ContinueToken {
  try {
    const { revision, after } = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Partial<ContinueToken>;
    if (typeof revision === 'number' && typeof after === 'string') return { revision, after };
  } catch {
    // Told below, as for any other token that is not ours.
  }
  throw badRequest('continue key is not valid');
}
