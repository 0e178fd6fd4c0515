import type { RetryClass } from '../base/errors.js';
import type { GoogleError, MembershipFacts, UpstreamFailure } from './failure-forms.js';
import { readGoogleError, readGoogleText } from './failure-forms.js';
import type { FailurePlace, FailureRow } from './failure-table.js';
import { FAILURE_TABLE } from './failure-table.js';

export type { MembershipFacts, UpstreamFailure } from './failure-forms.js';

/**
 * What an upstream answer means. `pass`: it is the cluster's own (a Kubernetes `Status`, or anything a workload behind
 * a proxy subresource says) and goes to the client byte for byte. `answer`: it is Google's, and the client gets this instead.
 */
export type Verdict = { readonly kind: 'pass' } | FailureAnswer;

export interface FailureAnswer {
  readonly kind: 'answer';
  /** Stable, in kebab case. */
  readonly code: string;
  readonly status: number;
  readonly reason: string;
  /** What happened, in Google's words too; who must act; the next command. */
  readonly message: string;
  readonly retry: RetryClass;
  readonly retryAfterSeconds?: number;
}

const PASS: Verdict = { kind: 'pass' };

/** Bytes of a failure's body that are enough to judge it: Google's error pages are below 4 kB, a Status seldom above 16 kB. */
export const JUDGED_BODY_BYTES = 64 * 1024;

/** True where the body need not be looked at: a success, or a form that only the cluster itself uses. */
export function passesUnread(status: number): boolean {
  return status < 400;
}

export function judge(failure: UpstreamFailure): Verdict {
  const error = readGoogleError(failure);
  if (error === undefined) return PASS;
  const { membership, about = unknownMembership(membership), upgrade } = failure;
  const place = { membership, about, ...(upgrade === undefined ? {} : { upgrade }) };
  const row = rowFor(error, place);
  if (error.doubtful === true && row.certain !== true && row.wordsSuffice !== true) return PASS;
  // A workload may speak as Google does; only what names the gateway, or is Google's own page, cannot be its.
  if (failure.fromWorkload && error.form !== 'page' && row.certain !== true && !error.namesGateway) return PASS;
  return answerOf(row, error, place);
}

/**
 * What words of Google's mean that came over an accepted stream of this age: the reason of a close, or a message on an
 * error channel. Undefined for anything that is not Google's.
 */
export function judgeStreamText(
  text: string,
  stream: { membership: string; about?: MembershipFacts; ageMs: number },
): FailureAnswer | undefined {
  const error = readGoogleText(text);
  if (error === undefined) return undefined;
  const { membership, about = unknownMembership(membership), ageMs } = stream;
  const place = { membership, about, ageMs };
  return answerOf(rowFor(error, place), error, place);
}

function rowFor(error: GoogleError, place: FailurePlace): FailureRow {
  const row = FAILURE_TABLE.find((candidate) => candidate.matches(error, place));
  if (row === undefined) throw new Error('the last row of the failure table matches everything');
  return row;
}

function answerOf(row: FailureRow, error: GoogleError, at: FailurePlace): FailureAnswer {
  const { status, reason, retryAfterSeconds } = row;
  // Only what can stand in a command as it is.
  const impersonated = /^(?:users|groups) "([\w.@+:/-]+)" is forbidden/.exec(error.text)?.[1];
  const place = impersonated === undefined ? at : { ...at, impersonated };
  return {
    kind: 'answer',
    code: row.code,
    status: typeof status === 'number' ? status : status(error),
    reason: typeof reason === 'string' ? reason : reason(error),
    message: `connect-gateway-proxy: ${row.what(place)} (Google says: ${error.text}). To be fixed by ${row.who}: ${row.fix(place)}`,
    retry: row.retry,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

function unknownMembership(membership: string): MembershipFacts {
  return { id: membership, location: '-', project: 'PROJECT', kind: '' };
}
