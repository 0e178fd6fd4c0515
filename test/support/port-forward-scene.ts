import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import { SpdySession } from '../../src/spdy/session.js';
import type { SpdyStream } from '../../src/spdy/stream.js';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor, type TestFrontDoorOptions } from './front-door.js';

export const TUNNEL = 'SPDY/3.1+portforward.k8s.io';
export const PORT_FORWARD = '/api/v1/namespaces/default/pods/box/portforward';

/** Things that come in order and are waited for. */
class Arrivals<T> {
  readonly #items: T[] = [];
  readonly #wakers = new Set<() => void>();

  get waiting(): number {
    return this.#items.length;
  }

  add(item: T): void {
    this.#items.push(item);
    for (const wake of this.#wakers) wake();
  }

  async next(): Promise<T> {
    for (;;) {
      if (this.#items.length > 0) return this.#items.shift() as T;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
  }
}

/** What one end of a stream has seen. */
export class Recorder {
  readonly stream: SpdyStream;
  text = '';
  bytes = 0;
  /** Set: nothing more is taken. */
  blocked = false;
  end: 'open' | 'fin' | 'reset' = 'open';
  resetStatus: number | undefined;
  drains = 0;
  #wakers = new Set<() => void>();

  constructor(stream: SpdyStream, onReply: () => void = () => {}) {
    this.stream = stream;
    stream.consume({
      onData: (chunk) => {
        this.bytes += chunk.length;
        if (this.bytes < 1024 * 1024) this.text += chunk.toString('latin1');
        this.#wake();
        return !this.blocked;
      },
      onEnd: () => {
        this.end = 'fin';
        this.#wake();
      },
      onReset: (status) => {
        this.end = 'reset';
        this.resetStatus = status;
        this.#wake();
      },
      onDrain: () => {
        this.drains++;
        this.#wake();
      },
      onReply,
    });
  }

  say(text: string): boolean {
    return this.stream.write(Buffer.from(text, 'latin1'));
  }

  async until(done: (self: this) => boolean): Promise<this> {
    while (!done(this)) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
    return this;
  }

  hears(text: string): Promise<this> {
    return this.until((self) => self.text.includes(text));
  }

  ended(): Promise<this> {
    return this.until((self) => self.end !== 'open');
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }
}

/** Ways in which a gateway ends a tunnel; each may come in the middle of a frame. */
export const TUNNEL_CUTS = {
  'a TCP reset': (pod) => pod.socket.resetAndDestroy(),
  'a FIN': (pod) => void pod.socket.end(),
  'close 1000': (pod) => pod.webSocket.close(1000),
  'close 1001': (pod) => pod.webSocket.close(1001, 'going away'),
  'close 1006': (pod) => void pod.socket.destroy(),
  'close 1011': (pod) => pod.webSocket.close(1011, 'agent gone'),
  'a close without a code': (pod) => pod.webSocket.close(),
} as const satisfies Record<string, (pod: PodEnd) => void>;

export type TunnelCut = keyof typeof TUNNEL_CUTS;

export interface PodConnection {
  readonly port: string;
  readonly requestId: string;
  readonly data: Recorder;
  readonly error: Recorder;
}

/** The cluster's end of one tunnel. */
export class PodEnd {
  readonly webSocket: WebSocket;
  readonly socket: Socket;
  readonly session: SpdySession;
  readonly closed: Promise<number>;
  readonly connections = new Arrivals<PodConnection>();

  constructor(webSocket: WebSocket, socket: Socket) {
    this.webSocket = webSocket;
    this.socket = socket;
    webSocket.on('error', () => {});
    this.closed = once(webSocket, 'close').then(([code]) => code as number);
    const halves = new Map<string, { data?: SpdyStream; error?: SpdyStream }>();
    this.session = new SpdySession({
      role: 'server',
      write: (frame) => {
        webSocket.send(Buffer.concat(frame), () => this.session.transportDrained());
        return webSocket.bufferedAmount < 1024 * 1024;
      },
      pause: () => webSocket.pause(),
      resume: () => webSocket.resume(),
      onStream: (stream) => {
        const requestId = stream.header('requestid') ?? '';
        const pair = halves.get(requestId) ?? {};
        halves.set(requestId, pair);
        pair[stream.header('streamtype') as 'data' | 'error'] = stream;
        stream.accept();
        if (pair.data === undefined || pair.error === undefined) return;
        this.connections.add({
          requestId,
          port: stream.header('port') ?? '',
          data: new Recorder(pair.data),
          error: new Recorder(pair.error),
        });
      },
    });
    webSocket.on('message', (data) => this.session.receive(data as Buffer));
    webSocket.on('close', () => this.session.end());
  }

  connection(): Promise<PodConnection> {
    return this.connections.next();
  }

  /** `inMidFrame`: after a part of a SPDY frame, or of a message, that is never completed. */
  cut(form: TunnelCut, o: { inMidFrame?: boolean } = {}): void {
    if (o.inMidFrame !== true) TUNNEL_CUTS[form](this);
    else if (form.includes('TCP') || form.includes('FIN') || form.includes('1006')) {
      // A message of 100 bytes is announced, 5 of a data frame come.
      this.socket.write(Buffer.from([0x82, 100, 0, 0, 0, 3, 0]), () => TUNNEL_CUTS[form](this));
    } else {
      this.webSocket.send(Buffer.from([0, 0, 0, 3, 0, 0, 9, 9, 1]), () => TUNNEL_CUTS[form](this));
    }
  }
}

export interface TunnelKnock {
  readonly request: IncomingMessage;
  accept(): PodEnd;
  /** Answers a refusal with a Status, or ends the connection when there is none. */
  refuse(code?: number, reason?: string): void;
}

/** A gateway of the test's own with a pod behind it. */
export class PortForwardScene {
  readonly at: TestFrontDoor;
  /** What a look at the pod answers. */
  pod: { code?: number; status?: { phase: string } } & Record<string, unknown> = { status: { phase: 'Running' } };
  readonly knocks = new Arrivals<TunnelKnock>();

  private constructor(at: TestFrontDoor) {
    this.at = at;
    const acceptor = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    acceptor.on('headers', (headers: string[]) => headers.push(`Sec-WebSocket-Protocol: ${TUNNEL}`));
    at.gateway.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.knocks.add({
        request,
        accept: () => {
          delete request.headers['sec-websocket-protocol'];
          let end: PodEnd | undefined;
          acceptor.handleUpgrade(request, socket, head, (accepted) => {
            end = new PodEnd(accepted, socket as Socket);
          });
          return end as PodEnd;
        },
        refuse: (code, reason = '') => {
          if (code === undefined) {
            socket.destroy();
            return;
          }
          const body = JSON.stringify({
            kind: 'Status',
            apiVersion: 'v1',
            status: 'Failure',
            code,
            reason,
            message: `the cluster says ${code}`,
          });
          socket.end(
            `HTTP/1.1 ${code} No\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
          );
        },
      });
    });
    at.gateway.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const isPod = request.url === `${GATEWAY_PREFIX}/api/v1/namespaces/default/pods/box`;
      const { code = 200 } = this.pod;
      response.writeHead(isPod ? code : 500, { 'Content-Type': 'application/json' }).end(JSON.stringify(this.pod));
    });
  }

  static async open(options: TestFrontDoorOptions = {}): Promise<PortForwardScene> {
    return new PortForwardScene(await openTestFrontDoor(options));
  }

  knock(): Promise<TunnelKnock> {
    return this.knocks.next();
  }

  async podEnd(): Promise<PodEnd> {
    return (await this.knock()).accept();
  }

  /** kubectl from 1.31 on. */
  async webSocketClient(headers: Record<string, string> = {}): Promise<SpdyClientEnd> {
    const client = this.dialWebSocket(headers);
    await once(client, 'open');
    return SpdyClientEnd.overWebSocket(client);
  }

  dialWebSocket(headers: Record<string, string> = {}, query = ''): WebSocket {
    const client = new WebSocket(`wss://127.0.0.1:${this.at.port}${PORT_FORWARD}${query}`, [], {
      ca: this.at.ca,
      headers: { authorization: `Bearer ${this.at.localToken}`, 'Sec-WebSocket-Protocol': TUNNEL, ...headers },
      perMessageDeflate: false,
    });
    client.on('error', () => {});
    client.once('upgrade', (response) => delete response.headers['sec-websocket-protocol']);
    return client;
  }

  /** kubectl up to 1.30. */
  async spdyClient(headers: readonly string[] = ['X-Stream-Protocol-Version: portforward.k8s.io']): Promise<{
    answer: string;
    client: SpdyClientEnd;
  }> {
    const socket = await this.at.connect();
    socket.write(
      [
        `POST ${PORT_FORWARD} HTTP/1.1`,
        `Host: 127.0.0.1:${this.at.port}`,
        `Authorization: Bearer ${this.at.localToken}`,
        'Content-Length: 0',
        'Connection: Upgrade',
        'Upgrade: SPDY/3.1',
        ...headers,
        '',
        '',
      ].join('\r\n'),
    );
    let answer = '';
    while (!answer.includes('\r\n\r\n')) answer += ((await once(socket, 'data')) as [Buffer])[0].toString('latin1');
    return { answer, client: SpdyClientEnd.overSocket(socket) };
  }
}

/** A client that forwards ports over SPDY. */
export class SpdyClientEnd {
  readonly session: SpdySession;
  readonly closed: Promise<unknown>;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly leave: () => void;
  #requestId = 0;

  private constructor(o: {
    write: (bytes: Uint8Array) => boolean;
    pause: () => void;
    resume: () => void;
    leave: () => void;
    closed: Promise<unknown>;
  }) {
    this.closed = o.closed;
    this.pause = o.pause;
    this.resume = o.resume;
    this.leave = o.leave;
    this.session = new SpdySession({
      role: 'client',
      write: (frame) => o.write(Buffer.concat(frame)),
      pause: o.pause,
      resume: o.resume,
    });
  }

  static overWebSocket(socket: WebSocket): SpdyClientEnd {
    const end: SpdyClientEnd = new SpdyClientEnd({
      write: (bytes) => {
        socket.send(bytes, () => end.session.transportDrained());
        return socket.bufferedAmount < 1024 * 1024;
      },
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      leave: () => socket.close(1000),
      closed: once(socket, 'close').then(([code]) => code),
    });
    socket.on('message', (data) => end.session.receive(data as Buffer));
    socket.on('close', () => end.session.end());
    return end;
  }

  static overSocket(socket: TLSSocket): SpdyClientEnd {
    const end: SpdyClientEnd = new SpdyClientEnd({
      write: (bytes) => {
        socket.write(bytes, () => end.session.transportDrained());
        return socket.writableLength < 1024 * 1024;
      },
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      leave: () => socket.end(),
      closed: once(socket, 'close'),
    });
    socket.on('data', (chunk: Buffer) => end.session.receive(chunk));
    socket.on('close', () => end.session.end());
    return end;
  }

  /** As kubectl does it: error stream, its reply, its half-close; then the data stream and its reply. */
  async open(port: number): Promise<{ data: Recorder; error: Recorder }> {
    const requestid = String(this.#requestId++);
    const half = async (streamtype: string): Promise<Recorder> => {
      let replied = (): void => {};
      const reply = new Promise<void>((resolve) => {
        replied = resolve;
      });
      const stream = this.session.openStream([
        ['streamtype', streamtype],
        ['port', String(port)],
        ['requestid', requestid],
      ]);
      const recorder = new Recorder(stream, replied);
      await reply;
      return recorder;
    };
    const error = await half('error');
    error.stream.end();
    const data = await half('data');
    return { data, error };
  }
}
