import type { IncomingMessage } from 'node:http';
import { CodedError } from '../../base/errors.js';
import { Redial } from '../../gateway/redial.js';
import type { ApiRequest } from '../../kubernetes/api-request.js';
import { parseRemoteSession, type RemoteSession } from '../../kubernetes/remote-session.js';
import type { UpgradeCall } from '../relay-upgrade.js';
import { causeInWords } from '../remote-command/cause.js';
import type { RemoteCommandClient } from '../remote-command/client.js';
import { Recoverer } from '../remote-command/recover.js';
import { type Dialled, dialInTurn, dialRemoteCommand, offersForSpdy } from '../remote-command-upstream.js';
import type { RelayTools } from '../served-membership.js';
import { requestHeaders } from '../upstream-headers.js';
import { LATE_START_SECONDS } from './exchange.js';
import type { HeldSession } from './held-sessions.js';
import { holderWords } from './holder-frames.js';
import { type Meeting, meetHolder } from './meet-holder.js';
import { holdingTarget, joiningTarget } from './surviving-request.js';
import { SurvivingSession } from './surviving-session.js';

/** How long a command may take to be started, over cuts. */
const START_LIMIT_MS = 60_000;

/** What became of the wish to have a command held. */
export type SurvivingOutcome =
  | { readonly kind: 'carried' }
  /** Nothing has been started: as if this had never been asked for. */
  | { readonly kind: 'plain' }
  | { readonly kind: 'refused'; readonly response: IncomingMessage };

export interface SurvivingCall {
  readonly call: UpgradeCall;
  readonly api: ApiRequest;
  /** Answers the client 101; undefined once it has been told that it has none. */
  readonly accept: (upstreamProtocol: string) => Promise<RemoteCommandClient | undefined>;
  /** Aborts when the client is gone, or the daemon. */
  readonly signal: AbortSignal;
}

/**
 * Carries an exec whose command is held in its container, over as many connections as it takes. Rejects with a
 * CodedError where the command may have been started and cannot be reached.
 */
export async function relaySurvivingExec(tools: RelayTools, o: SurvivingCall): Promise<SurvivingOutcome> {
  const { call, api } = o;
  const { served } = call;
  const remote = parseRemoteSession(call.target);
  if (served.exec?.onCutoff !== 'survive' || remote.verb !== 'exec') return { kind: 'plain' };
  const container = `${served.membership.name} ${remote.podTarget} ${remote.container ?? ''}`;
  const target = holdingTarget(call.target);
  const reason = target === undefined ? 'too-long' : tools.plainContainers.recall(container);
  if (target === undefined || reason !== undefined) {
    call.log.debug({ reason }, 'the command is not held');
    return { kind: 'plain' };
  }
  const lingerSeconds = Math.ceil((served.exec.lingerMs ?? 0) / 1000);
  const held = tools.held.begin({
    id: call.id,
    membership: served.membership.name,
    target: targetWithoutCommand(remote),
    program: programOf(remote),
    lingerSeconds,
  });
  const started = await startHeld(tools, o, { remote, target, held, lingerSeconds });
  if (started.kind === 'refused') return started;
  if (started.kind === 'plain') {
    call.log.debug({ reason: started.reason }, 'the command is not held');
    if (started.lasts) tools.plainContainers.remember(container, started.reason);
    return { kind: 'plain' };
  }
  held.runs();
  call.log.debug({ program: started.hold.program }, 'the command is held');
  const { link } = started;
  let client: RemoteCommandClient | undefined;
  try {
    client = await o.accept(link.upstream.protocol);
  } finally {
    if (client === undefined) {
      held.forget();
      if (started.startMayBeLate) link.send(holderWords.refuse(LATE_START_SECONDS));
      link.leave(lingerSeconds);
    }
  }
  if (client === undefined) return { kind: 'carried' };
  const dial = joinDialer(tools, call, link.upstream.protocol);
  const { hold, startMayBeLate } = started;
  const parts = {
    tools,
    call,
    api,
    remote,
    client,
    link,
    hold,
    held,
    dial,
    lingerSeconds,
    joins: false,
    startMayBeLate,
  };
  await new SurvivingSession(parts).over;
  return { kind: 'carried' };
}

