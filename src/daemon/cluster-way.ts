import { randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import { type FlatHeaders, headerValue } from '../base/flat-headers.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import type { TokenSource } from '../credentials/token-source.js';
import { type UpstreamAddress, upstreamAddress } from '../gateway/address.js';
import { createDialer, type Dialer } from '../gateway/dial.js';
import { JUDGED_BODY_BYTES } from '../gateway/failure.js';
import { createHttpUpstream, unreachable } from '../gateway/http-upstream.js';
import { dialUpgrade } from '../gateway/upgrade-upstream.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { type DescribedMembership, judgeFailure } from '../relays/failure-body.js';

/** What became of one question to a cluster. */
export interface ClusterAnswer {
  /** 0 where none came. */
  readonly status: number;
  readonly body: string;
  readonly ms: number;
  /** Set where it is not the cluster that speaks: a verdict on Google's answer, or the daemon's own refusal. */
  readonly trouble?: { readonly code: string; readonly message: string };
}

/** One way to a membership's API server. Nothing rejects: what went wrong is in the answer. */
export interface ClusterWay {
  ask(target: string, o: { body?: unknown; signal: AbortSignal }): Promise<ClusterAnswer>;
  /** Asks for an upgrade to a WebSocket as kubectl does. One that is granted is closed at once. */
  upgrade(target: string, o: { signal: AbortSignal }): Promise<ClusterAnswer>;
}

/** Connections to a running daemon that trust the authority (PEM) of its state folder, and no other. */
export interface LocalSide {
  readonly dialer: Dialer;
  readonly dispatcher: DispatcherSource;
  close(): Promise<void>;
}

export function openLocalSide(authority: string, clock: Clock): LocalSide {
  const dialer = createDialer({ secureContext: createSecureContext({ ca: authority }), proxy: {} });
  const upstream = createHttpUpstream({ dialer, clock });
  return { dialer, dispatcher: upstream.dispatcher, close: () => upstream.close() };
}

/** As a client of the daemon that has nothing but the kubeconfig. */
export function wayThroughDaemon(o: {
  /** The membership's own endpoint, or its place on the hub. */
  url: string;
  token: string;
  local: LocalSide;
  clock: Clock;
}): ClusterWay {
  return clusterWay({
    address: upstreamAddress(o.url),
    ...o.local,
    clock: o.clock,
    token: async () => o.token,
    judge: ({ headers, body }) =>
      // Only the daemon's own answers have it.
      headerValue(headers, 'connect-gateway-proxy-id') === undefined ? undefined : ownTrouble(body.toString()),
  });
}

/** As the daemon itself asks. */
export function wayToGateway(o: {
  membership: DescribedMembership & { readonly alias: string; readonly endpoint: string };
  tokens: TokenSource;
  dialer: Dialer;
  dispatcher: DispatcherSource;
  clock: Clock;
}): ClusterWay {
  const { membership, tokens, dialer, dispatcher, clock } = o;
  return clusterWay({
    address: upstreamAddress(membership.endpoint),
    dialer,
    dispatcher,
    clock,
    token: async (signal) => (await tokens.get(signal)).value,
    judge: ({ status, headers, body, target, upgrade }) => {
      if (status < 400) return undefined;
      const verdict = judgeFailure({
        status,
        headers,
        body,
        request: parseApiRequest(target),
        membership: membership.alias,
        about: membership,
        tokens,
        ...(upgrade ? { upgrade: 'websocket' } : {}),
      });
      return verdict.kind === 'answer' ? verdict : undefined;
    },
  });
}

interface Answered {
  readonly status: number;
  readonly headers: FlatHeaders;
  readonly body: Buffer;
  readonly target: string;
  readonly upgrade: boolean;
}

function clusterWay(o: {
  address: UpstreamAddress;
  dialer: Dialer;
  dispatcher: DispatcherSource;
  clock: Clock;
  token: (signal: AbortSignal) => Promise<string>;
  judge: (answered: Answered) => ClusterAnswer['trouble'];
}): ClusterWay {
  const { address, dialer, dispatcher, clock } = o;
  const told = async (ask: () => Promise<Answered>, signal: AbortSignal): Promise<ClusterAnswer> => {
    const began = clock.monotonic();
    const ms = (): number => Math.round(clock.monotonic() - began);
    try {
      const answered = await ask();
      const judged = o.judge(answered);
      const trouble = judged === undefined ? {} : { trouble: { code: judged.code, message: judged.message } };
      return { status: answered.status, body: answered.body.toString(), ms: ms(), ...trouble };
    } catch (error) {
      const late = { code: 'no-answer', message: `${address.host} gave no answer within ${Math.round(ms() / 1000)} s` };
      const known = error instanceof CodedError ? error : unreachable(address, error);
      const { code, message } = signal.aborted ? late : known;
      return { status: 0, body: '', ms: ms(), trouble: { code, message } };
    }
  };
  return {
    ask: (target, { body, signal }) =>
      told(async () => {
        const { request } = await loadUndici();
        const answer = await request(address.origin + address.pathPrefix + target, {
          dispatcher: await dispatcher(),
          signal,
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            authorization: `Bearer ${await o.token(signal)}`,
            accept: 'application/json',
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          responseHeaders: 'raw',
        });
        // With `raw` the headers are a flat list, whatever their type says.
        const headers = (answer.headers as unknown as (string | Buffer)[]).map(String);
        const beginning = await beginningOf(answer.body);
        return { status: answer.statusCode, headers, body: beginning, target, upgrade: false };
      }, signal),
    upgrade: (target, { signal }) =>
      told(async () => {
        const answer = await dialUpgrade(dialer, {
          address,
          method: 'GET',
          target: address.pathPrefix + target,
          headers: [
            ...['Authorization', `Bearer ${await o.token(signal)}`],
            ...['Connection', 'Upgrade', 'Upgrade', 'websocket'],
            ...['Sec-WebSocket-Version', '13', 'Sec-WebSocket-Key', randomBytes(16).toString('base64')],
            ...['Sec-WebSocket-Protocol', 'v5.channel.k8s.io'],
          ],
          signal,
        });
        if (answer.kind === 'switched') {
          answer.socket.on('error', () => {}).destroy();
          return { status: 101, headers: answer.headers, body: Buffer.alloc(0), target, upgrade: true };
        }
        const { status, headers, body } = answer;
        return { status, headers, body: await beginningOf(body), target, upgrade: true };
      }, signal),
  };
}

async function beginningOf(body: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes >= JUDGED_BODY_BYTES) break;
  }
  return Buffer.concat(chunks);
}

/** Of a Status that the daemon wrote: `details.causes[0].reason` is its code. */
function ownTrouble(body: string): { code: string; message: string } {
  try {
    const { message, details } = JSON.parse(body) as {
      message?: string;
      details?: { causes?: { reason?: string }[] };
    };
    return { code: details?.causes?.[0]?.reason ?? 'unknown', message: message ?? body };
  } catch {
    return { code: 'unknown', message: body.trim() };
  }
}
