import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import { sleep } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import { HeaderNames, headerTokens, headerValue, withoutHeaders } from '../../base/flat-headers.js';
import type { Logger } from '../../base/log.js';
import { parseApiRequest } from '../../kubernetes/api-request.js';
import type { Caller } from '../cluster-backend.js';
import { type Answer, answerBytes, headersOf } from './answers.js';
import { afterLag, type Connections } from './connections.js';
import type { DataTarget } from './data-target.js';
import { collectionOf, type EmulatedFleet, type EmulatedMembership } from './emulated-fleet.js';
import { type AnyErrorName, errorAnswer } from './error-catalogue.js';
import { type CutForm, type FaultPlan, type FaultSubject, type Faults, RESETS } from './faults.js';
import type { CuttableResponse } from './metered-response.js';
import type { Quota } from './quota.js';
import type { OpenRecord, RequestLog } from './request-log.js';
import { SplicedSocket } from './spliced-socket.js';
import type { Tokens } from './tokens.js';

/** Google's limit on the headers of a request, the caller's groups included. */
const HEADER_LIMIT_BYTES = 8 * 1024;
const AUTHORIZATION = new HeaderNames(['authorization']);
const METHODS: ReadonlySet<string> = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']);

export interface DataPathParts {
  readonly fleet: EmulatedFleet;
  readonly tokens: Tokens;
  readonly faults: Faults;
  readonly quota: Quota;
  readonly requests: RequestLog;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly log: Logger;
}

type Verdict =
  | { readonly refusal: Answer; readonly plan: FaultPlan; readonly record: OpenRecord }
  | {
      readonly membership: EmulatedMembership;
      readonly caller: Caller;
      readonly subject: FaultSubject;
      readonly plan: FaultPlan;
      readonly record: OpenRecord;
      readonly release: () => void;
    };

/** The gateway proper: what comes for a membership is checked as Google does, and handed to the cluster behind it. */
export class DataPath {
  readonly #parts: DataPathParts;

  constructor(parts: DataPathParts) {
    this.#parts = parts;
  }

