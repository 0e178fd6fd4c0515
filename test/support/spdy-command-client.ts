import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { CHANNEL } from '../../src/kubernetes/remote-command.js';
import { SpdySession } from '../../src/spdy/session.js';
import type { SpdyStream } from '../../src/spdy/stream.js';
import type { TestFrontDoor } from './front-door.js';
import { Mailbox } from './mailbox.js';

const TYPES = { error: CHANNEL.error, stdin: CHANNEL.stdin, stdout: CHANNEL.stdout, stderr: CHANNEL.stderr } as const;

export interface SpdyClientOptions {
  /** Lines of X-Stream-Protocol-Version; a line may be a list. */
  readonly protocols?: readonly string[];
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** Which streams are opened; those that kubectl opens for the query when left out. */
  readonly streams?: readonly string[];
}

/** A client of exec or attach as kubectl before 1.30 is one. */
export class SpdyClientEnd {
  readonly socket: TLSSocket;
  readonly head: string;
  /** What was read behind the head: the body of a refusal. */
  readonly body: string;
  readonly inbox = new Mailbox();
  /** Types of the streams whose server side has ended in good order. */
  readonly ended = new Set<string>();
  /** Resolves when the server has ended the connection. */
  readonly closed: Promise<void>;
  readonly #session: SpdySession;
  readonly #streams = new Map<number, SpdyStream>();

  private constructor(socket: TLSSocket, answer: Buffer) {
    this.socket = socket;
    const at = answer.indexOf('\r\n\r\n') + 4;
    this.head = answer.toString('latin1', 0, at);
    this.body = answer.toString('utf8', at);
    this.closed = new Promise((resolve) => {
      socket.once('end', resolve);
      socket.once('close', resolve);
    });
    this.#session = new SpdySession({
      role: 'client',
      write: (frame) => socket.write(Buffer.concat(frame)),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    });
    if (!this.accepted) return;
    socket.on('data', (chunk: Buffer) => this.#session.receive(chunk));
    if (at < answer.length) this.#session.receive(answer.subarray(at));
  }

  /** Knocks and waits for the answer; opens the streams where it is 101. */
  static async knock(at: TestFrontDoor, target: string, o: SpdyClientOptions = {}): Promise<SpdyClientEnd> {
    const socket = await at.connect();
    const lines = [
      `${o.method ?? 'POST'} ${target} HTTP/1.1`,
      `Host: 127.0.0.1:${at.port}`,
      `Authorization: Bearer ${at.localToken}`,
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
      ...(o.method === 'GET' ? [] : ['Content-Length: 0']),
      ...(o.protocols ?? ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io']).map(
        (line) => `X-Stream-Protocol-Version: ${line}`,
      ),
      ...Object.entries(o.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    let answer = Buffer.alloc(0);
    while (!answer.includes('\r\n\r\n')) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      answer = Buffer.concat([answer, chunk]);
    }
    if (!answer.includes(' 101 ')) for await (const chunk of socket) answer = Buffer.concat([answer, chunk as Buffer]);
    const client = new SpdyClientEnd(socket, answer);
    if (client.accepted) for (const type of o.streams ?? wanted(target)) await client.open(type);
    return client;
  }

  get accepted(): boolean {
    return this.head.startsWith('HTTP/1.1 101 ');
  }

  get protocol(): string | undefined {
    return /^x-stream-protocol-version: (.*)\r$/im.exec(this.head)?.[1];
  }

  /** Resolves with the server's SYN_REPLY, or rejects with its reset. */
  open(type: string): Promise<void> {
    const stream = this.#session.openStream([['streamtype', type]]);
    const channel = type === 'resize' ? CHANNEL.resize : TYPES[type as keyof typeof TYPES];
    if (channel !== undefined) this.#streams.set(channel, stream);
    return new Promise((resolve, reject) => {
      stream.consume({
        onReply: () => resolve(),
        onData: (chunk) => {
          this.inbox.put({ channel, text: chunk.toString('latin1') });
          return true;
        },
        onEnd: () => void this.ended.add(type),
        onReset: (status) => reject(new Error(`reset: ${status}`)),
      });
    });
  }

  say(channel: number, text: string): void {
    this.#streams.get(channel)?.write(Buffer.from(text, 'latin1'));
  }

  endStdin(): void {
    this.#streams.get(CHANNEL.stdin)?.end();
  }

  /** The Status of the error stream, once the server has ended the connection. */
  async status(): Promise<{ status?: string; message?: string; reason?: string }> {
    await this.closed;
    return JSON.parse(this.inbox.of(CHANNEL.error).join(''));
  }
}

function wanted(target: string): string[] {
  const query = new URLSearchParams(target.split('?')[1] ?? '');
  const types = ['stdin', 'stdout', 'stderr'].filter((type) => query.get(type) === 'true');
  return ['error', ...types, ...(query.get('tty') === 'true' ? ['resize'] : [])];
}
