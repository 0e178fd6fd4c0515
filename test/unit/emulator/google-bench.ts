import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import * as https from 'node:https';
import type { Duplex } from 'node:stream';
import * as tls from 'node:tls';
import type { Test } from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../../src/base/clock.js';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import type { CallContext, ClusterBackend } from '../../../src/emulator/cluster-backend.js';
import {
  type EmulatedMembership,
  type Emulator,
  type EmulatorOptions,
  startEmulator,
} from '../../../src/emulator/emulator.js';

export const PROJECT = { projectNumber: '123456789012', projectId: 'demo-project' } as const;
export const PROD = `/v1/projects/${PROJECT.projectNumber}/locations/us-central1/gkeMemberships/prod`;
export const EDGE = `/v1/projects/${PROJECT.projectId}/locations/global/memberships/edge-store`;

export interface BackendCall {
  readonly context: CallContext;
  readonly request: IncomingMessage;
  readonly response?: ServerResponse;
}

/** A cluster that tells what it was asked, and whose watches say `line` by `line` what the test wants. */
export class FakeCluster implements ClusterBackend {
  readonly version = 'v1.36.2';
  readonly calls: BackendCall[] = [];
  readonly sockets: WebSocket[] = [];
  closed = false;
  readonly #webSockets = new WebSocketServer({ noServer: true });
  readonly #waiting: ((call: BackendCall) => void)[] = [];

  /** The next call that reaches the cluster. */
  next(): Promise<BackendCall> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  handle(request: IncomingMessage, response: ServerResponse, context: CallContext): void {
    this.#came({ request, response, context });
    if (context.target.includes('watch=true') || context.target.includes('follow=true')) {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.flushHeaders();
      return;
    }
    const body = JSON.stringify({
      gitVersion: this.version,
      target: context.target,
      caller: context.caller,
      headers: request.rawHeaders,
    });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, context: CallContext): void {
    if (context.target.includes('refuse')) {
      socket.end(
        'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}',
      );
      this.#came({ request, context });
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', () => {});
      webSocket.on('message', (data, isBinary) => webSocket.send(data, { binary: isBinary }));
      this.sockets.push(webSocket);
      this.#came({ request, context });
    });
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #came(call: BackendCall): void {
    this.calls.push(call);
    this.#waiting.shift()?.(call);
  }
}

export interface Heard {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly error?: NodeJS.ErrnoException;
}

export class GoogleBench {
  readonly emulator: Emulator;
  readonly cluster: FakeCluster;

  constructor(emulator: Emulator, cluster: FakeCluster) {
    this.emulator = emulator;
    this.cluster = cluster;
  }

  /** Sends one request with dev's token and reads the answer to its end, however it ends. */
  async call(
    target: string,
    o: { method?: string; headers?: OutgoingHttpHeaders; body?: string; token?: string | null } = {},
  ): Promise<Heard> {
    const response = await this.open(target, o);
    const chunks: Buffer[] = [];
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => resolve(undefined));
      response.once('error', resolve);
    });
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: Buffer.concat(chunks).toString(),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** Like `call`, but hands over the answer as soon as its head is there. */
  async open(
    target: string,
    o: { method?: string; headers?: OutgoingHttpHeaders; body?: string; token?: string | null } = {},
  ): Promise<IncomingMessage> {
    const token = o.token === undefined ? this.emulator.accessToken : o.token;
    const request = https.request(`${this.emulator.url}${target}`, {
      method: o.method ?? 'GET',
      ca: this.emulator.caCertificate,
      agent: false,
      servername: 'localhost',
      headers: { ...(token === null ? {} : { Authorization: `Bearer ${token}` }), ...o.headers },
    });
    // Once there is an answer, it tells the error as well.
    request.on('error', () => {});
    request.end(o.body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  }

  async json(target: string, o: Parameters<GoogleBench['call']>[1] = {}): Promise<Record<string, unknown>> {
    return JSON.parse((await this.call(target, o)).body) as Record<string, unknown>;
  }

  webSocket(target: string): WebSocket {
    return new WebSocket(`${this.emulator.url.replace('https', 'wss')}${target}`, ['v5.channel.k8s.io'], {
      ca: this.emulator.caCertificate,
      headers: { Authorization: `Bearer ${this.emulator.accessToken}` },
      perMessageDeflate: false,
    });
  }

  /** Everything that comes back for these bytes, and how the connection ended. */
  async raw(head: readonly string[]): Promise<{ bytes: Buffer; error?: NodeJS.ErrnoException }> {
    const { port } = new URL(this.emulator.url);
    const socket = tls.connect({ host: '127.0.0.1', port: Number(port), ca: this.emulator.caCertificate });
    const chunks: Buffer[] = [];
    const ended = new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.once('error', resolve);
      socket.once('end', () => resolve(undefined));
    });
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    const error = await ended;
    socket.destroy();
    return { bytes: Buffer.concat(chunks), ...(error === undefined ? {} : { error }) };
  }

  /** A WebSocket handshake by hand, so that every byte behind it can be counted. */
  async rawWebSocket(target: string): Promise<{ head: string; bytes: Buffer; error?: NodeJS.ErrnoException }> {
    const { bytes, error } = await this.raw([
      `GET ${target} HTTP/1.1`,
      'Host: x',
      `Authorization: Bearer ${this.emulator.accessToken}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ]);
    const end = bytes.indexOf('\r\n\r\n') + 4;
    const head = bytes.toString('latin1', 0, end);
    return { head, bytes: bytes.subarray(end), ...(error === undefined ? {} : { error }) };
  }
}

export function memberOf(cluster: ClusterBackend, changes: Partial<EmulatedMembership> = {}): EmulatedMembership {
  return {
    ...PROJECT,
    location: 'us-central1',
    id: 'prod',
    kind: 'gke',
    uniqueId: 'u-1',
    backend: cluster,
    ...changes,
  };
}

export async function openGoogleBench(
  t: Test,
  o: { clock?: Clock; limits?: NonNullable<EmulatorOptions['limits']> } = {},
): Promise<GoogleBench> {
  const cluster = new FakeCluster();
  const emulator = await startEmulator({
    memberships: [
      memberOf(cluster),
      memberOf(cluster, { location: 'global', id: 'edge-store', kind: 'attached', uniqueId: 'u-2' }),
      memberOf(cluster, { location: 'europe-west1', id: 'datacenter', kind: 'on-prem', uniqueId: 'u-3' }),
    ],
    clock: o.clock ?? systemClock,
    log: silentLogger,
    ...(o.limits === undefined ? {} : { limits: o.limits }),
  });
  t.teardown(() => emulator.close());
  return new GoogleBench(emulator, cluster);
}