  async handle(request: IncomingMessage, response: ServerResponse & CuttableResponse, at: DataTarget): Promise<void> {
    const { clock, faults, connections } = this.#parts;
    const verdict = this.#admit(request, at, 'request');
    const { plan, record } = verdict;
    response.onStatus((status) => {
      record.status = status;
    });
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client is gone'));
    });
    try {
      await pause(clock, plan, gone.signal);
    } catch {
      if ('release' in verdict) verdict.release();
      return;
    }
    if ('refusal' in verdict) {
      request.resume();
      response.writeHead(verdict.refusal.status, headersOf(verdict.refusal)).end(verdict.refusal.body);
      return;
    }
    const cut = (form: CutForm): void => {
      if (response.writableEnded || gone.signal.aborted) return;
      response.cutBody();
      const orderly = form === 'clean-end' || form === 'close-1000' || form === 'close-1001';
      if (!orderly || !response.endAsComplete()) response.break(form, connections);
      gone.abort(new Error(`cut by a fault: ${form}`));
    };
    const forget = faults.register({ subject: verdict.subject, cut });
    const { cut: planned } = plan;
    if (planned?.afterBytes !== undefined) {
      response.limitBody(planned.afterBytes, () => {
        if (RESETS.has(planned.form)) afterLag(clock, () => cut(planned.form));
        else cut(planned.form);
      });
    }
    const cancel = planned?.afterMs === undefined ? undefined : clock.after(planned.afterMs, () => cut(planned.form));
    const done = (): void => {
      cancel?.();
      forget();
      verdict.release();
    };
    response.once('close', done);
    gone.signal.addEventListener('abort', done, { once: true });
    try {
      verdict.membership.backend.handle(request, response, {
        target: at.target,
        caller: verdict.caller,
        signal: gone.signal,
      });
    } catch (error) {
      this.#parts.log.error({ membership: at.membership, reason: describeError(error) }, 'a cluster failed');
      response.destroy();
    }
  }

  async upgrade(request: IncomingMessage, socket: Socket, head: Buffer, at: DataTarget): Promise<void> {
    const { clock, faults, connections, log } = this.#parts;
    const verdict = this.#admit(request, at, 'upgrade');
    const { plan, record } = verdict;
    const gone = new AbortController();
    socket.on('error', () => {});
    socket.once('close', () => gone.abort(new Error('the client is gone')));
    if ('release' in verdict) gone.signal.addEventListener('abort', verdict.release, { once: true });
    try {
      await pause(clock, plan, gone.signal);
    } catch {
      return;
    }
    if ('refusal' in verdict) {
      refuse(socket, verdict.refusal);
      record.status = verdict.refusal.status;
      return;
    }
    const { cut: planned } = plan;
    const spliced = new SplicedSocket({
      socket,
      connections,
      clock,
      rttMs: plan.rttMs,
      form: planned?.form ?? 'reset',
      ...(planned?.afterBytes === undefined ? {} : { cutAfterBytes: planned.afterBytes }),
      onStatus: (status) => {
        record.status = status;
      },
      onCut: () => gone.abort(new Error('cut by a fault')),
    });
    spliced.on('error', () => {});
    const forget = faults.register({ subject: verdict.subject, cut: (form) => spliced.cut(form) });
    const cancel =
      planned?.afterMs === undefined ? undefined : clock.after(planned.afterMs, () => spliced.cut(planned.form));
    gone.signal.addEventListener(
      'abort',
      () => {
        cancel?.();
        forget();
      },
      { once: true },
    );
    try {
      verdict.membership.backend.upgrade(request, spliced, head, {
        target: at.target,
        caller: verdict.caller,
        signal: gone.signal,
      });
    } catch (error) {
      log.error({ membership: at.membership, reason: describeError(error) }, 'a cluster failed');
      socket.destroy();
    }
  }

  /** The checks in the order in which Google's layers make them: front end, identity, quota, then the gateway. */
  #admit(request: IncomingMessage, at: DataTarget, kind: 'request' | 'upgrade'): Verdict {
    const { fleet, tokens, faults, quota, requests, clock } = this.#parts;
    const { method = 'GET', url = '/', rawHeaders } = request;
    const membership = fleet.find(at.project, at.location, at.membership);
    const record = requests.add({
      method,
      target: url,
      rawHeaders: [...rawHeaders],
      kind,
      at: clock.now(),
      ...(membership === undefined ? {} : { membership: membership.id }),
    });
    const api = parseApiRequest(at.target).kind;
    const streams = kind === 'request' && (api === 'watch' || api === 'log-follow');
    const subject: FaultSubject = { kind, streams, membership: at.membership };
    const plan = faults.plan(subject);
    const caller = tokens.callerOf(headerValue(rawHeaders, 'authorization'));
    const project = fleet.project(at.project);
    const refused = (name: AnyErrorName, permission?: string): Verdict => {
      const context = {
        ...(permission === undefined ? {} : { permission }),
        projectNumber: project?.number ?? at.project,
        projectId: project?.id ?? at.project,
        location: at.location,
        membership: at.membership,
        user: caller?.user ?? 'unknown',
        target: url,
      };
      return { refusal: errorAnswer(name, context), plan, record };
    };
    const size = headerBytes(rawHeaders);
    if (size > HEADER_LIMIT_BYTES) return refused('headers-too-large');
    if (!METHODS.has(method)) return refused('not-found-page');
    // The front end knows WebSocket only, and refuses before it looks at who asks.
    if (kind === 'upgrade' && !isWebSocket(request)) {
      return refused(plan.answer === 'spdy-refused-400' ? plan.answer : 'spdy-refused');
    }
    if (caller === undefined || plan.tokenExpired) return refused('unauthenticated');
    if (project !== undefined && !quota.takeRequest(project.number)) return refused('request-quota');
    const permission = `gkehub.gateway.${kind === 'upgrade' ? 'stream' : method.toLowerCase()}`;
    if (plan.deniedPermissions.includes(permission)) {
      return kind === 'upgrade'
        ? refused('stream-permission-denied')
        : refused('gateway-permission-denied', permission);
    }
    if (plan.answer !== undefined) return refused(plan.answer);
    if (membership === undefined) return refused('membership-not-found');
    if (at.collection !== collectionOf(membership)) return refused('wrong-collection');
    if (size + Buffer.byteLength(caller.groups.join(',')) > HEADER_LIMIT_BYTES) return refused('groups-too-large');
    // Google documents the quota beside exec, attach, cp and port-forward, and does not say that watches count.
    const release = kind === 'upgrade' ? quota.takeStream(membership.projectNumber) : () => {};
    if (release === undefined) return refused('stream-quota');
    stripAuthorization(request);
    return { membership, caller, subject, plan, record, release };
  }
}

/** What the faults ask to wait for. Without one nothing is waited for, not even a timer of no length. */
export async function pause(clock: Clock, plan: FaultPlan, signal: AbortSignal): Promise<void> {
  const ms = plan.rttMs + plan.slowHeadersMs;
  if (ms > 0) await sleep(clock, ms, signal);
}

function headerBytes(rawHeaders: readonly string[]): number {
  // ": " or CR LF after each part.
  return rawHeaders.reduce((sum, part) => sum + Buffer.byteLength(part, 'latin1') + 2, 0);
}

function isWebSocket(request: IncomingMessage): boolean {
  const protocols = headerTokens(request.rawHeaders, 'upgrade');
  return request.method === 'GET' && protocols.length === 1 && protocols[0]?.toLowerCase() === 'websocket';
}

/** Google's credential ends at the gateway; what else the client sent goes on as it stands. */
function stripAuthorization(request: IncomingMessage): void {
  delete request.headers.authorization;
  request.rawHeaders = withoutHeaders(request.rawHeaders, AUTHORIZATION);
}

export function refuse(socket: Duplex, answer: Answer): void {
  socket.on('error', () => {});
  socket.end(answerBytes(answer));
  socket.resume();
}
