import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import * as tls from 'node:tls';
import { testCertificates } from './front-door.js';
import { Queue } from './queue.js';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goAway: 7 } as const;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
/** HPACK's static table: `:status` 200, 204. */
const STATUS = { 200: 0x88, 204: 0x89 } as const;

export const CODE = { noError: 0, internalError: 2, refusedStream: 7, cancel: 8, enhanceYourCalm: 11 } as const;

/** A request as it stands on the wire; its header block is not read. */
export interface WireStream {
  readonly connection: WireConnection;
  readonly id: number;
}

/** A gateway whose every HTTP/2 frame is the test's own: what a server library would never send as well. */
export class WireServer {
  readonly streams = new Queue<WireStream>();
  readonly connections: WireConnection[] = [];
  readonly ca: string;
  readonly #server: tls.Server;

  private constructor(ca: string, server: tls.Server) {
    this.ca = ca;
    this.#server = server;
  }

  static async listen(): Promise<WireServer> {
    const { ca, pair } = await testCertificates();
    const server = tls.createServer({ cert: pair.certificate, key: pair.privateKey, ALPNProtocols: ['h2'] });
    const wire = new WireServer(ca, server);
    const byPort = new Map<number | undefined, Socket>();
    server.on('connection', (socket: Socket) => byPort.set(socket.remotePort, socket));
    server.on('secureConnection', (socket) => {
      const tcp = byPort.get(socket.remotePort) as Socket;
      wire.connections.push(new WireConnection({ socket, tcp, onStream: (stream) => wire.streams.put(stream) }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wire;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}

export class WireConnection {
  readonly socket: tls.TLSSocket;
  /** Below TLS. */
  readonly tcp: Socket;
  /** Codes of the client's RST_STREAMs, by stream. */
  readonly resets = new Map<number, number>();
  /** Resolves when the client has sent GOAWAY. */
  readonly goneAway: Promise<void>;
  #tellGoneAway = (): void => {};
  answersPings = true;
  pings = 0;
  readonly #onStream: (stream: WireStream) => void;
  /** Streams that came before the client has read our settings: from then on it knows that we speak HTTP/2. */
  readonly #early: WireStream[] = [];
  #settled = false;
  #pending = Buffer.alloc(0);
  #greeted = false;

  constructor(o: { socket: tls.TLSSocket; tcp: Socket; onStream: (stream: WireStream) => void }) {
    const { socket } = o;
    this.socket = socket;
    this.tcp = o.tcp;
    this.#onStream = o.onStream;
    this.goneAway = new Promise((resolve) => {
      this.#tellGoneAway = resolve;
    });
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#read(chunk));
    this.frame({ type: FRAME.settings });
  }

  head(id: number, status: keyof typeof STATUS, o: { end?: boolean } = {}): void {
    const flags = END_HEADERS | (o.end === true ? END_STREAM : 0);
    this.frame({ type: FRAME.headers, id, flags, payload: Buffer.of(STATUS[status]) });
  }

  data(id: number, text: string, o: { end?: boolean } = {}): void {
    this.frame({ type: FRAME.data, id, flags: o.end === true ? END_STREAM : 0, payload: Buffer.from(text) });
  }

  reset(id: number, code: number): void {
    this.frame({ type: FRAME.rstStream, id, payload: uint32(code) });
  }

  goAway(lastId: number, code: number): void {
    this.frame({ type: FRAME.goAway, payload: Buffer.concat([uint32(lastId), uint32(code)]) });
  }

  frame(o: { type: number; id?: number; flags?: number; payload?: Buffer }): void {
    const { type, id = 0, flags = 0, payload = Buffer.alloc(0) } = o;
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(id, 5);
    this.socket.write(Buffer.concat([head, payload]));
  }

  #read(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    if (!this.#greeted && this.#pending.length >= PREFACE.length) {
      this.#pending = this.#pending.subarray(PREFACE.length);
      this.#greeted = true;
    }
    while (this.#greeted && this.#pending.length >= 9) {
      const length = this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < 9 + length) return;
      const type = this.#pending.readUInt8(3);
      const flags = this.#pending.readUInt8(4);
      const id = this.#pending.readUInt32BE(5);
      const payload = this.#pending.subarray(9, 9 + length);
      this.#pending = this.#pending.subarray(9 + length);
      this.#receive({ type, flags, id, payload });
    }
  }

  #receive({ type, flags, id, payload }: { type: number; flags: number; id: number; payload: Buffer }): void {
    if (type === FRAME.ping) this.pings++;
    if (type === FRAME.headers) {
      if (this.#settled) this.#onStream({ connection: this, id });
      else this.#early.push({ connection: this, id });
    } else if (type === FRAME.settings && flags === ACK) {
      this.#settled = true;
      for (const stream of this.#early.splice(0)) this.#onStream(stream);
    } else if (type === FRAME.goAway) {
      this.socket.end();
      this.#tellGoneAway();
    } else if (type === FRAME.rstStream) this.resets.set(id, payload.readUInt32BE(0));
    else if ((type === FRAME.settings || type === FRAME.ping) && flags !== ACK) {
      this.frame({ type, flags: ACK, payload: type === FRAME.ping ? payload : Buffer.alloc(0) });
    }
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
