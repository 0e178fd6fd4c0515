import type { IncomingMessage, ServerResponse } from 'node:http';
import { failureStatus } from '../kubernetes/status.js';

/** What the daemon's own API asks of the daemon. */
export interface OwnApiSource {
  /** Whether the process is up, has started, and takes new work. */
  readonly health: { live(): boolean; started(): boolean; ready(): boolean };
  /** JSON of GET /-/memberships. */
  memberships(): unknown;
  /** JSON of POST /-/reload: what the refresh of the fleet found. */
  reload(): Promise<unknown>;
  /** POST /-/shutdown: returns at once, the drain goes on behind. */
  shutdown(): void;
}

interface OwnRoute {
  readonly method: 'GET' | 'POST';
  readonly open?: true;
  handle(source: OwnApiSource): Promise<OwnResult> | OwnResult;
}

interface OwnResult {
  readonly status: number;
  readonly json?: unknown;
  readonly text?: string;
}

/** The daemon's API in one table. */
const ROUTES: Readonly<Record<string, OwnRoute>> = {
  '/-/livez': { method: 'GET', open: true, handle: (source) => probe(source.health.live()) },
  '/-/readyz': { method: 'GET', open: true, handle: (source) => probe(source.health.ready()) },
  '/-/startupz': { method: 'GET', open: true, handle: (source) => probe(source.health.started()) },
  '/-/memberships': { method: 'GET', handle: (source) => ({ status: 200, json: source.memberships() }) },
  '/-/reload': { method: 'POST', handle: async (source) => ({ status: 200, json: await source.reload() }) },
  '/-/shutdown': {
    method: 'POST',
    handle: (source) => {
      source.shutdown();
      return { status: 202, json: { draining: true } };
    },
  },
};

/** Probes are answered without a credential. */
export function isOpenPath(path: string): boolean {
  return ROUTES[path]?.open === true;
}

export async function serveOwnApi(
  source: OwnApiSource,
  call: { path: string; request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  const { path, request, response } = call;
  const route = ROUTES[path];
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
  send(response, await route.handle(source));
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
    'Content-Type': result.text === undefined ? 'application/json' : 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}
