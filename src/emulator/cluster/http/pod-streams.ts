import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { PodRuntime } from '../../pods/pod-runtime.js';
import { ApiError, badRequest, statusFor } from '../api-error.js';
import type { KubeObject } from '../json.js';
import { at, dicts, text } from '../json.js';
import { isTrue } from './watch.js';

/** Throws the real server's refusals. */
function containerOf(pod: KubeObject, query: URLSearchParams): string {
  const names = dicts(at(pod, 'spec.containers')).map(({ name }) => text(name));
  const asked = query.get('container') ?? '';
  const { name } = pod.metadata;
  if (asked !== '') {
    if (!names.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  const byAnnotation = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  if (byAnnotation !== undefined && names.includes(byAnnotation)) return byAnnotation;
  if (names.length > 1) {
    throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${names.join(' ')}]`);
  }
  return names[0] ?? '';
}

/** Answers `pods/log`, as slowly as the client reads. */
export function serveLog(
  runtime: PodRuntime,
  pod: KubeObject,
  call: { query: URLSearchParams; response: ServerResponse; signal: AbortSignal },
): void {
  const { query, response, signal } = call;
  const container = containerOf(pod, query);
  const uid = pod.metadata.uid ?? '';
  const found = runtime.statuses(uid).find(({ name }) => name === container);
  const previous = isTrue(query.get('previous'));
  if (found === undefined || (found.state.kind === 'waiting' && found.lastTermination === undefined)) {
    const reason = found?.state.kind === 'waiting' ? found.state.reason : 'ContainerCreating';
    throw badRequest(`container "${container}" in pod "${pod.metadata.name}" is waiting to start: ${reason}`);
  }
  if (previous && found.lastTermination === undefined) {
    throw badRequest(`previous terminated container "${container}" in pod "${pod.metadata.name}" not found`);
  }
  const leaving = new AbortController();
  response.on('close', () => leaving.abort(new Error('the client is gone')));
  const log = runtime.openLog(
    uid,
    container,
    {
      follow: isTrue(query.get('follow')),
      previous,
      timestamps: isTrue(query.get('timestamps')),
      ...sinceTime(query),
      ...count(query, 'tailLines'),
      ...count(query, 'limitBytes'),
    },
    AbortSignal.any([signal, leaving.signal]),
  );
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-cache, private' });
  response.flushHeaders();
  log.on('error', () => response.destroy());
  log.pipe(response);
}

function count(query: URLSearchParams, name: 'tailLines' | 'limitBytes'): Partial<Record<typeof name, number>> {
  const asked = query.get(name);
  if (asked === null) return {};
  const value = Number(asked);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ApiError(
      422,
      'Invalid',
      `PodLogOptions "" is invalid: ${name}: Invalid value: "${asked}": must be greater than or equal to 0`,
    );
  }
  return { [name]: value };
}

/** The kubelet's clock has whole seconds here. */
function sinceTime(query: URLSearchParams): { sinceTime?: number } {
  const asked = query.get('sinceTime');
  if (asked !== null) {
    const ms = Date.parse(asked);
    if (Number.isNaN(ms)) throw badRequest(`sinceTime: ${JSON.stringify(asked)} is no RFC 3339 time`);
    return { sinceTime: Math.floor(ms / 1000) * 1000 };
  }
  const seconds = Number(query.get('sinceSeconds') ?? 0);
  return seconds > 0 ? { sinceTime: Math.floor((Date.now() - seconds * 1000) / 1000) * 1000 } : {};
}

export type StreamSubresource = 'exec' | 'attach' | 'portforward';

export function serveStream(
  runtime: PodRuntime,
  pod: KubeObject,
  call: {
    subresource: StreamSubresource;
    query: URLSearchParams;
    request: IncomingMessage;
    socket: Duplex;
    head: Buffer;
    signal: AbortSignal;
  },
): void {
  const { subresource, query } = call;
  const phase = text(at(pod, 'status.phase'));
  if (phase === 'Succeeded' || phase === 'Failed') {
    const what = subresource === 'exec' ? 'exec into' : subresource === 'attach' ? 'attach to' : 'forward ports of';
    throw badRequest(`cannot ${what} a container in a completed pod; current phase is ${phase}`);
  }
  if (phase !== 'Running' && subresource === 'portforward') {
    throw badRequest(`unable to forward port because pod is not running. Current status=${phase}`);
  }
  const container = subresource === 'portforward' ? undefined : containerOf(pod, query);
  const { request, socket, head, signal } = call;
  const podUid = pod.metadata.uid ?? '';
  runtime.upgrade({
    request,
    socket,
    head,
    podUid,
    subresource,
    query,
    signal,
    ...(container === undefined ? {} : { container }),
  });
}

/** The answer to an upgrade that is not made. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const status = statusFor(error);
  const body = JSON.stringify(status);
  socket.end(
    `HTTP/1.1 ${status.code ?? 500} ${status.reason ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
