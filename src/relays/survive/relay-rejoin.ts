import { CodedError, describeError } from '../../base/errors.js';
import { parseApiRequest } from '../../kubernetes/api-request.js';
import { parseRemoteSession } from '../../kubernetes/remote-session.js';
import { statusOfError } from '../../kubernetes/status.js';
import { ownAnswer, refusalOf } from '../failure-answer.js';
import { refusedAnswer } from '../judge-refusal.js';
import { readRefusal } from '../read-refusal.js';
import { failUpgrade, refuse, relayRefusal, type UpgradeCall } from '../relay-upgrade.js';
import { acceptWebSocket } from '../remote-command/accept-web-socket.js';
import { WebSocketCommandClient } from '../remote-command/client.js';
import {
  type Dialled,
  dialInTurn,
  dialRemoteCommand,
  offersForSpdy,
  type RemoteCommandCall,
} from '../remote-command-upstream.js';
import type { RelayTools, ServedMembership } from '../served-membership.js';
import type { HeldRecord } from './held-sessions.js';
import { type Meeting, meetHolder } from './meet-holder.js';
import { joinDialer } from './relay-surviving-exec.js';
import { joiningTarget } from './surviving-request.js';
import { SurvivingSession } from './surviving-session.js';

/** The subprotocol of whoever rejoins: our own command. */
const PROTOCOL = 'v5.channel.k8s.io';
/** A list of sessions is waited for; whoever does not answer is shown as it was last seen. */
const LOOK_DEADLINE_MS = 4000;
const UNKNOWN = { out: -1, err: -1 } as const;

/** Gives a command that waits in its container to a new client, over WebSocket. `call.target` is the record's. */
export async function relayRejoin(tools: RelayTools, call: UpgradeCall, record: HeldRecord): Promise<void> {
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  const signal = AbortSignal.any([call.signal, clientGone.signal]);
  try {
    const held = tools.held.again(record);
    const dialled = await dialJoin(tools, call, signal);
    if (dialled.kind === 'refused') {
      await relayRefusal(call, api, refusedAnswer(dialled.response));
      return;
    }
    const { upstream } = dialled;
    const opening = held.opening({ verb: 'join', received: UNKNOWN });
    const meeting = await meetHolder({ upstream, opening, clock: tools.clock, signal });
    if (meeting.kind !== 'hold') {
      if (meeting.kind === 'gone') tools.held.seen(record, undefined);
      refuse(call, refusalOf(ownAnswer(statusOfError(notJoined(record, meeting)), api), call.id));
      return;
    }
    held.runs();
    const { link, hold } = meeting;
    const client = new WebSocketCommandClient({ socket: acceptWebSocket(call, PROTOCOL), clock: tools.clock });
    const dial = joinDialer(tools, call, upstream.protocol);
    const lingerSeconds = Math.ceil((call.served.exec?.lingerMs ?? 0) / 1000);
    const remote = { ...parseRemoteSession(call.target), command: [record.program] };
    const parts = { tools, call, api, remote, client, link, hold, held, dial, lingerSeconds, joins: true };
    await new SurvivingSession(parts).over;
  } catch (error) {
    if (!clientGone.signal.aborted) failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

function dialJoin(
  tools: RelayTools,
  call: Pick<RemoteCommandCall, 'served' | 'session' | 'target'>,
  signal: AbortSignal,
): Promise<Dialled> {
  const { served, session } = call;
  const upstream = { served, session, target: joiningTarget(call.target), headers: [], resuming: true };
  return dialInTurn((offered) => dialRemoteCommand(tools, upstream, offered, signal), offersForSpdy());
}

function notJoined({ id }: HeldRecord, meeting: Exclude<Meeting, { kind: 'hold' }>): CodedError {
  const gone = meeting.kind === 'gone';
  return new CodedError({
    code: gone ? 'held-session-gone' : 'held-session-unreachable',
    message: gone
      ? `connect-gateway-proxy: session ${id} does not run any more: it was ended, or had waited for too long`
      : `connect-gateway-proxy: session ${id} could not be joined (${meeting.kind}); try again`,
    ...(gone ? {} : { retry: 'later' }),
    answer: gone ? { status: 410, reason: 'Gone' } : { status: 503, reason: 'ServiceUnavailable' },
  });
}

/** Asks the containers of commands that wait whether they are still there; what cannot be asked in time stays as it is. */
export async function lookAtHeld(
  tools: RelayTools,
  servedOf: (membership: string) => ServedMembership | undefined,
): Promise<void> {
  const { clock } = tools;
  const late = new AbortController();
  const cancel = clock.after(LOOK_DEADLINE_MS, () => late.abort(new Error('no answer in time')));
  const look = async (record: HeldRecord): Promise<void> => {
    const served = servedOf(record.membership);
    if (served === undefined) return;
    const session = { id: record.id, kind: 'exec', target: record.program } as const;
    const dialled = await dialJoin(tools, { served, session, target: record.target }, late.signal);
    if (dialled.kind === 'refused') {
      const about = { clock, served, api: parseApiRequest(record.target) };
      const { kind } = await readRefusal(about, dialled.response);
      if (kind === 'gone') tools.held.seen(record, undefined);
      return;
    }
    const opening = tools.held.again(record).opening({ verb: 'look', received: UNKNOWN });
    const meeting = await meetHolder({ upstream: dialled.upstream, opening, clock, signal: late.signal });
    if (meeting.kind === 'gone') tools.held.seen(record, undefined);
    if (meeting.kind === 'look') tools.held.seen(record, meeting.seconds);
  };
  // What cannot be asked is told as it was last known.
  await Promise.all(tools.held.toLookAt().map((record) => look(record).catch(describeError)));
  cancel();
}
