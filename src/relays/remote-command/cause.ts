import { CodedError } from '../../base/errors.js';
import type { FlatHeaders } from '../../base/flat-headers.js';
import { judgeStreamText } from '../../gateway/failure.js';
import type { RemoteStatus } from '../../kubernetes/remote-command.js';
import type { RemoteSession } from '../../kubernetes/remote-session.js';
import { lostSessionStatus } from '../../kubernetes/remote-session.js';
import { askCluster } from '../ask-cluster.js';
import { errorOfVerdict, factsOf } from '../failure-body.js';
import type { RelayTools, ServedMembership } from '../served-membership.js';

/** Somebody waits for the end of their command: the cause is worth this much of their time. */
const ASK_DEADLINE_MS = 3000;

/** Google's own words, in the reason of a close or on the error channel, as what they mean; undefined for any others. */
export function causeInWords(text: string, served: ServedMembership, ageMs: number): CodedError | undefined {
  const { membership, tokens } = served;
  const verdict = judgeStreamText(text, { membership: membership.alias, about: factsOf(membership, tokens), ageMs });
  return verdict === undefined ? undefined : errorOfVerdict(verdict);
}

/** Asks the API why a session was cut that is not to go on. Undefined where the cluster answers, or nobody does in time. */
export async function askForCause(o: {
  readonly tools: RelayTools;
  readonly served: ServedMembership;
  readonly remote: RemoteSession;
  /** Of the client's request, without a credential. */
  readonly headers: FlatHeaders;
  readonly signal: AbortSignal;
}): Promise<CodedError | undefined> {
  const late = new AbortController();
  const cancel = o.tools.clock.after(ASK_DEADLINE_MS, () =>
    late.abort(new Error('the cause could not be had in time')),
  );
  try {
    await askCluster({ ...o, clientGone: AbortSignal.any([o.signal, late.signal]) }, o.remote.podTarget);
    return undefined;
  } catch (error) {
    return error instanceof CodedError ? error : undefined;
  } finally {
    cancel();
  }
}

/** What the client is told of a session that is over: with the cause's code and reason where there is one. */
export function statusOfCut(message: string, cause: CodedError | undefined): RemoteStatus {
  const status = lostSessionStatus(message);
  if (cause === undefined) return status;
  const causes = [{ reason: cause.code, message: cause.message }];
  return { ...status, reason: cause.answer.reason, code: cause.answer.status, details: { causes } };
}

/** A verdict's message within another of ours. */
export function withinMessage(text: string): string {
  return text.replace(/^connect-gateway-proxy: /, '');
}
