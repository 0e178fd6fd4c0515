import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { GATEWAY_PREFIX, type TestFrontDoor } from '../support/front-door.js';
import type { Conversation } from './capture.js';
import { lengthBeforeLeave } from './frames.js';

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** What one side has said so far, and how to wait for more of it. */
export class Heard {
  bytes: Buffer = Buffer.alloc(0);
  ended = false;
  readonly #wakers = new Set<() => void>();

  add(chunk: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    this.#wake();
  }

  end(): void {
    this.ended = true;
    this.#wake();
  }

  /** Resolves once `done`, or when nothing more will come. */
  async until(done: (bytes: Buffer) => boolean): Promise<void> {
    while (!this.ended && !done(this.bytes)) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }
}

function heardOn(socket: Duplex): Heard {
  const heard = new Heard();
  socket.on('data', (chunk: Buffer) => heard.add(chunk));
  socket.on('end', () => heard.end());
  socket.on('error', () => heard.end());
  socket.on('close', () => heard.end());
  return heard;
}

/** A client that says what a recorded one said. */
export class ReplayedClient {
  readonly socket: TLSSocket;
  readonly heard: Heard;
  readonly #recorded: Conversation;

  private constructor(socket: TLSSocket, recorded: Conversation) {
    this.socket = socket;
    this.#recorded = recorded;
    this.heard = heardOn(socket);
  }

  /** Sends the recorded head as it was, but for the host, the credentials, and the membership's path. */
  static async knock(at: TestFrontDoor, recorded: Conversation): Promise<ReplayedClient> {
    const client = new ReplayedClient(await at.connect(), recorded);
    const [first = '', ...lines] = recorded.head('client').slice(0, -4).split('\r\n');
    const kept = lines.filter((line) => !/^(?:host|authorization):/i.test(line));
    const requestLine = `${first.split(' ')[0]} ${recorded.target} HTTP/1.1`;
    const ours = [`Host: 127.0.0.1:${at.port}`, `Authorization: Bearer ${at.localToken}`];
    client.socket.write(`${[requestLine, ...ours, ...kept].join('\r\n')}\r\n\r\n`);
    return client;
  }

  /** The answer's head, once it is there. */
  async head(): Promise<string> {
    await this.heard.until((bytes) => bytes.includes('\r\n\r\n'));
    const { bytes } = this.heard;
    return bytes.toString('latin1', 0, bytes.indexOf('\r\n\r\n') + 4);
  }

  /** What came behind the head. */
  get rest(): Buffer {
    const at = this.heard.bytes.indexOf('\r\n\r\n');
    return at === -1 ? Buffer.alloc(0) : this.heard.bytes.subarray(at + 4);
  }

  async untilRest(done: (rest: Buffer) => boolean): Promise<Buffer> {
    await this.heard.until(() => done(this.rest));
    return this.rest;
  }

  /** Says what the recorded client said behind its head before it took its leave, in its own pieces. */
  speak(): void {
    let left = lengthBeforeLeave(this.#recorded);
    for (const bytes of this.#recorded.restWrites('client')) {
      if (left > 0) this.socket.write(bytes.subarray(0, left));
      left -= bytes.length;
    }
  }

  /** Resets, GOAWAY or close frame, as they were; then the connection ends. */
  leave(): void {
    this.socket.end(this.#recorded.rest('client').subarray(lengthBeforeLeave(this.#recorded)));
  }
}

/** One request that the daemon has made. */
export class UpstreamCall {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** Behind the head of an upgrade; of other requests nothing is heard. */
  readonly heard: Heard;

  constructor(request: IncomingMessage, upgraded?: { socket: Socket; head: Buffer }) {
    this.request = request;
    this.socket = upgraded?.socket ?? request.socket;
    this.heard = upgraded === undefined ? new Heard() : heardOn(this.socket);
    if (upgraded !== undefined && upgraded.head.length > 0) this.heard.add(upgraded.head);
  }

  /** Below the membership. */
  get target(): string {
    return (this.request.url ?? '').replace(GATEWAY_PREFIX, '');
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join() : value;
  }

  /** Says yes to the upgrade, as the recorded server did. */
  accept(protocol: string): void {
    const key = this.header('sec-websocket-key') ?? '';
    const lines = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${createHash('sha1')
        .update(key + WEBSOCKET_GUID)
        .digest('base64')}`,
      `Sec-WebSocket-Protocol: ${protocol}`,
    ];
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  end(): void {
    this.socket.end();
  }
}

/** The gateway's side of a front door: whoever asks is answered by the test, byte for byte. */
export class ReplayedCluster {
  readonly #calls: UpstreamCall[] = [];
  #wake = (): void => {};

  constructor(at: TestFrontDoor) {
    const { server } = at.gateway;
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#add(new UpstreamCall(request, { socket: socket as Socket, head })),
    );
    server.on('request', (request: IncomingMessage) => this.#add(new UpstreamCall(request)));
  }

  /** Requests that nobody has taken. */
  get unannounced(): number {
    return this.#calls.length;
  }

  async call(): Promise<UpstreamCall> {
    for (;;) {
      const call = this.#calls.shift();
      if (call !== undefined) return call;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #add(call: UpstreamCall): void {
    this.#calls.push(call);
    this.#wake();
  }
}
