import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CodedError, describeError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { HeaderNames, headerValue, withoutHeaders } from '../base/flat-headers.js';
import type { UpgradeAnswer } from '../gateway/upgrade-upstream.js';
import { dialUpgrade } from '../gateway/upgrade-upstream.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import { askForStream } from './ask-for-stream.js';
import { credentialHeaders } from './credential-headers.js';
import { heldBy, streamDialer } from './dial-stream.js';
import { ownAnswer, type Refusal, refusalHead, refusalOf, writeRefusal } from './failure-answer.js';
import { answerOfVerdict } from './failure-body.js';
import { type Judged, judgeRefusal, type RefusedAnswer } from './judge-refusal.js';
import type { RelayCall, RelayTools } from './served-membership.js';
import type { Session } from './sessions.js';
import { assertWithinHeaderLimit, requestHeaders, responseHeaders } from './upstream-headers.js';

export interface UpgradeCall extends RelayCall {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  /** Aborts when the daemon gives up on its streams, or a person ends this one; the reason's message is for the client. */
  readonly signal: AbortSignal;
  /** Already open; the front door ends it when the relay has returned. */
  readonly session: Session;
  /** Told of what the client is refused with, before it is written. */
  readonly onRefusal?: (refusal: Refusal) => void;
}

/**
 * Carries an upgraded connection byte for byte: service and pod proxy WebSockets, KubeVirt consoles, port-forward
 * tunnels. Resolves when the connection has ended.
 */
export async function relayUpgrade(tools: RelayTools, call: UpgradeCall): Promise<void> {
  const api = parseApiRequest(call.target);
  const clientGone = new AbortController();
  const onClose = (): void => clientGone.abort(new Error('the client is gone'));
  call.socket.once('close', onClose);
  try {
    const upgradeHeaders = ['Connection', 'Upgrade', 'Upgrade', headerValue(call.request.rawHeaders, 'upgrade') ?? ''];
    const signal = AbortSignal.any([call.signal, clientGone.signal]);
    const ask = async (): Promise<AnsweredUpgrade> => {
      const asked = await askUpstream(tools, call, { extraHeaders: upgradeHeaders, signal });
      // HTTP lets a server answer as if it had not been asked to upgrade.
      return asked.kind === 'refused' && asked.status < 400 ? { kind: 'plain', answer: asked } : asked;
    };
    const answer = await askForStream(tools, call, { api, signal, ask });
    if (answer.kind === 'plain') return await passOn(call, answer.answer, new Uint8Array());
    if (answer.kind === 'refused') return await relayRefusal(call, api, answer);
    await splice(tools, call, api, answer);
  } catch (error) {
    if (clientGone.signal.aborted) return;
    failUpgrade(call, api, error);
  } finally {
    call.socket.off('close', onClose);
  }
}

type AnsweredUpgrade =
  | (UpgradeAnswer & { readonly judged?: Judged })
  | { readonly kind: 'plain'; readonly answer: RefusedAnswer };

/** Dials with the current token; a 401 is tried once more with a new one, since nothing of the stream has been sent. */
export async function askUpstream(
  tools: RelayTools,
  call: UpgradeCall,
  options: { extraHeaders: FlatHeaders; signal: AbortSignal },
): Promise<UpgradeAnswer & { readonly judged?: Judged }> {
  const { served, request, target } = call;
  const ask = async (): Promise<{ answer: UpgradeAnswer; refuse: () => void }> => {
    const token = await served.tokens.get(options.signal);
    const headers = [
      // An upgrade has no body that trailers could follow.
      ...withoutHeaders(requestHeaders(request.rawHeaders), TRAILER),
      ...options.extraHeaders,
      ...credentialHeaders(served, token, request.rawHeaders),
    ];
    assertWithinHeaderLimit(headers);
    const dialer = await streamDialer(tools, { served, holder: heldBy(call.session) }, options.signal);
    const answer = await dialUpgrade(dialer, {
      address: served.address,
      method: request.method ?? 'GET',
      target: served.address.pathPrefix + target,
      headers,
      signal: options.signal,
    });
    return { answer, refuse: () => served.tokens.invalidate(token) };
  };
  const first = await ask();
  if (first.answer.kind !== 'refused' || first.answer.status !== 401) return first.answer;
  const api = parseApiRequest(target);
  if (api.kind === 'proxy') {
    // A workload's own 401 has nothing to do with Google's token, and must not be asked for twice.
    const judged = await judgeRefusal(call, api, first.answer);
    if (judged.verdict.kind === 'pass' || judged.verdict.code !== 'google-unauthenticated') {
      return { ...first.answer, judged };
    }
  }
  first.refuse();
  first.answer.body.destroy();
  return (await ask()).answer;
}

