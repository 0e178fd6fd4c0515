import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import type { FailureAnswer, Verdict } from '../gateway/failure.js';
import { JUDGED_BODY_BYTES, judge } from '../gateway/failure.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { failureStatus } from '../kubernetes/status.js';
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

export function judgeFailure(options: {
  status: number;
  headers: FlatHeaders;
  body: Buffer;
  request: ApiRequest;
  membership: string;
}): Verdict {
  return judge({
    status: options.status,
    contentType: headerValue(options.headers, 'content-type') ?? '',
    body: decoded(options.body, headerValue(options.headers, 'content-encoding')),
    fromWorkload: options.request.kind === 'proxy',
    membership: options.membership,
  });
}

export function answerOfVerdict(verdict: FailureAnswer, request: ApiRequest): OwnAnswer {
  const status = failureStatus({
    code: verdict.status,
    reason: verdict.reason,
    message: verdict.message,
    details: { causes: [{ reason: verdict.code, message: verdict.message }] },
  });
  return ownAnswer(status, request);
}

/** A body that cannot be decoded is judged as empty: then it passes to the client as it is. */
function decoded(body: Buffer, encoding: string | undefined): string {
  const limit = { maxOutputLength: 4 * JUDGED_BODY_BYTES };
  try {
    if (encoding === undefined || encoding === 'identity') return body.toString('utf8');
    if (encoding === 'gzip' || encoding === 'x-gzip') return gunzipSync(body, limit).toString('utf8');
    if (encoding === 'deflate') return inflateSync(body, limit).toString('utf8');
    if (encoding === 'br') return brotliDecompressSync(body, limit).toString('utf8');
  } catch {
    return '';
  }
  return '';
}