/** Dials for the exec calls that join; the client may be gone by then. */
export function joinDialer(
  tools: RelayTools,
  call: UpgradeCall,
  protocol: string,
): (signal: AbortSignal) => Promise<Dialled> {
  const { served, session } = call;
  const target = joiningTarget(call.target);
  const upstream = { served, target, headers: call.request.rawHeaders, session, resuming: true };
  return (signal) => dialRemoteCommand(tools, upstream, [protocol], signal);
}

type Started =
  | (Extract<Meeting, { kind: 'hold' }> & { readonly startMayBeLate: boolean })
  | Extract<SurvivingOutcome, { kind: 'refused' }>
  | { readonly kind: 'plain'; readonly reason: string; readonly lasts: boolean };

/** Over cuts as well: another call of the same name joins what the first has started, if it has. */
async function startHeld(
  tools: RelayTools,
  { call, api, signal }: SurvivingCall,
  o: { remote: RemoteSession; target: string; held: HeldSession; lingerSeconds: number },
): Promise<Started> {
  const { served, session, log } = call;
  const { clock } = tools;
  const { remote, lingerSeconds } = o;
  const began = clock.monotonic();
  const upstreamCall = { served, target: o.target, headers: call.request.rawHeaders, session };
  const dial = (offered: readonly string[], over: AbortSignal): Promise<Dialled> =>
    dialRemoteCommand(tools, upstreamCall, offered, over);
  const dialled = await dialInTurn((offered) => dial(offered, signal), offersForSpdy());
  if (dialled.kind === 'refused') return dialled;
  const offered = [dialled.upstream.protocol];
  const redial = new Redial({ random: tools.random });
  const recoverer = new Recoverer({ now: clock.now(), monotonic: began });
  const late = new AbortController();
  const cancel = clock.after(START_LIMIT_MS, () => late.abort(notStarted('the gateway has cut every connection')));
  const patience = AbortSignal.any([signal, late.signal]);
  try {
    let { upstream } = dialled;
    for (let begun = false, startMayBeLate = false; ; startMayBeLate = true) {
      const opening = o.held.opening({ verb: 'start', received: { out: 0, err: 0 } });
      const meeting = await meetHolder({ upstream, opening, clock, signal: patience, lingerSeconds });
      if (meeting.kind === 'hold') return { ...meeting, startMayBeLate };
      // A command that is not there says nothing about the container.
      if (meeting.kind === 'plain') return { ...meeting, lasts: !meeting.reason.startsWith('exec-') };
      begun ||= 'begun' in meeting && meeting.begun;
      const status = meeting.kind === 'ended' ? meeting.end.status : undefined;
      // Our own program has ended without a word: there is no shell, or none that could do it.
      if (!begun && status !== undefined && causeInWords(status, served, clock.monotonic() - began) === undefined) {
        return { kind: 'plain', reason: 'no-shell', lasts: /exec|NonZeroExitCode/.test(status) };
      }
      log.info({ begun }, 'cut while the command was being started');
      const recovery = await recoverer.recover({
        ...{ tools, served, api, remote, log, redial },
        headers: requestHeaders(call.request.rawHeaders),
        dial: (over) => dial(offered, over),
        cutAt: clock.monotonic(),
        signal: patience,
      });
      if (recovery.kind === 'failed') throw recovery.cause ?? notStarted(recovery.message);
      if (recovery.kind === 'ended') throw notStarted('its container has ended');
      upstream = recovery.upstream;
    }
  } finally {
    cancel();
  }
}

function notStarted(why: string): CodedError {
  return new CodedError({
    code: 'held-exec-not-started',
    message: `connect-gateway-proxy: the command could not be started in its container, or not be joined there: ${why}; it was not run a second time`,
    retry: 'later',
    answer: { status: 504, reason: 'Timeout' },
  });
}

function targetWithoutCommand(remote: RemoteSession): string {
  const { podTarget, container } = remote;
  const flags = (['stdin', 'stdout', 'stderr', 'tty'] as const).filter((flag) => remote[flag]);
  const query = new URLSearchParams([
    ...(container === undefined ? [] : [['container', container]]),
    ...flags.map((flag) => [flag, 'true']),
  ] as [string, string][]);
  return `${podTarget}/exec?${query}`;
}

function programOf({ command }: RemoteSession): string {
  const [program = ''] = command;
  return program.slice(program.lastIndexOf('/') + 1).slice(0, 40);
}
