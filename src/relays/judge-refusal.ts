import type { IncomingMessage } from 'node:http';
import { headerValue } from '../base/flat-headers.js';
import type { UpgradeAnswer } from '../gateway/upgrade-upstream.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { FailureBody, judgeFailure } from './failure-body.js';
import type { ServedMembership } from './served-membership.js';

/** The upgrade of a client, as far as messages about it tell. */
export interface AskedUpgrade {
  readonly served: ServedMembership;
  readonly request: Pick<IncomingMessage, 'rawHeaders'>;
}

export type RefusedAnswer = Extract<UpgradeAnswer, { kind: 'refused' }>;

export function refusedAnswer(response: IncomingMessage): RefusedAnswer {
  const { statusCode: status = 502, rawHeaders: headers } = response;
  return { kind: 'refused', status, headers, body: response };
}

/** What a refusal means, and as much of its body as it took to know. */
export interface Judged {
  readonly verdict: ReturnType<typeof judgeFailure>;
  readonly status: number;
  readonly body: Uint8Array;
  /** That is all of it. */
  readonly whole: boolean;
}

/** Reads as much of the answer as it takes; the rest is still to be read. */
export async function judgeRefusal(call: AskedUpgrade, api: ApiRequest, refusal: RefusedAnswer): Promise<Judged> {
  const collected = new FailureBody();
  let whole = true;
  try {
    for await (const chunk of refusal.body.iterator({ destroyOnReturn: false })) {
      whole = !collected.add(chunk as Buffer);
      if (!whole) break;
    }
  } catch {
    // What came of the body is enough: the status says that the upgrade is refused.
  }
  const body = collected.bytes();
  const { membership, tokens } = call.served;
  // Below 400 an answer that is not 101 makes no sense to a client that asked for a stream of a pod.
  const status = refusal.status < 400 ? 502 : refusal.status;
  const verdict = judgeFailure({
    status,
    headers: refusal.headers,
    body,
    request: api,
    membership: membership.alias,
    about: membership,
    tokens,
    upgrade: upgradeAsked(call, api),
  });
  return { verdict, status, body, whole };
}

/** What upstream was asked to upgrade to: the streams of pods are spoken over WebSocket there, whatever the client speaks. */
function upgradeAsked({ request }: AskedUpgrade, { kind }: ApiRequest): string {
  if (kind === 'exec' || kind === 'attach' || kind === 'port-forward') return 'websocket';
  return headerValue(request.rawHeaders, 'upgrade') ?? '';
}
