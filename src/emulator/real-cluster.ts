import { readFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage, RequestOptions, ServerResponse } from 'node:http';
import * as http from 'node:http';
import * as https from 'node:https';
import { dirname, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { parse } from 'yaml';
import { describeError, UsageError } from '../base/errors.js';
import { type FlatHeaders, HeaderNames, withoutHeaders } from '../base/flat-headers.js';
import { failureStatus } from '../kubernetes/status.js';
import type { CallContext, ClusterBackend } from './cluster-backend.js';

/** Hop-by-hop, and Host, which is the real cluster's. */
const NOT_FORWARDED = new HeaderNames([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'trailer',
  // The body is read, and so asked for, in any case.
  'expect',
]);
const CHUNKED = ['Transfer-Encoding', 'chunked'];
const VERSION_DEADLINE_MS = 10_000;

/** How a kubeconfig context is reached. */
export interface ClusterAccess {
  readonly server: URL;
  readonly tls: https.AgentOptions;
  /** Read for every call, because a token file may be renewed. */
  token(): string | undefined;
}

/** A real Kubernetes behind the emulated gateway. Rejects when the kubeconfig is unusable or the cluster does not answer. */
export async function createRealCluster(options: { kubeconfig: string; context?: string }): Promise<ClusterBackend> {
  const access = readClusterAccess(options);
  const cluster = new RealCluster(access);
  return await cluster.learnVersion();
}

class RealCluster implements ClusterBackend {
  readonly #access: ClusterAccess;
  readonly #agent: http.Agent;
  #version = '';

  constructor(access: ClusterAccess) {
    this.#access = access;
    this.#agent =
      access.server.protocol === 'https:' ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  }

  get version(): string {
    return this.#version;
  }

  async learnVersion(): Promise<this> {
    const { server } = this.#access;
    try {
      const text = await new Promise<string>((done, fail) => {
        const request = this.#request({ method: 'GET', target: '/version', headers: [], agent: this.#agent });
        request.setTimeout(VERSION_DEADLINE_MS, () => request.destroy(new Error('no answer within 10 s')));
        request.once('error', fail);
        request.once('response', (response) => {
          response.setEncoding('utf8');
          let body = '';
          response.on('data', (chunk: string) => {
            body += chunk;
          });
          response.once('error', fail);
          response.once('end', () => {
            if (response.statusCode === 200) done(body);
            else fail(new Error(`HTTP ${response.statusCode}`));
          });
        });
        request.end();
      });
      const { gitVersion } = JSON.parse(text) as { gitVersion?: unknown };
      if (typeof gitVersion !== 'string') throw new Error('its /version has no gitVersion');
      this.#version = gitVersion;
    } catch (error) {
      throw new UsageError(`the cluster at ${server.origin} does not tell its version: ${describeError(error)}`, {
        code: 'cluster-unreachable',
        cause: error,
      });
    }
    return this;
  }

  handle(request: IncomingMessage, response: ServerResponse, context: CallContext): void {
    // Node frames the body of a DELETE or a GET only when it is told how.
    const framing = request.headers['transfer-encoding'] === undefined ? [] : CHUNKED;
    const upstream = this.#request({
      method: request.method ?? 'GET',
      target: context.target,
      headers: [...withoutHeaders(request.rawHeaders, NOT_FORWARDED), ...framing],
      agent: this.#agent,
    });
    const abort = (): void => void upstream.destroy(new Error('the client is gone'));
    context.signal.addEventListener('abort', abort, { once: true });
    upstream.once('error', (error) => failResponse(response, error));
    upstream.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, toHeaderList(withoutHeaders(answer.rawHeaders, NOT_FORWARDED)));
      // An empty watch has to deliver its head at once.
      response.flushHeaders();
      pipeline(answer, response, () => context.signal.removeEventListener('abort', abort));
    });
    pipeline(request, upstream, () => {});
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, context: CallContext): void {
    const upstream = this.#request({
      method: request.method ?? 'GET',
      target: context.target,
      headers: [...withoutHeaders(request.rawHeaders, NOT_FORWARDED), 'Connection', 'Upgrade'],
      agent: false,
    });
    const abort = (): void => void upstream.destroy(new Error('the client is gone'));
    context.signal.addEventListener('abort', abort, { once: true });
    upstream.once('error', (error) => {
      if (socket.writable) socket.end(rawAnswer(502, [], statusBody(error)));
    });
    upstream.once('upgrade', (answer, other, otherHead) => {
      context.signal.addEventListener('abort', () => other.destroy(), { once: true });
      socket.write(rawHead(answer.statusCode ?? 101, answer.rawHeaders));
      if (otherHead.length > 0) socket.write(otherHead);
      if (head.length > 0) other.write(head);
      pipeline(other, socket, () => {});
      pipeline(socket, other, () => {});
    });
    upstream.once('response', (answer) => {
      const headers = withoutHeaders(answer.rawHeaders, NOT_FORWARDED);
      socket.write(rawHead(answer.statusCode ?? 502, [...headers, 'Connection', 'close']));
      pipeline(answer, socket, () => {});
    });
    upstream.end();
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #request(o: { method: string; target: string; headers: FlatHeaders; agent: http.Agent | false }): ClientRequest {
    const { server, tls } = this.#access;
    const token = this.#access.token();
    const secure = server.protocol === 'https:';
    const settings: RequestOptions = {
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port === '' ? (secure ? 443 : 80) : server.port,
      method: o.method,
      path: `${server.pathname.replace(/\/+$/, '')}${o.target}`,
      headers: toHeaderList([
        'Host',
        server.host,
        ...o.headers,
        ...(token === undefined ? [] : ['Authorization', `Bearer ${token}`]),
      ]),
      agent: o.agent,
    };
    return secure ? https.request({ ...settings, ...tls }) : http.request(settings);
  }
}

