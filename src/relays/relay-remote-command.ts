import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ClientOptions, RawData } from 'ws';
import { WebSocket, WebSocketServer } from 'ws';
import { describeError } from '../base/errors.js';
import { headerTokens } from '../base/flat-headers.js';
import { unreachable } from '../gateway/http-upstream.js';
import { noAnswer, UPGRADE_DEADLINE_MS } from '../gateway/upgrade-upstream.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { failureStatus } from '../kubernetes/status.js';
import { failUpgrade, relayRefusal, relayUpgrade, type UpgradeCall } from './relay-upgrade.js';
import type { RelayTools } from './served-membership.js';
import { assertWithinHeaderLimit, requestHeaders } from './upstream-headers.js';

/** kubectl accepts single messages of 8 MiB; the API server sends at most 32 KiB at a time. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Above this many unsent bytes the other side is paused. */
const HIGH_WATER_BYTES = 1024 * 1024;
const PING_INTERVAL_MS = 10_000;
/** A peer that has said nothing for this long is gone: three pings unanswered. */
const SILENCE_LIMIT_MS = 30_000;
const ERROR_CHANNEL = 3;

/** Set by `ws` itself on either side of the relay. */
const WEBSOCKET_HEADERS = /^sec-websocket-(?:key|version|protocol|extensions|accept)$/i;

const acceptor = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  // Replaced per connection by what upstream has chosen; see `accept`.
  handleProtocols: (_offered, request) => chosenProtocol.get(request) ?? false,
});
const chosenProtocol = new WeakMap<IncomingMessage, string>();

