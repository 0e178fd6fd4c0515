import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import * as https from 'node:https';
import type * as tls from 'node:tls';
import { WebSocket } from 'ws';
import { parse } from 'yaml';

export interface PlainAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A client of one context of a daemon's kubeconfig, for tests that look at bytes. */
export class DaemonClient {
  readonly #url: URL;
  readonly #ca: Buffer;
  readonly #token: string;

  constructor(kubeconfig: string, context: string) {
    const { clusters, users } = parse(readFileSync(kubeconfig, 'utf8')) as {
      clusters: { name: string; cluster: { server: string; 'certificate-authority-data': string } }[];
      users: { name: string; user: { token: string } }[];
    };
    const cluster = clusters.find(({ name }) => name === context)?.cluster;
    const user = users.find(({ name }) => name === context)?.user;
    if (cluster === undefined || user === undefined) throw new Error(`no context ${context}`);
    this.#url = new URL(cluster.server);
    this.#ca = Buffer.from(cluster['certificate-authority-data'], 'base64');
    this.#token = user.token;
  }

  request(
    target: string,
    o: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
    at: Pick<URL, 'hostname' | 'port'> = this.#url,
  ): Promise<PlainAnswer> {
    return new Promise((resolve, reject) => {
      const request = this.#request(target, { ...o, at }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      });
      request.on('error', reject);
      request.end(o.body === undefined ? undefined : JSON.stringify(o.body));
    });
  }

  /** A body that goes on; it is read line by line. */
  async stream(target: string): Promise<LineReader> {
    const request = this.#request(target, {}, () => {});
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new LineReader(response);
  }

  webSocket(target: string, protocol = 'v5.channel.k8s.io'): WebSocket {
    const socket = new WebSocket(`wss://${this.#url.host}${target}`, [protocol], {
      ca: this.#ca,
      headers: { authorization: `Bearer ${this.#token}` },
      perMessageDeflate: false,
    });
    socket.on('error', () => {});
    return socket;
  }

  /** What a WebSocket upgrade is refused with. */
  async refusedWebSocket(target: string): Promise<PlainAnswer> {
    const socket = this.webSocket(target);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    let body = '';
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode ?? 0, headers: response.headers, body };
  }

  /** What a bare `Upgrade: SPDY/3.1` is refused with, as kubectl below 1.30 sends it. */
  refusedSpdy(target: string): Promise<PlainAnswer> {
    return new Promise((resolve, reject) => {
      const request = this.#request(
        target,
        {
          method: 'POST',
          headers: {
            Connection: 'Upgrade',
            Upgrade: 'SPDY/3.1',
            'X-Stream-Protocol-Version': 'v4.channel.k8s.io',
          },
        },
        (response) => {
          let body = '';
          response.on('data', (chunk: Buffer) => {
            body += chunk.toString();
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
        },
      );
      request.on('upgrade', (_response, socket: tls.TLSSocket) => {
        socket.destroy();
        reject(new Error('the upgrade was not refused'));
      });
      request.on('error', reject);
      request.end();
    });
  }

  /** Asks the daemon's own hub with the membership's token. */
  askHub(hubUrl: string, target: string, method: string): Promise<PlainAnswer> {
    const { hostname, port } = new URL(hubUrl);
    return this.request(target, { method, headers: {} }, { hostname, port });
  }

  #request(
    target: string,
    o: { method?: string; body?: unknown; headers?: Record<string, string>; at?: Pick<URL, 'hostname' | 'port'> },
    onResponse: (response: IncomingMessage) => void,
  ): ReturnType<typeof https.request> {
    const { hostname, port } = o.at ?? this.#url;
    return https.request(
      {
        host: hostname,
        port,
        path: target,
        method: o.method ?? 'GET',
        ca: this.#ca,
        agent: false,
        headers: {
          Authorization: `Bearer ${this.#token}`,
          ...(o.body === undefined
            ? {}
            : { 'Content-Type': o.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' }),
          ...o.headers,
        },
      },
      onResponse,
    );
  }
}

/** Lines of a body that goes on, taken one by one; `ended` is how the body ended. */
export class LineReader {
  readonly response: IncomingMessage;
  ended: 'complete' | 'broken' | undefined;
  #text = '';
  #wake = (): void => {};

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    const end = (how: 'complete' | 'broken'): void => {
      this.ended ??= how;
      this.#wake();
    };
    response.on('data', (chunk: string) => {
      this.#text += chunk;
      this.#wake();
    });
    response.on('end', () => end('complete'));
    response.on('error', () => end('broken'));
  }

  /** Undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const at = this.#text.indexOf('\n');
      if (at !== -1) {
        const line = this.#text.slice(0, at);
        this.#text = this.#text.slice(at + 1);
        return line;
      }
      if (this.ended !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  leave(): void {
    this.response.destroy();
  }
}
