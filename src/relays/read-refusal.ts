import type { IncomingMessage } from 'node:http';
import type { Clock } from '../base/clock.js';
import type { CodedError } from '../base/errors.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { errorOfVerdict, FailureBody, judgeFailure } from './failure-body.js';
import type { ServedMembership } from './served-membership.js';

const BODY_DEADLINE_MS = 10_000;

/** Why an upgrade was refused, for a session that was open before and has no one to pass the answer to. */
export interface ReadRefusal {
  /**
   * `gone` and `forbidden` are the cluster's own words about the object; `passing` may pass, as the gateway's troubles
   * do; `final` will not.
   */
  readonly kind: 'gone' | 'forbidden' | 'passing' | 'final';
  readonly message: string;
  /** Where it is Google's. */
  readonly cause?: CodedError;
}

/** Reads the beginning of the answer and leaves the rest. Never rejects. */
export async function readRefusal(
  about: { readonly clock: Clock; readonly served: ServedMembership; readonly api: ApiRequest },
  response: IncomingMessage,
): Promise<ReadRefusal> {
  const collected = new FailureBody();
  const cancel = about.clock.after(BODY_DEADLINE_MS, () => response.destroy());
  try {
    for await (const chunk of response) if (collected.add(chunk as Buffer)) break;
  } catch {
    // What came of it is enough.
  } finally {
    cancel();
    response.destroy();
  }
  const status = response.statusCode ?? 502;
  const body = collected.bytes();
  const { membership } = about.served;
  const verdict = judgeFailure({
    status,
    headers: response.rawHeaders,
    body,
    request: about.api,
    membership: membership.alias,
    about: membership,
    tokens: about.served.tokens,
    upgrade: 'websocket',
  });
  if (verdict.kind === 'answer') {
    const kind = verdict.retry === 'never' ? 'final' : 'passing';
    return { kind, message: verdict.message, cause: errorOfVerdict(verdict) };
  }
  const message = messageOf(body) ?? `HTTP ${status}`;
  if (status === 404) return { kind: 'gone', message };
  if (status === 403) return { kind: 'forbidden', message };
  const passing = status < 400 || status === 401 || status === 429 || status >= 500;
  return { kind: passing ? 'passing' : 'final', message };
}

function messageOf(body: Buffer): string | undefined {
  try {
    const { message } = JSON.parse(body.toString('utf8')) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    // Not a Status.
    return undefined;
  }
}
