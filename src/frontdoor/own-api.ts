import type { IncomingMessage, ServerResponse } from 'node:http';
import { CodedError } from '../base/errors.js';
import { failureStatus } from '../kubernetes/status.js';

/** What the daemon's own API asks of the daemon. */
export interface OwnApiSource {
  /** Whether the process is up, has started, and takes new work. */
  readonly health: { live(): boolean; started(): boolean; ready(): boolean };
  /** JSON of GET /-/memberships. */
  memberships(): unknown;
  /** JSON of POST /-/reload: what the refresh of the fleet found. */
  reload(): Promise<unknown>;
  /** JSON of GET /-/sessions: the live ones, those that wait in their containers, and the last ended ones. */
  sessions(): Promise<unknown>;
  /** POST /-/sessions/ID/kill: false where no live session has this id. */
  killSession(id: string): boolean;
  /** JSON of GET /-/quota: what the fleet host projects use of their quotas now. */
  quota(): unknown;
  /** JSON of GET /-/settings: what is in force, and the environment that counts. */
  settings(): unknown;
  /** GET /-/events: calls the listener for every event until the answered function is called. */
  onSessionEvent(listener: (event: { readonly type: string }) => void): () => void;
  /** GET /-/metrics, in Prometheus' text format. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** POST /-/shutdown: returns at once, the drain goes on behind. */
  shutdown(): void;
}

interface OwnRoute {
  readonly method: 'GET' | 'POST';
  /** Who may call it: anybody, or only who has the hub's own token. Otherwise any local token will do. */
  readonly access?: 'open' | 'hub';
  handle(source: OwnApiSource, response: ServerResponse, id: string): Promise<OwnResult> | OwnResult | 'answered';
}

interface OwnResult {
  readonly status: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly contentType?: string;
}

/** The daemon's API in one table. */
const ROUTES: Readonly<Record<string, OwnRoute>> = {
  '/-/livez': { method: 'GET', access: 'open', handle: (source) => probe(source.health.live()) },
  '/-/readyz': { method: 'GET', access: 'open', handle: (source) => probe(source.health.ready()) },
  '/-/startupz': { method: 'GET', access: 'open', handle: (source) => probe(source.health.started()) },
  '/-/memberships': { method: 'GET', handle: (source) => ({ status: 200, json: source.memberships() }) },
  '/-/sessions': { method: 'GET', handle: async (source) => ({ status: 200, json: await source.sessions() }) },
  '/-/sessions/{id}/kill': {
    method: 'POST',
    access: 'hub',
    handle: (source, _response, id) =>
      source.killSession(id)
        ? { status: 200, json: { killed: id } }
        : status(404, 'NotFound', `connect-gateway-proxy has no live session ${id}`),
  },
  '/-/sessions/{id}/rejoin': {
    method: 'GET',
    access: 'hub',
    handle: () => status(426, 'UpgradeRequired', 'a session is rejoined over WebSocket, as connect-gateway-proxy does'),
  },
  '/-/quota': { method: 'GET', handle: (source) => ({ status: 200, json: { projects: source.quota() } }) },
  '/-/settings': { method: 'GET', access: 'hub', handle: (source) => ({ status: 200, json: source.settings() }) },
  '/-/metrics': {
    method: 'GET',
    access: 'hub',
    handle: async (source) => ({ status: 200, ...(await source.metrics()) }),
  },
  '/-/events': { method: 'GET', handle: serveEvents },
  '/-/reload': {
    method: 'POST',
    access: 'hub',
    handle: async (source) => ({ status: 200, json: await source.reload() }),
  },
  '/-/shutdown': {
    method: 'POST',
    access: 'hub',
    handle: (source) => {
      source.shutdown();
      return { status: 202, json: { draining: true } };
    },
  },
};

const OF_A_SESSION = /^\/-\/sessions\/([A-Za-z0-9_-]{1,64})\/(kill|rejoin)$/;

function routeOf(path: string): { route: OwnRoute | undefined; id: string } {
  const [, id = '', action] = OF_A_SESSION.exec(path) ?? [];
  if (action !== undefined) return { route: ROUTES[`/-/sessions/{id}/${action}`], id };
  return { route: path.includes('{') ? undefined : ROUTES[path], id: '' };
}

/** The session that an upgrade wants to rejoin. Throws a CodedError (400) for any other upgrade of the daemon's own API. */
export function rejoinedSession(path: string): string {
  const [, id, action] = OF_A_SESSION.exec(path) ?? [];
  if (id !== undefined && action === 'rejoin') return id;
  throw new CodedError({
    code: 'upgrade-unsupported',
    message: 'connect-gateway-proxy: its own API has nothing to upgrade to there',
    answer: { status: 400, reason: 'BadRequest' },
  });
}

export function noHeldSession(id: string): CodedError {
  return new CodedError({
    code: 'held-session-unknown',
    message: `connect-gateway-proxy: no session ${id} waits in a container (connect-gateway-proxy sessions lists those that do)`,
    answer: { status: 404, reason: 'NotFound' },
  });
}

/** Probes are answered without a credential. */
export function accessTo(path: string): 'open' | 'hub' | 'any token' {
  return routeOf(path).route?.access ?? 'any token';
}

export async function serveOwnApi(
  source: OwnApiSource,
  call: { path: string; request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  const { path, request, response } = call;
  const { route, id } = routeOf(path);
  if (route === undefined) {
    const known = Object.keys(ROUTES).join(', ');
    send(response, status(404, 'NotFound', `connect-gateway-proxy has no ${path}; it serves ${known}`));
    return;
  }
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  if (method !== route.method) {
    response.setHeader('Allow', route.method);
    send(response, status(405, 'MethodNotAllowed', `${path} takes ${route.method}`));
    return;
  }
  const result = await route.handle(source, response, id);
  if (result !== 'answered') send(response, result);
}

/** Server-sent events, one for every session that starts, goes on after a cut, or ends. */
function serveEvents(source: OwnApiSource, response: ServerResponse): 'answered' {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.flushHeaders();
  const stop = source.onSessionEvent((event) => {
    const text = `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    // A listener that does not read must not make us keep what it misses.
    if (!response.writableNeedDrain) response.write(text);
  });
  response.on('close', stop);
  return 'answered';
}

function probe(ok: boolean): OwnResult {
  return { status: ok ? 200 : 503, text: ok ? 'ok\n' : 'not ready\n' };
}

function status(code: number, reason: string, message: string): OwnResult {
  return { status: code, json: failureStatus({ code, reason, message }) };
}

function send(response: ServerResponse, result: OwnResult): void {
  const body = result.text ?? `${JSON.stringify(result.json, null, 2)}\n`;
  response.writeHead(result.status, {
    'Content-Type':
      result.contentType ?? (result.text === undefined ? 'application/json' : 'text/plain; charset=utf-8'),
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}
