import type { Logger } from '../base/log.js';
import { sleepUntilWake } from '../base/wake.js';
import { Redial } from '../gateway/redial.js';
import { namesOfHolders } from '../gateway/stream-ledger.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { type AskedUpgrade, type Judged, judgeRefusal, type RefusedAnswer } from './judge-refusal.js';
import type { RelayTools } from './served-membership.js';
import type { Session } from './sessions.js';

/** What has ended here is in use at Google for a moment longer; whoever waits for other machines' streams waits in vain. */
const PATIENCE_MS = 5000;

export type JudgedRefusal = RefusedAnswer & { readonly judged: Judged };

/**
 * Asks for a stream, and again while Google says that all of the fleet's are in use, for a few seconds at most: the
 * ledger may have given away one that Google still counts. A refusal comes back judged; one for the streams says which
 * of them this machine has.
 */
export async function askForStream<T extends { readonly kind: string }>(
  tools: RelayTools,
  call: AskedUpgrade & { readonly session: Pick<Session, 'id'>; readonly log: Logger },
  o: {
    readonly api: ApiRequest;
    readonly signal: AbortSignal;
    readonly ask: () => Promise<T | (RefusedAnswer & { readonly judged?: Judged })>;
  },
): Promise<Exclude<T, RefusedAnswer> | JudgedRefusal> {
  const { clock, wakes, random, quota } = tools;
  const patienceMs = Math.min(quota.streams.queueMs, PATIENCE_MS);
  const redial = new Redial({ random });
  const began = clock.monotonic();
  for (;;) {
    const answer = await o.ask();
    if (!isRefused(answer)) return answer as Exclude<T, RefusedAnswer>;
    const judged = answer.judged ?? (await judgeRefusal(call, o.api, answer));
    const { verdict } = judged;
    if (verdict.kind === 'pass' || verdict.code !== 'stream-quota') return { ...answer, judged };
    const left = patienceMs - (clock.monotonic() - began);
    if (left <= 0) {
      const message = withHolders(verdict.message, tools, call);
      return { ...answer, judged: { ...judged, verdict: { ...verdict, message } } };
    }
    answer.body.destroy();
    if (redial.attempts === 0) call.log.info({}, 'Google counts all streams of the fleet as in use: asking again');
    await sleepUntilWake({ clock, wakes, ms: Math.min(left, redial.nextPauseMs()), signal: o.signal });
  }
}

function isRefused(answer: { readonly kind: string }): answer is RefusedAnswer & { readonly judged?: Judged } {
  return answer.kind === 'refused';
}

/** Google does not say who has them; this machine knows its own. */
function withHolders(
  message: string,
  { quota }: RelayTools,
  { served, session }: AskedUpgrade & { readonly session: Pick<Session, 'id'> },
): string {
  const { holders } = quota.streams.use(served.membership.project);
  const others = holders.filter(({ sessions }) => !sessions.includes(session.id));
  const { names, oldest } = namesOfHolders(others);
  const held =
    oldest === undefined
      ? 'none of them is held by this machine'
      : `this machine holds ${others.length} of them: ${names}; connect-gateway-proxy sessions kill ${oldest} ends the oldest`;
  return message.replace('. To be fixed by ', (rest) => `; ${held}${rest}`);
}
