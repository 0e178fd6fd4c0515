import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import type { RemoteProtocol } from '../../src/kubernetes/remote-command.js';
import { chooseRemoteProtocol, joinChannelMessage, splitChannelMessage } from '../../src/kubernetes/remote-command.js';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor, type TestFrontDoorOptions } from './front-door.js';
import { Mailbox } from './mailbox.js';
import { SpdyClientEnd, type SpdyClientOptions } from './spdy-command-client.js';

/** Ways in which a gateway ends an upgraded connection. */
export const WEBSOCKET_CUTS = {
  'a TCP reset': (up) => up.socket.resetAndDestroy(),
  'a FIN': (up) => void up.socket.end(),
  'close 1000': (up) => up.webSocket.close(1000),
  'close 1001': (up) => up.webSocket.close(1001, 'going away'),
  'close 1006': (up) => void up.socket.destroy(),
  'close 1011': (up) => up.webSocket.close(1011, 'agent gone'),
  'a close without a code': (up) => up.webSocket.close(),
} as const satisfies Record<string, (up: UpstreamEnd) => void>;

export type WebSocketCut = keyof typeof WEBSOCKET_CUTS;

function inboxOf(socket: WebSocket, protocol: () => RemoteProtocol): Mailbox {
  const inbox = new Mailbox();
  socket.on('message', (data) => {
    const { channel, payload } = splitChannelMessage(protocol(), data as Buffer);
    inbox.put({ channel, text: payload.toString('latin1') });
  });
  return inbox;
}

/** The cluster's end of one upstream connection. */
export class UpstreamEnd {
  readonly webSocket: WebSocket;
  readonly socket: Socket;
  readonly inbox: Mailbox;
  readonly closed: Promise<unknown>;
  readonly #protocol: RemoteProtocol;

  constructor(webSocket: WebSocket, socket: Socket) {
    this.webSocket = webSocket;
    this.socket = socket;
    this.#protocol = chooseRemoteProtocol([webSocket.protocol]) as RemoteProtocol;
    this.inbox = inboxOf(webSocket, () => this.#protocol);
    this.closed = once(webSocket, 'close');
    webSocket.on('error', () => {});
  }

  say(channel: number, text: string): void {
    this.webSocket.send(joinChannelMessage(this.#protocol, channel, Buffer.from(text, 'latin1')));
  }

  /** `inMidFrame`: after a part of a message that is never completed. */
  cut(form: WebSocketCut, o: { inMidFrame?: boolean } = {}): void {
    if (o.inMidFrame !== true) WEBSOCKET_CUTS[form](this);
    else if (form.includes('TCP') || form.includes('FIN') || form.includes('1006')) {
      // A header that announces 100 bytes, and 5 of them.
      this.socket.write(Buffer.from([0x82, 100, 1, 0x70, 0x61, 0x72, 0x74]), () => WEBSOCKET_CUTS[form](this));
    } else {
      this.webSocket.send(Buffer.from('\x01part'), { fin: false }, () => WEBSOCKET_CUTS[form](this));
    }
  }
}

export interface Knock {
  readonly request: IncomingMessage;
  accept(): UpstreamEnd;
  /** Answers a refusal, or ends the connection when there is none. */
  refuse(status?: string, body?: unknown): void;
  /** Answers as an API server that does not know the subprotocols. */
  refuseSubprotocols(): void;
}

/** A gateway of the test's own with a pod behind it, and one client. */
export class RemoteCommandScene {
  readonly at: TestFrontDoor;
  /** What a look at the pod answers; a Status is one with its own code. */
  pod: unknown = podWith({ running: { startedAt: '2020-01-01T00:00:00Z' } });
  readonly looks: IncomingMessage[] = [];
  /** The subprotocols that the cluster knows; all when undefined. With none in common it answers 101 without one. */
  speaks: readonly string[] | undefined;
  readonly #knocks: Knock[] = [];
  #wake = (): void => {};

  private constructor(at: TestFrontDoor) {
    this.at = at;
    const acceptor = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: (offered) => [...offered].find((name) => this.speaks?.includes(name) ?? true) ?? false,
    });
    at.gateway.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#knocks.push({
        request,
        accept: () => {
          let end: UpstreamEnd | undefined;
          acceptor.handleUpgrade(request, socket, head, (accepted) => {
            end = new UpstreamEnd(accepted, socket as Socket);
          });
          return end as UpstreamEnd;
        },
        refuseSubprotocols: () => void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'),
        refuse: (status, body) => {
          if (status === undefined) socket.destroy();
          else {
            const text = JSON.stringify(body ?? {});
            socket.end(
              `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
            );
          }
        },
      });
      this.#wake();
    });
    at.gateway.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.looks.push(request);
      const isPod = request.url === `${GATEWAY_PREFIX}/api/v1/namespaces/default/pods/box`;
      const { code = 200 } = this.pod as { code?: number };
      response.writeHead(isPod ? code : 500, { 'Content-Type': 'application/json' }).end(JSON.stringify(this.pod));
    });
  }

  static async open(options: TestFrontDoorOptions = {}): Promise<RemoteCommandScene> {
    return new RemoteCommandScene(await openTestFrontDoor(options));
  }

  /** Upgrades that nobody has taken. */
  get unannounced(): number {
    return this.#knocks.length;
  }

  async knock(): Promise<Knock> {
    for (;;) {
      const knock = this.#knocks.shift();
      if (knock !== undefined) return knock;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async upstream(): Promise<UpstreamEnd> {
    return (await this.knock()).accept();
  }

  /** A client of `pods/box/SUBRESOURCE?query`. */
  client(query: string, o: { protocol?: string; headers?: Record<string, string> } = {}): ClientEnd {
    return new ClientEnd(this.at, `/api/v1/namespaces/default/pods/box/${query}`, o);
  }

  /** The same over SPDY; resolves with the answer, so take the knock meanwhile. */
  spdyClient(query: string, o: SpdyClientOptions = {}): Promise<SpdyClientEnd> {
    return SpdyClientEnd.knock(this.at, `/api/v1/namespaces/default/pods/box/${query}`, o);
  }
}

export class ClientEnd {
  readonly webSocket: WebSocket;
  readonly inbox: Mailbox;
  readonly closed: Promise<number>;
  readonly #protocol: RemoteProtocol;

  constructor(at: TestFrontDoor, target: string, o: { protocol?: string; headers?: Record<string, string> }) {
    const name = o.protocol ?? 'v5.channel.k8s.io';
    this.#protocol = chooseRemoteProtocol([name]) as RemoteProtocol;
    this.webSocket = new WebSocket(`wss://127.0.0.1:${at.port}${target}`, [name], {
      ca: at.ca,
      headers: { authorization: `Bearer ${at.localToken}`, ...o.headers },
      perMessageDeflate: false,
    });
    this.webSocket.on('error', () => {});
    this.inbox = inboxOf(this.webSocket, () => this.#protocol);
    this.closed = once(this.webSocket, 'close').then(([code]) => code as number);
  }

  say(channel: number, text: string): void {
    this.webSocket.send(joinChannelMessage(this.#protocol, channel, Buffer.from(text, 'latin1')), {
      binary: !this.#protocol.base64,
    });
  }
}

export function podWith(state: unknown, o: { lastState?: unknown; stdinOnce?: boolean } = {}): unknown {
  return {
    kind: 'Pod',
    spec: { containers: [{ name: 'main', ...(o.stdinOnce ? { stdin: true, stdinOnce: true } : {}) }] },
    status: {
      containerStatuses: [{ name: 'main', containerID: 'containerd://one', state, lastState: o.lastState ?? {} }],
    },
  };
}
