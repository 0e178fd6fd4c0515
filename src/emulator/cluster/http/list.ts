import { ApiError, badRequest, expired } from '../api-error.js';
import type { Dict, KubeObject } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import type { Matcher } from '../selectors.js';
import { parseFieldSelector, parseLabelSelector } from '../selectors.js';
import type { Store } from '../store.js';
import { keyOfObject } from '../store.js';
import type { ResourcePath } from './api-path.js';
import type { ListOptions } from './options.js';
import { readListOptions } from './options.js';

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
  const options = readListOptions(query, false);
  const matches = matcherOf(type, query);
  const from = options.continueToken === '' ? undefined : readToken(options.continueToken);
  const revision = from?.revision ?? revisionFor(store, options);
  if (revision < store.compactedRevision) throw expired(from === undefined ? LIST_TOO_OLD : CONTINUE_TOO_OLD);
  const all = store
    .listAt(type.storedAs ?? type.id, namespace, revision)
    .filter((object) => (from === undefined || keyOfObject(object) > from.after) && matches(object));
  const resourceVersion = String(revision);
  // What may be of any age comes from the real server's cache, which knows no pages.
  const limit = options.resourceVersion === 0 && from === undefined ? 0 : options.limit;
  if (limit === 0 || all.length <= limit) return { objects: all, metadata: { resourceVersion } };
  const objects = all.slice(0, limit);
  const last = objects.at(-1);
  const next = last === undefined ? '' : writeToken({ revision, after: keyOfObject(last) });
  const remaining = options.selective ? {} : { remainingItemCount: all.length - limit };
  return { objects, metadata: { resourceVersion, continue: next, ...remaining } };
}

const LIST_TOO_OLD = 'The resourceVersion for the provided list is too old.';
const CONTINUE_TOO_OLD =
  'The provided continue parameter is too old to display a consistent list result. ' +
  'You must start a new list without the continue parameter.';

function revisionFor(store: Store, options: ListOptions): number {
  const { resourceVersion, exact, notOlderThan, limit } = options;
  if (resourceVersion === undefined || resourceVersion === 0) return store.revision;
  assertReached(store, resourceVersion);
  // Without a match, a page is of exactly that revision, a whole list only not older: a rule of early Kubernetes.
  return exact || (!notOlderThan && limit > 0) ? resourceVersion : store.revision;
}

/** The real server waits 3 s for such a revision first. */
export function assertReached(store: Store, revision: number): void {
  if (revision <= store.revision) return;
  throw new ApiError(504, 'Timeout', `Too large resource version: ${revision}, current: ${store.revision}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
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
  throw badRequest('continue key is not valid: it was made by another server or is damaged');
}
