import { isTrue } from '../../../kubernetes/query-boolean.js';
import type { FieldError } from '../api-error.js';
import { badRequest, invalid } from '../api-error.js';

/** A whole number of the query, refused in the words of Go's strconv. Undefined when it is absent or empty. */
export function integerOf(query: URLSearchParams, name: string): number | undefined {
  const asked = query.get(name) ?? '';
  if (asked === '') return undefined;
  const value = Number(asked);
  if (!/^[-+]?\d+$/.test(asked)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(asked)}: invalid syntax`);
  if (!Number.isSafeInteger(value)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(asked)}: value out of range`);
  }
  return value;
}

export interface ListOptions {
  /** 0 is no limit. */
  readonly limit: number;
  readonly continueToken: string;
  /** Undefined: the newest. 0: any. */
  readonly resourceVersion: number | undefined;
  readonly exact: boolean;
  readonly notOlderThan: boolean;
  readonly sendInitialEvents: boolean | undefined;
  readonly bookmarks: boolean;
  /** Undefined where the server chooses. */
  readonly timeoutSeconds: number | undefined;
  readonly selective: boolean;
}

const MATCHES = ['Exact', 'NotOlderThan'];

/** The query of a list or watch, refused by the API server's own rules of what goes with what. */
export function readListOptions(query: URLSearchParams, watch: boolean): ListOptions {
  const match = query.get('resourceVersionMatch') ?? '';
  const initial = query.get('sendInitialEvents');
  const asked = query.get('resourceVersion') ?? '';
  const continueToken = query.get('continue') ?? '';
  const errors = watch
    ? watchErrors({ match, initial, continueToken })
    : listErrors({ match, initial, continueToken, asked });
  if (errors.length > 0) throw invalidOptions('ListOptions', errors);
  if (!watch && continueToken !== '' && asked !== '' && asked !== '0') {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  const timeoutSeconds = integerOf(query, 'timeoutSeconds');
  return {
    limit: Math.max(integerOf(query, 'limit') ?? 0, 0),
    continueToken,
    resourceVersion: readRevision(asked),
    exact: match === 'Exact',
    notOlderThan: match === 'NotOlderThan',
    sendInitialEvents: initial === null ? undefined : isTrue(initial),
    bookmarks: isTrue(query.get('allowWatchBookmarks')),
    timeoutSeconds: timeoutSeconds !== undefined && timeoutSeconds > 0 ? timeoutSeconds : undefined,
    selective: (query.get('labelSelector') ?? '') !== '' || (query.get('fieldSelector') ?? '') !== '',
  };
}

function readRevision(asked: string): number | undefined {
  if (asked === '') return undefined;
  const revision = Number(asked);
  if (/^\d+$/.test(asked) && Number.isSafeInteger(revision)) return revision;
  const quoted = JSON.stringify(asked);
  const why = `strconv.ParseUint: parsing ${quoted}: invalid syntax`;
  throw badRequest(`resourceVersion: Invalid value: ${quoted}: ${why}`);
}

function listErrors(given: {
  match: string;
  initial: string | null;
  continueToken: string;
  asked: string;
}): FieldError[] {
  const { match, initial, continueToken, asked } = given;
  const errors: FieldError[] = [];
  if (match !== '') {
    if (asked === '') errors.push(forbidden('resourceVersionMatch is forbidden unless resourceVersion is provided'));
    if (continueToken !== '') errors.push(forbidden('resourceVersionMatch is forbidden when continue is provided'));
    if (!MATCHES.includes(match)) errors.push(unsupported('resourceVersionMatch', match, MATCHES));
    if (match === 'Exact' && asked === '0') {
      errors.push(forbidden('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'));
    }
  }
  if (initial !== null) errors.push(forbidden('sendInitialEvents is forbidden for list', 'sendInitialEvents'));
  return errors;
}

function watchErrors(given: { match: string; initial: string | null; continueToken: string }): FieldError[] {
  const { match, initial, continueToken } = given;
  const errors: FieldError[] = [];
  if (initial !== null && match !== 'NotOlderThan') {
    errors.push(forbidden('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'));
  }
  if (match === '') return errors;
  if (initial === null) {
    errors.push(forbidden('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'));
  }
  if (match !== 'NotOlderThan') errors.push(unsupported('resourceVersionMatch', match, ['NotOlderThan']));
  if (continueToken !== '') errors.push(forbidden('resourceVersionMatch is forbidden when continue is provided'));
  return errors;
}

function forbidden(why: string, field = 'resourceVersionMatch'): FieldError {
  return { reason: 'FieldValueForbidden', field, message: `Forbidden: ${why}` };
}

export function unsupported(field: string, given: string, supported: readonly string[]): FieldError {
  const values = supported.map((value) => JSON.stringify(value)).join(', ');
  const message = `Unsupported value: ${JSON.stringify(given)}: supported values: ${values}`;
  return { reason: 'FieldValueNotSupported', field, message };
}

/** The 422 of options that contradict each other; `kind` is e.g. `ListOptions`. */
export function invalidOptions(kind: string, errors: readonly FieldError[]): Error {
  return invalid({ group: 'meta.k8s.io', kind, plural: kind }, '', errors);
}