/** exec and attach over WebSocket, message by message. Upstream is asked first; its choice of subprotocol is the client's. */
export async function relayRemoteCommand(tools: RelayTools, call: UpgradeCall): Promise<void> {
  const offered = headerTokens(call.request.rawHeaders, 'sec-websocket-protocol');
  // Without an offer the API server chooses a subprotocol all the same, which `ws` rightly refuses: carry it raw.
  if (offered.length === 0) return relayUpgrade(tools, call);
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  try {
    const signal = AbortSignal.any([call.signal, clientGone.signal]);
    const dialled = await dialWithFreshToken(tools, call, offered, signal);
    if (dialled.kind === 'refused') {
      await relayRefusal(call, api, {
        kind: 'refused',
        status: dialled.response.statusCode ?? 502,
        headers: dialled.response.rawHeaders,
        body: dialled.response,
      });
      return;
    }
    const client = accept(call, dialled.upstream.protocol);
    await new RemoteCommandRelay({ tools, call, api, client, upstream: dialled.upstream }).ended;
  } catch (error) {
    if (!clientGone.signal.aborted) failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

type Dialled =
  | { readonly kind: 'open'; readonly upstream: WebSocket }
  | { readonly kind: 'refused'; readonly response: IncomingMessage };

async function dialWithFreshToken(
  tools: RelayTools,
  call: UpgradeCall,
  offered: readonly string[],
  signal: AbortSignal,
): Promise<Dialled> {
  for (let attempt = 0; ; attempt++) {
    const token = await call.served.tokens.get(signal);
    const dialled = await dial(tools, call, { offered, token: token.value, signal });
    if (dialled.kind !== 'refused' || dialled.response.statusCode !== 401 || attempt > 0) return dialled;
    call.served.tokens.invalidate(token);
    dialled.response.destroy();
  }
}

async function dial(
  tools: RelayTools,
  call: UpgradeCall,
  options: { offered: readonly string[]; token: string; signal: AbortSignal },
): Promise<Dialled> {
  const { address } = call.served;
  const headers = headersForWs(call.request.rawHeaders, options.token);
  const deadline = AbortSignal.timeout(UPGRADE_DEADLINE_MS);
  const signal = AbortSignal.any([options.signal, deadline]);
  let socket: Duplex;
  try {
    socket = await tools.dialer.dial(address, signal);
  } catch (error) {
    throw deadline.aborted ? noAnswer(address, UPGRADE_DEADLINE_MS) : unreachable(address, error);
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
    const upstream = new WebSocket(`${scheme}://${address.host}/`, [...options.offered], settings);
    const onAbort = (): void => {
      upstream.terminate();
      reject(deadline.aborted ? noAnswer(address, UPGRADE_DEADLINE_MS) : signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const settled = (): void => signal.removeEventListener('abort', onAbort);
    upstream.once('open', () => {
      settled();
      // Nothing may be read before the client's side exists.
      upstream.pause();
      resolve({ kind: 'open', upstream });
    });
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
function headersForWs(raw: readonly string[], token: string): Record<string, string[]> {
  const flat = [...requestHeaders(raw), 'Authorization', `Bearer ${token}`];
  assertWithinHeaderLimit(flat);
  const spelling = new Map<string, string>();
  const headers: Record<string, string[]> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i] as string;
    if (WEBSOCKET_HEADERS.test(name)) continue;
    const key = spelling.get(name.toLowerCase()) ?? name;
    spelling.set(name.toLowerCase(), key);
    headers[key] = [...(headers[key] ?? []), flat[i + 1] as string];
  }
  return headers;
}

/** Answers 101 with upstream's subprotocol. `ws` does it synchronously, or answers 400 to a malformed handshake itself. */
function accept(call: UpgradeCall, protocol: string): WebSocket {
  chosenProtocol.set(call.request, protocol);
  let accepted: WebSocket | undefined;
  acceptor.handleUpgrade(call.request, call.socket, call.head, (client) => {
    accepted = client;
  });
  if (accepted === undefined) throw new Error('the WebSocket handshake of the client is malformed');
  return accepted;
}

interface RelayParts {
  readonly tools: RelayTools;
  readonly call: UpgradeCall;
  readonly api: ApiRequest;
  readonly client: WebSocket;
  readonly upstream: WebSocket;
}

class RemoteCommandRelay {
  readonly ended: Promise<void>;
  readonly #parts: RelayParts;
  readonly #startedAt: number;
  #resolve: () => void = () => {};
  #bytesUp = 0;
  #bytesDown = 0;
  #statusSeen = false;
  #upstreamHeardAt: number;
  #cancelPing: () => void = () => {};
  #over = false;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#startedAt = parts.tools.clock.monotonic();
    this.#upstreamHeardAt = this.#startedAt;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const { client, upstream, call } = parts;
    client.on('message', (data, isBinary) => {
      this.#bytesUp += this.#forward(data, isBinary, { from: client, to: upstream });
    });
    upstream.on('message', (data, isBinary) => {
      this.#heard();
      if (!this.#statusSeen) this.#statusSeen = isStatus(data, isBinary);
      this.#bytesDown += this.#forward(data, isBinary, { from: upstream, to: client });
    });
    upstream.on('ping', () => this.#heard());
    upstream.on('pong', () => this.#heard());
    client.on('close', (code, reason) => this.#clientClosed(code, reason));
    upstream.on('close', (code, reason) => this.#upstreamClosed(code, reason));
    client.on('error', (error) => call.log.debug({}, `client: ${describeError(error)}`));
    upstream.on('error', (error) => call.log.debug({}, `gateway: ${describeError(error)}`));
    call.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#schedulePing();
    upstream.resume();
  }

  readonly #onAbort = (): void => {
    this.#endClient({
      message: 'connect-gateway-proxy: the daemon is stopping',
      code: 1001,
      reason: 'the daemon is stopping',
    });
    this.#parts.upstream.close(1001);
  };

  #forward(data: RawData, binary: boolean, way: { from: WebSocket; to: WebSocket }): number {
    const bytes = data as Buffer;
    if (way.to.readyState !== WebSocket.OPEN) return 0;
    way.to.send(bytes, { binary }, () => {
      if (way.from.isPaused && way.to.bufferedAmount < HIGH_WATER_BYTES) way.from.resume();
    });
    if (way.to.bufferedAmount >= HIGH_WATER_BYTES) way.from.pause();
    return bytes.length;
  }

  #heard(): void {
    this.#upstreamHeardAt = this.#parts.tools.clock.monotonic();
  }

  #schedulePing(): void {
    const { tools, upstream } = this.#parts;
    this.#cancelPing = tools.clock.after(PING_INTERVAL_MS, () => {
      // A paused upstream cannot be heard; it is the client that is slow.
      if (upstream.isPaused) this.#heard();
      if (tools.clock.monotonic() - this.#upstreamHeardAt >= SILENCE_LIMIT_MS) {
        upstream.terminate();
        return;
      }
      if (upstream.readyState === WebSocket.OPEN) upstream.ping();
      this.#schedulePing();
    });
  }

  #clientClosed(code: number, reason: Buffer): void {
    const { upstream } = this.#parts;
    if (isSendable(code)) upstream.close(code, reason);
    else if (code === 1005) upstream.close();
    else upstream.terminate();
    this.#end(`client closed (${code})`);
  }

  #upstreamClosed(code: number, reason: Buffer): void {
    // A close without a Status makes kubectl exit 0 as if the command had succeeded: say that it was cut.
    if (this.#statusSeen) {
      this.#parts.client.close(isSendable(code) ? code : 1000, isSendable(code) ? reason : undefined);
    } else {
      const seconds = Math.round((this.#parts.tools.clock.monotonic() - this.#startedAt) / 1000);
      const said = reason.length > 0 ? `: ${reason.toString('utf8')}` : '';
      this.#endClient({
        message: `the gateway cut this session after ${seconds} s before the command's end was known (close ${code}${said}); the command may still be running in the container`,
        code: 1011,
        reason: 'the gateway cut the session',
      });
    }
    this.#end(`gateway closed (${code})`);
  }

  #endClient(options: { message: string; code: number; reason: string }): void {
    const { client } = this.#parts;
    if (client.readyState !== WebSocket.OPEN) return;
    if (!this.#statusSeen) {
      this.#statusSeen = true;
      const status = failureStatus({ code: 500, reason: 'InternalError', message: options.message });
      client.send(errorChannelMessage(client.protocol, JSON.stringify(status), options.message), {
        binary: !client.protocol.startsWith('base64') && !client.protocol.includes('.base64.'),
      });
    }
    client.close(options.code, options.reason);
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelPing();
    const { call, api, tools, client, upstream } = this.#parts;
    call.signal.removeEventListener('abort', this.#onAbort);
    // A paused socket would never see the peer's close frame.
    client.resume();
    upstream.resume();
    const ms = Math.round(tools.clock.monotonic() - this.#startedAt);
    call.log.info(
      { kind: api.kind, protocol: upstream.protocol, reason, ms, bytesUp: this.#bytesUp, bytesDown: this.#bytesDown },
      'stream ended',
    );
    this.#resolve();
  }
}

/** A message with content on the error channel: byte 3, or the digit in the base64 forms. */
function isStatus(data: RawData, binary: boolean): boolean {
  const bytes = data as Buffer;
  return bytes.length > 1 && bytes[0] === (binary ? ERROR_CHANNEL : '3'.charCodeAt(0));
}

/** Since v4 the error channel carries a Status as JSON, before that plain text; base64 forms put it behind the digit. */
function errorChannelMessage(protocol: string, json: string, text: string): Buffer | string {
  const body = /^v[45]\./.test(protocol) ? json : text;
  if (protocol.includes('base64')) return `${ERROR_CHANNEL}${Buffer.from(body).toString('base64')}`;
  return Buffer.concat([Buffer.from([ERROR_CHANNEL]), Buffer.from(body)]);
}

/** Codes that may stand in a close frame (RFC 6455 7.4). */
function isSendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
}