export function failUpgrade(call: UpgradeCall, api: ApiRequest, error: unknown): void {
  call.session.end(`refused: ${error instanceof CodedError ? error.code : describeError(error)}`);
  call.log.warn({ kind: api.kind }, describeError(error));
  refuse(call, refusalOf(ownAnswer(statusOfError(error), api), call.id));
}

export function refuse(call: UpgradeCall, refusal: Refusal): void {
  call.onRefusal?.(refusal);
  writeRefusal(call.socket, refusal);
}

/** Upstream's refusal as the client's answer: its status, and a `Status` body where upstream sent none. */
export async function relayRefusal(
  call: UpgradeCall,
  api: ApiRequest,
  refusal: RefusedAnswer & { readonly judged?: Judged },
): Promise<void> {
  const { verdict, status, body, whole } = refusal.judged ?? (await judgeRefusal(call, api, refusal));
  const code = verdict.kind === 'pass' ? 'cluster' : verdict.code;
  call.log.info({ kind: api.kind, upstreamStatus: refusal.status, code }, 'upgrade refused');
  call.session.end(`refused: ${verdict.kind === 'pass' ? `by the cluster (HTTP ${refusal.status})` : code}`);
  if (verdict.kind === 'pass' && !whole) {
    await passOn(call, { ...refusal, status }, body);
    return;
  }
  refusal.body.destroy();
  if (verdict.kind === 'answer') {
    refuse(call, refusalOf(answerOfVerdict(verdict, api), call.id));
    return;
  }
  const headers = withoutHeaders(responseHeaders(refusal.headers), LENGTH);
  refuse(call, {
    status,
    statusText: STATUS_CODES[status] ?? '',
    headers: [...headers, 'Content-Length', String(body.length)],
    body,
  });
}

const LENGTH = new HeaderNames(['content-length']);
const TRAILER = new HeaderNames(['trailer']);

/** Upstream's answer as it is, however long its body, of which `begun` has been read. */
async function passOn(call: UpgradeCall, { status, headers, body }: RefusedAnswer, begun: Uint8Array): Promise<void> {
  const head = refusalHead({ status, statusText: STATUS_CODES[status] ?? '', headers: responseHeaders(headers) });
  call.socket.write(Buffer.concat([head, begun]));
  // Ends the connection as the body ends: whole, or broken.
  await pipeline(body, call.socket).catch((error: unknown) =>
    call.log.info({}, `an answer broke: ${describeError(error)}`),
  );
}

/** One side has ended: what it sent before must still reach the other. */
function afterFlush(socket: Duplex, done: () => void): void {
  if (!socket.writableEnded || socket.writableFinished || socket.destroyed) {
    done();
    return;
  }
  socket.once('finish', done);
}

function splice(
  tools: RelayTools,
  call: UpgradeCall,
  api: ApiRequest,
  answer: Extract<UpgradeAnswer, { kind: 'switched' }>,
): Promise<void> {
  const { socket: client, head, signal } = call;
  const upstream = answer.socket;
  const startedAt = tools.clock.monotonic();
  let bytesUp = head.length;
  let bytesDown = answer.head.length;
  const lines = ['HTTP/1.1 101 Switching Protocols'];
  for (let i = 0; i + 1 < answer.headers.length; i += 2) lines.push(`${answer.headers[i]}: ${answer.headers[i + 1]}`);
  client.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  if (answer.head.length > 0) client.write(answer.head);
  if (head.length > 0) upstream.write(head);
  upstream.on('data', (chunk: Buffer) => {
    bytesDown += chunk.length;
  });
  client.on('data', (chunk: Buffer) => {
    bytesUp += chunk.length;
  });
  client.pipe(upstream);
  upstream.pipe(client);
  return new Promise((resolve) => {
    let ended = false;
    const end = (reason: string): void => {
      if (ended) return;
      ended = true;
      signal.removeEventListener('abort', onAbort);
      client.destroy();
      upstream.destroy();
      const ms = Math.round(tools.clock.monotonic() - startedAt);
      call.session.end(reason);
      call.log.info({ kind: api.kind, reason, ms, bytesUp, bytesDown }, 'stream ended');
      resolve();
    };
    const onAbort = (): void => end(describeError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    client.on('error', (error) => end(`client: ${describeError(error)}`));
    upstream.on('error', (error) => end(`gateway: ${describeError(error)}`));
    client.on('close', () => afterFlush(upstream, () => end('client closed')));
    upstream.on('close', () => afterFlush(client, () => end('gateway closed')));
  });
}
