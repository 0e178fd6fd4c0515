import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import { iamMember, namedAccount } from '../credentials/principal.js';
import type { TokenSource } from '../credentials/token-source.js';
import type { Membership } from '../fleet/membership.js';
import type { FailureAnswer, MembershipFacts, Verdict } from '../gateway/failure.js';
import { JUDGED_BODY_BYTES, judge } from '../gateway/failure.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import type { OwnAnswer } from './failure-answer.js';
import { ownAnswer } from './failure-answer.js';

/** Collects the beginning of a failure's body until there is enough to judge it. */
export class FailureBody {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  /** True once enough is at hand. */
  add(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    return this.#bytes >= JUDGED_BODY_BYTES;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/** Whose an upstream answer is, and what the client gets instead where it is Google's. */
export function judgeFailure(options: {
  status: number;
  headers: FlatHeaders;
  body: Buffer;
  request: ApiRequest;
  /** The alias, for messages. */
  membership: string;
  /** Makes the commands in messages exact. */
  about?: DescribedMembership;
  /** The membership's: whose they are, and how they are renewed, stands in those commands. */
  tokens?: DescribedTokens;
  /** The protocol that was asked for, where the request was an upgrade. */
  upgrade?: string;
}): Verdict {
  const { status, headers, request, membership, about, tokens, upgrade } = options;
  const body = decoded(options.body, headerValue(headers, 'content-encoding'));
  // What cannot be read cannot be Google's, whose errors are not encoded in any unusual way.
  if (body === undefined) return { kind: 'pass' };
  return judge({
    status,
    contentType: headerValue(headers, 'content-type') ?? '',
    body,
    fromWorkload: request.kind === 'proxy',
    membership,
    ...(about === undefined ? {} : { about: factsOf(about, tokens) }),
    ...(upgrade === undefined ? {} : { upgrade: upgrade.toLowerCase() }),
  });
}

export type DescribedMembership = Pick<Membership, 'id' | 'location' | 'project' | 'projectId'> & {
  readonly kind: string;
};

export type DescribedTokens = Pick<TokenSource, 'description' | 'renewal'>;

export function factsOf(
  { id, location, projectId, project, kind }: DescribedMembership,
  tokens?: DescribedTokens,
): MembershipFacts {
  const facts = { id, location, project: projectId ?? project, kind };
  if (tokens === undefined) return facts;
  const user = namedAccount(tokens.description);
  const member = user === undefined ? undefined : iamMember(user);
  return {
    ...facts,
    renewal: tokens.renewal,
    ...(user === undefined ? {} : { user }),
    ...(member === undefined ? {} : { member }),
  };
}

export function answerOfVerdict(verdict: FailureAnswer, request: ApiRequest): OwnAnswer {
  return ownAnswer(statusOfError(errorOfVerdict(verdict)), request);
}

/** A verdict as an error, for callers that have no client to answer at once. */
export function errorOfVerdict({ code, message, retry, status, reason, retryAfterSeconds }: FailureAnswer): CodedError {
  const wait = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  return new CodedError({ code, message, retry, answer: { status, reason, ...wait } });
}

/** Undefined for a body that cannot be decoded. */
function decoded(body: Buffer, encoding: string | undefined): string | undefined {
  const limit = { maxOutputLength: 4 * JUDGED_BODY_BYTES };
  try {
    if (encoding === undefined || encoding === 'identity') return body.toString('utf8');
    if (encoding === 'gzip' || encoding === 'x-gzip') return gunzipSync(body, limit).toString('utf8');
    if (encoding === 'deflate') return inflateSync(body, limit).toString('utf8');
    if (encoding === 'br') return brotliDecompressSync(body, limit).toString('utf8');
  } catch {
    return undefined;
  }
  return undefined;
}
