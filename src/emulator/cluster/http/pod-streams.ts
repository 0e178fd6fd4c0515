import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { isTrue } from '../../../kubernetes/query-boolean.js';
import type { LogOptions, PodRuntime } from '../../pods/pod-runtime.js';
import type { FieldError } from '../api-error.js';
import { ApiError, badRequest, invalid, statusFor } from '../api-error.js';
import type { KubeObject } from '../json.js';
import { at, dicts, text } from '../json.js';
import { integerOf, unsupported } from './options.js';

/** The named container or the only one; throws the real server's refusals. kubectl reads the annotation itself. */
function containerOf(pod: KubeObject, query: URLSearchParams): string {
  const namesOf = (path: string): string[] => dicts(at(pod, path)).map(({ name }) => text(name));
  const names = namesOf('spec.containers');
  const asked = query.get('container') ?? '';
  const { name } = pod.metadata;
  if (asked !== '') {
    if (![...names, ...namesOf('spec.initContainers'), ...namesOf('spec.ephemeralContainers')].includes(asked))
      throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  const [only] = names;
  if (only !== undefined && names.length === 1) return only;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${names.join(' ')}]`);
}

export interface LogCall {
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Answers `pods/log`, as slowly as the client reads. */
export function serveLog(runtime: PodRuntime, pod: KubeObject, call: LogCall): void {
  const { query, response, signal } = call;
  const options = readLogOptions(pod.metadata.name, query, call.now);
  const container = containerOf(pod, query);
  const uid = pod.metadata.uid ?? '';
  const about = `container "${container}" in pod "${pod.metadata.name}"`;
  const found = runtime.statuses(uid).find(({ name }) => name === container);
  if (found === undefined || (found.state.kind === 'waiting' && found.lastTermination === undefined)) {
    const reason = found?.state.kind === 'waiting' ? found.state.reason : 'ContainerCreating';
    throw badRequest(`${about} is waiting to start: ${reason}`);
  }
  if (options.previous && found.lastTermination === undefined) {
    throw badRequest(`previous terminated ${about} not found`);
  }
  // Of one's own, so that the long-lived signal of the call is left without listeners at the end.
  const leaving = new AbortController();
  const leave = (): void => leaving.abort(new Error('the reader of the log is gone'));
  const log = runtime.openLog(uid, container, options, leaving.signal);
  signal.addEventListener('abort', leave, { once: true });
  response.on('close', () => {
    signal.removeEventListener('abort', leave);
    leave();
    log.destroy();
  });
  log.on('error', () => response.destroy());
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-cache, private' });
  response.flushHeaders();
  log.pipe(response);
  if (signal.aborted) leave();
}

function readLogOptions(pod: string, query: URLSearchParams, now: number): LogOptions {
  const tailLines = integerOf(query, 'tailLines');
  const limitBytes = integerOf(query, 'limitBytes');
  const sinceSeconds = integerOf(query, 'sinceSeconds');
  const sinceTime = query.get('sinceTime') ?? '';
  const stream = query.get('stream') ?? 'All';
  const errors: FieldError[] = [];
  if (tailLines !== undefined && tailLines < 0) {
    errors.push(outOfRange('tailLines', tailLines, 'must be greater than or equal to 0'));
  }
  if (limitBytes !== undefined && limitBytes < 1) {
    errors.push(outOfRange('limitBytes', limitBytes, 'must be greater than 0'));
  }
  if (sinceSeconds !== undefined && sinceTime !== '') {
    const message = 'Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified';
    errors.push({ reason: 'FieldValueForbidden', field: '', message });
  } else if (sinceSeconds !== undefined && sinceSeconds < 1) {
    errors.push(outOfRange('sinceSeconds', sinceSeconds, 'must be greater than 0'));
  }
  // The emulated containers do not keep the two apart.
  if (stream !== 'All') errors.push(unsupported('stream', stream, ['All']));
  if (errors.length > 0) throw invalid({ group: '', kind: 'PodLogOptions', plural: 'PodLogOptions' }, pod, errors);
  const since = sinceTime === '' ? now - (sinceSeconds ?? 0) * 1000 : Date.parse(sinceTime);
  if (Number.isNaN(since)) throw badRequest(`parsing time ${JSON.stringify(sinceTime)}: it is no RFC 3339 time`);
  const wanted = sinceSeconds !== undefined || sinceTime !== '';
  return {
    follow: isTrue(query.get('follow')),
    previous: isTrue(query.get('previous')),
    timestamps: isTrue(query.get('timestamps')),
    ...(wanted ? { sinceTime: Math.floor(since / 1000) * 1000 } : {}),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
  };
}

function outOfRange(field: string, given: number, rule: string): FieldError {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${given}: ${rule}` };
}

export type StreamSubresource = 'exec' | 'attach' | 'portforward';

export function isStream(subresource: string | undefined): subresource is StreamSubresource {
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
}

export interface StreamCall {
  readonly subresource: StreamSubresource;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly signal: AbortSignal;
}

/** Hands the upgrade to the pod's runtime; throws where there is nothing running to hand it to. */
export function serveStream(runtime: PodRuntime, pod: KubeObject, call: StreamCall): void {
  const { subresource, query } = call;
  const podUid = pod.metadata.uid ?? '';
  const container = subresource === 'portforward' ? undefined : containerOf(pod, query);
  if (text(at(pod, 'spec.nodeName')) === '') throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  const running = runtime.statuses(podUid).filter(({ state }) => state.kind === 'running');
  if (container === undefined) {
    if (running.length === 0) {
      const phase = text(at(pod, 'status.phase'));
      throw badRequest(`unable to forward port because pod is not running. Current status=${phase}`);
    }
  } else if (!running.some(({ name }) => name === container)) {
    const why = `unable to upgrade connection: container not found ("${container}")`;
    throw new ApiError(500, 'InternalError', `Internal error occurred: ${why}`);
  }
  runtime.upgrade({ ...call, podUid, ...(container === undefined ? {} : { container }) });
}

/** The answer to an upgrade that is not made. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const status = statusFor(error);
  const code = status.code ?? 500;
  const body = `${JSON.stringify(status)}\n`;
  // Who is refused may be gone already.
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? 'Error'}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
