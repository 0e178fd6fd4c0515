import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ClientOptions } from 'ws';
import { WebSocket } from 'ws';
import { callDeadline } from '../base/deadline.js';
import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { AccessToken } from '../credentials/token-source.js';
import { unreachable } from '../gateway/http-upstream.js';
import type { StreamHolder } from '../gateway/stream-ledger.js';
import { noAnswer, UPGRADE_DEADLINE_MS } from '../gateway/upgrade-upstream.js';
import { chooseRemoteProtocol } from '../kubernetes/remote-command.js';
import { carriedBy } from './binary-message.js';
import { credentialHeaders } from './credential-headers.js';
import { heldBy, streamDialer } from './dial-stream.js';
import type { RelayTools, ServedMembership } from './served-membership.js';
import type { Session } from './sessions.js';
import { assertWithinHeaderLimit, requestHeaders } from './upstream-headers.js';

/** kubectl accepts single messages of 8 MiB; the API server sends at most 32 KiB at a time. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Set by `ws` itself on either side of the relay, or of another protocol on the client's side. */
const CLIENT_SIDE_HEADERS =
  /^(?:sec-websocket-(?:key|version|protocol|extensions|accept)|x-stream-protocol-version|content-(?:length|type)|trailer)$/i;

/** A token; the tunnel's own has a slash. */
const SUBPROTOCOL = /^[!#$%&'*+\-./^_`|~0-9A-Za-z]+$/;

/** Where an exec or attach goes, and as whom. */
export interface RemoteCommandCall {
  readonly served: ServedMembership;
  /** Raw request target below the membership. */
  readonly target: string;
  /** The client's, as they came. */
  readonly headers: FlatHeaders;
  readonly session: Pick<Session, 'id' | 'kind' | 'target'>;
  /** Who holds the upstream, where it is not the session alone. */
  readonly holder?: () => StreamHolder;
  /** The session has been open before. */
  readonly resuming?: boolean;
}

/** `open` is paused: nothing may be read before somebody listens. */
export type Dialled =
  | { readonly kind: 'open'; readonly upstream: WebSocket }
  | { readonly kind: 'refused'; readonly response: IncomingMessage };

/** Both in one request: an API server that has no v5 takes v4 of the same offer. */
const NEWEST = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
/** What every API server speaks that is still in use. */
const STEADY = ['v4.channel.k8s.io'];

/** Dials with each offer in turn, until one is not refused for its subprotocols. */
export async function dialInTurn(
  dial: (offered: readonly string[]) => Promise<Dialled>,
  offers: readonly (readonly string[])[],
): Promise<Dialled> {
  for (const [index, offered] of offers.entries()) {
    const last = index === offers.length - 1;
    try {
      const dialled = await dial(offered);
      if (last || dialled.kind === 'open' || !isForSubprotocol(dialled.response)) return dialled;
      dialled.response.destroy();
    } catch (error) {
      if (last || !isSubprotocolError(error)) throw error;
    }
  }
  throw new Error('no offer of subprotocols');
}

/** What is asked of upstream for a client over SPDY. */
export function offersForSpdy(): string[][] {
  return [NEWEST, STEADY];
}

/**
 * What is asked of upstream for a WebSocket client: its own offer first. The oldest subprotocols tell success by a close
 * without a word, which a cut looks like: for them v4 is asked for, and translated.
 */
export function offersForWebSocket(offered: readonly string[]): string[][] {
  const preferred = chooseRemoteProtocol(offered);
  const plain = preferred !== undefined && !preferred.statusAsJson;
  const own = plain ? [...STEADY, ...offered.filter((name) => !STEADY.includes(name))] : [...offered];
  return [own, NEWEST, STEADY].filter((offer, index, all) => {
    return all.findIndex((other) => other.join() === offer.join()) === index;
  });
}

/** An API server refuses unknown subprotocols in a bare HTTP answer; all its other refusals are a Status. */
function isForSubprotocol(response: IncomingMessage): boolean {
  const json = (response.headers['content-type'] ?? '').includes('json');
  return !json && (response.statusCode === 400 || response.statusCode === 403);
}

/** `ws` has no code for a 101 with no subprotocol, or with one that was not offered. */
function isSubprotocolError(error: unknown): boolean {
  return error instanceof CodedError && error.cause instanceof Error && /subprotocol/.test(error.cause.message);
}

/** Dials with the current token; a 401 is tried once more with a new one, since nothing of the stream has been sent. */
export async function dialRemoteCommand(
  tools: RelayTools,
  call: RemoteCommandCall,
  offered: readonly string[],
  signal: AbortSignal,
): Promise<Dialled> {
  for (let attempt = 0; ; attempt++) {
    const token = await call.served.tokens.get(signal);
    const dialled = await dial(tools, call, { offered, token, signal });
    if (dialled.kind !== 'refused' || dialled.response.statusCode !== 401 || attempt > 0) return dialled;
    call.served.tokens.invalidate(token);
    dialled.response.destroy();
  }
}

async function dial(
  tools: RelayTools,
  call: RemoteCommandCall,
  options: { offered: readonly string[]; token: AccessToken; signal: AbortSignal },
): Promise<Dialled> {
  const { address } = call.served;
  const headers = headersForWs(call, options.token);
  const { offered } = options;
  assertSubprotocols(offered);
  // `ws` lets no name with a slash pass, in either direction.
  const plain = offered.filter((name) => !name.includes('/'));
  const slashed = offered.filter((name) => name.includes('/'));
  if (slashed.length > 0) headers['Sec-WebSocket-Protocol'] = [offered.join(', ')];
  const { served, session, resuming = false } = call;
  const dialer = await streamDialer(
    tools,
    { served, holder: call.holder ?? heldBy(session), resuming },
    options.signal,
  );
  const deadline = callDeadline({ clock: tools.clock, ms: UPGRADE_DEADLINE_MS, signal: options.signal });
  const { signal } = deadline;
  let socket: Duplex;
  try {
    socket = await dialer.dial(address, signal);
  } catch (error) {
    deadline.end();
    throw deadline.isOver ? noAnswer(address, UPGRADE_DEADLINE_MS) : unreachable(address, error);
  }
  const target = address.pathPrefix + call.target;
  return new Promise((resolve, reject) => {
    const settings: ClientOptions = {
      // `ws` passes lists on to Node; its types know single values only.
      headers: headers as unknown as Record<string, string>,
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: MAX_MESSAGE_BYTES,
      createConnection: (() => socket) as unknown as NonNullable<ClientOptions['createConnection']>,
      finishRequest: (request) => {
        // `ws` takes a URL and would normalise the target; the client's own spelling goes upstream.
        request.path = target;
        request.end();
      },
    };
    const scheme = address.secure ? 'wss' : 'ws';
    let upstream: WebSocket;
    try {
      upstream = new WebSocket(`${scheme}://${address.host}/`, plain, settings);
    } catch (error) {
      // Refused before the socket was taken, which would stay open and count as one of the fleet's streams.
      socket.destroy();
      reject(error);
      return;
    }
    const onAbort = (): void => {
      deadline.end();
      upstream.terminate();
      reject(deadline.isOver ? noAnswer(address, UPGRADE_DEADLINE_MS) : signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const settled = (): void => {
      deadline.end();
      signal.removeEventListener('abort', onAbort);
    };
    upstream.once('open', () => {
      settled();
      // Nothing may be read before the client's side exists.
      upstream.pause();
      carriedBy(upstream, { socket, masks: true });
      resolve({ kind: 'open', upstream });
    });
    if (slashed.length > 0) {
      upstream.once('upgrade', (response) => {
        const chosen = response.headers['sec-websocket-protocol'];
        if (chosen !== undefined && slashed.includes(chosen)) delete response.headers['sec-websocket-protocol'];
        else if (chosen === undefined) {
          upstream.emit('error', new Error('Server sent no subprotocol'));
          upstream.terminate();
        }
      });
    }
    upstream.once('unexpected-response', (_request, response) => {
      settled();
      resolve({ kind: 'refused', response });
    });
    upstream.on('error', (error) => {
      settled();
      reject(unreachable(address, error));
    });
  });
}

/** `ws` wants an object: repeated names become lists, which it sends as repeated lines in order. */
function headersForWs({ headers: raw, served }: RemoteCommandCall, token: AccessToken): Record<string, string[]> {
  const flat = [...requestHeaders(raw), ...credentialHeaders(served, token, raw)];
  assertWithinHeaderLimit(flat);
  const spelling = new Map<string, string>();
  const headers: Record<string, string[]> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i] as string;
    if (CLIENT_SIDE_HEADERS.test(name)) continue;
    const key = spelling.get(name.toLowerCase()) ?? name;
    spelling.set(name.toLowerCase(), key);
    headers[key] = [...(headers[key] ?? []), flat[i + 1] as string];
  }
  return headers;
}

/** RFC 6455 4.1; `ws` refuses the same on either side, when there is a connection to the gateway already. */
function assertSubprotocols(offered: readonly string[]): void {
  const odd = offered.find((name, index) => !SUBPROTOCOL.test(name) || offered.indexOf(name) !== index);
  if (odd === undefined) return;
  const what = SUBPROTOCOL.test(odd) ? 'twice' : 'which is no name of a subprotocol';
  throw new CodedError({
    code: 'subprotocol-malformed',
    message: `Sec-WebSocket-Protocol names ${JSON.stringify(odd)}, ${what}; offer v5.channel.k8s.io or v4.channel.k8s.io`,
    answer: { status: 400, reason: 'BadRequest' },
  });
}