/** Reads one context of a kubeconfig file. Throws UsageError that says what in it cannot be used. */
export function readClusterAccess(o: { kubeconfig: string; context?: string }): ClusterAccess {
  const file = resolve(o.kubeconfig);
  const fail = (problem: string, cause?: unknown): UsageError =>
    new UsageError(`${file}: ${problem}`, { code: 'kubeconfig-unusable', ...(cause === undefined ? {} : { cause }) });
  let config: Fields;
  try {
    config = fields(parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw fail(`cannot be read: ${describeError(error)}`, error);
  }
  const named = (list: string, name: unknown, part: string): Fields => {
    const entries = Array.isArray(config[list]) ? config[list].map(fields) : [];
    const found = entries.find((entry) => entry['name'] === name);
    if (found !== undefined) return fields(found[part]);
    const known = entries.map((entry) => String(entry['name'])).join(', ');
    throw fail(`has no ${part} ${JSON.stringify(name)}; it has: ${known || 'none'}`);
  };
  const context = named('contexts', o.context ?? config['current-context'], 'context');
  const cluster = named('clusters', context['cluster'], 'cluster');
  const user = context['user'] === undefined ? {} : named('users', context['user'], 'user');
  for (const key of ['exec', 'auth-provider', 'username']) {
    if (user[key] !== undefined) {
      throw fail(
        `user ${JSON.stringify(context['user'])} needs "${key}", which the emulator does not use; name a context with a client certificate or a token`,
      );
    }
  }
  const server = String(cluster['server'] ?? '');
  if (!URL.canParse(server) || !/^https?:/.test(server))
    throw fail(`the cluster's server ${JSON.stringify(server)} is no URL`);
  const content = (from: Fields, key: string): Buffer | undefined => {
    const data = from[`${key}-data`];
    if (typeof data === 'string' && data !== '') return Buffer.from(data, 'base64');
    const path = from[key];
    if (typeof path !== 'string' || path === '') return undefined;
    try {
      return readFileSync(resolve(dirname(file), path));
    } catch (error) {
      throw fail(`"${key}" cannot be read: ${describeError(error)}`, error);
    }
  };
  const ca = content(cluster, 'certificate-authority');
  const cert = content(user, 'client-certificate');
  const key = content(user, 'client-key');
  const servername = cluster['tls-server-name'];
  const tokenFile = user['tokenFile'];
  const { token } = user;
  return {
    server: new URL(server),
    tls: {
      ALPNProtocols: ['http/1.1'],
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(typeof servername === 'string' ? { servername } : {}),
      ...(cluster['insecure-skip-tls-verify'] === true ? { rejectUnauthorized: false } : {}),
    },
    token() {
      if (typeof tokenFile === 'string') return readFileSync(resolve(dirname(file), tokenFile), 'utf8').trim();
      return typeof token === 'string' && token !== '' ? token : undefined;
    },
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

/** Node sends a flat list as it stands, repeats and case kept; its types know only the nested form. */
function toHeaderList(headers: FlatHeaders): http.OutgoingHttpHeaders {
  return headers as unknown as http.OutgoingHttpHeaders;
}

function failResponse(response: ServerResponse, error: Error): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = statusBody(error);
  response.writeHead(502, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }).end(body);
}

function statusBody(error: Error): string {
  const message = `the emulated gateway does not reach the real cluster: ${describeError(error)}`;
  return JSON.stringify(failureStatus({ code: 502, reason: 'BadGateway', message }));
}

function rawHead(status: number, headers: FlatHeaders): string {
  const lines = [`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? 'Unknown'}`];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function rawAnswer(status: number, headers: FlatHeaders, body: string): string {
  const own = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))];
  return rawHead(status, [...headers, ...own, 'Connection', 'close']) + body;
}
