import type { WebSocket } from 'ws';
import { describeError } from '../base/errors.js';
import { headerTokens } from '../base/flat-headers.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import type { RemoteProtocol } from '../kubernetes/remote-command.js';
import { CHANNEL, channelMessage, chooseRemoteProtocol, formatRemoteStatus } from '../kubernetes/remote-command.js';
import { lostSessionStatus, parseRemoteSession } from '../kubernetes/remote-session.js';
import { statusOfError } from '../kubernetes/status.js';
import { askForStream } from './ask-for-stream.js';
import { ownAnswer, refusalOf } from './failure-answer.js';
import { type RefusedAnswer, refusedAnswer } from './judge-refusal.js';
import { failUpgrade, refuse, relayRefusal, relayUpgrade, type UpgradeCall } from './relay-upgrade.js';
import { acceptWebSocket } from './remote-command/accept-web-socket.js';
import { protocolOf, type RemoteCommandClient, WebSocketCommandClient } from './remote-command/client.js';
import { RemoteCommandSession } from './remote-command/session.js';
import { SpdyCommandClient } from './remote-command/spdy-client.js';
import type { Dialled } from './remote-command-upstream.js';
import { dialInTurn, dialRemoteCommand, offersForSpdy, offersForWebSocket } from './remote-command-upstream.js';
import type { RelayTools } from './served-membership.js';
import { asksForSpdy, chooseStreamProtocol } from './spdy-upgrade.js';
import { relaySurvivingExec } from './survive/relay-surviving-exec.js';

/** Over SPDY the same names, without the base64 forms, which are for browsers. */
const SPDY_PROTOCOLS = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
];

/** exec and attach over WebSocket or SPDY, in any version. Upstream is asked first, then the client is answered 101. */
export async function relayRemoteCommand(tools: RelayTools, call: UpgradeCall): Promise<void> {
  const headers = call.request.rawHeaders;
  if (asksForSpdy(headers)) return overSpdy(tools, call);
  const offered = headerTokens(headers, 'sec-websocket-protocol');
  // Without an offer the API server chooses a subprotocol all the same, which `ws` rightly refuses: carry it raw.
  if (offered.length === 0) return relayUpgrade(tools, call);
  await relay(tools, call, {
    offers: offersForWebSocket(offered),
    accept: async (upstream) => {
      const spoken = offered.includes(upstream) ? upstream : chooseRemoteProtocol(offered)?.name;
      const socket = acceptWebSocket(call, spoken ?? upstream);
      return new WebSocketCommandClient({ socket, clock: tools.clock });
    },
  });
}

async function overSpdy(tools: RelayTools, call: UpgradeCall): Promise<void> {
  let protocol: RemoteProtocol;
  try {
    protocol = protocolOf(chooseStreamProtocol(call.request.rawHeaders, SPDY_PROTOCOLS));
  } catch (error) {
    const refusal = refusalOf(ownAnswer(statusOfError(error), parseApiRequest(call.target)), call.id);
    const accepted = SPDY_PROTOCOLS.flatMap((name) => ['X-Accepted-Stream-Protocol-Versions', name]);
    refuse(call, { ...refusal, headers: [...refusal.headers, ...accepted] });
    return;
  }
  await relay(tools, call, {
    offers: offersForSpdy(),
    accept: () => acceptSpdyClient(tools, call, protocol),
  });
}

interface Kind {
  readonly offers: readonly (readonly string[])[];
  /** Answers 101 and makes the client's side; `undefined` once the client has been told that it has none. */
  readonly accept: (upstreamProtocol: string) => Promise<RemoteCommandClient | undefined>;
}

async function relay(tools: RelayTools, call: UpgradeCall, kind: Kind): Promise<void> {
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  try {
    const signal = AbortSignal.any([call.signal, clientGone.signal]);
    const { served, target, session } = call;
    const upstreamCall = { served, target, headers: call.request.rawHeaders, session };
    const ask = async (): Promise<{ kind: 'carried' } | RefusedAnswer | Extract<Dialled, { kind: 'open' }>> => {
      const surviving = await relaySurvivingExec(tools, { call, api, signal, accept: kind.accept });
      if (surviving.kind === 'carried') return { kind: 'carried' };
      if (surviving.kind === 'refused') return refusedAnswer(surviving.response);
      const dialled = await dialInTurn(
        (offered) => dialRemoteCommand(tools, upstreamCall, offered, signal),
        kind.offers,
      );
      return dialled.kind === 'refused' ? refusedAnswer(dialled.response) : dialled;
    };
    const dialled = await askForStream(tools, call, { api, signal, ask });
    if (dialled.kind === 'carried') return;
    if (dialled.kind === 'refused') {
      await relayRefusal(call, api, dialled);
      return;
    }
    const redial = (offered: readonly string[], over: AbortSignal): Promise<Dialled> =>
      dialRemoteCommand(tools, { ...upstreamCall, resuming: true }, offered, over);
    await carry(tools, call, { api, upstream: dialled.upstream, accept: kind.accept, redial });
  } catch (error) {
    if (!clientGone.signal.aborted) failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

async function carry(
  tools: RelayTools,
  call: UpgradeCall,
  o: {
    api: ApiRequest;
    upstream: WebSocket;
    accept: Kind['accept'];
    redial: (offered: readonly string[], signal: AbortSignal) => Promise<Dialled>;
  },
): Promise<void> {
  const { upstream, api } = o;
  let client: RemoteCommandClient | undefined;
  try {
    client = await o.accept(upstream.protocol);
  } finally {
    if (client === undefined) upstream.terminate();
  }
  if (client === undefined) return;
  const offered = [upstream.protocol];
  // The session gives up by itself when the client leaves or the daemon stops.
  const redial = (over: AbortSignal): Promise<Dialled> => o.redial(offered, over);
  await new RemoteCommandSession({ tools, call, api, client, upstream, redial }).ended;
}

async function acceptSpdyClient(
  tools: RelayTools,
  call: UpgradeCall,
  protocol: RemoteProtocol,
): Promise<RemoteCommandClient | undefined> {
  const client = new SpdyCommandClient({
    socket: call.socket,
    head: call.head,
    protocol,
    remote: parseRemoteSession(call.target),
    clock: tools.clock,
  });
  const stop = (): void => client.giveUp(new Error(`connect-gateway-proxy: ${describeError(call.signal.reason)}`));
  call.signal.addEventListener('abort', stop, { once: true });
  try {
    await client.ready;
    return client;
  } catch (error) {
    call.log.info({}, `the streams of a SPDY client did not come: ${describeError(error)}`);
    const status = formatRemoteStatus(protocol, lostSessionStatus(describeError(error)));
    if (status !== undefined) client.send(channelMessage(CHANNEL.error, status));
    client.close();
    return undefined;
  } finally {
    call.signal.removeEventListener('abort', stop);
  }
}
