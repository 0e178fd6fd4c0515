import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { openTestFrontDoor, type TestFrontDoor } from './front-door.js';
import { RawGateway } from './raw-gateway.js';

/** What both sides see, byte for byte. */
export interface Wire {
  readonly door: TestFrontDoor;
  readonly gateway: RawGateway;
  client(): Promise<RawClient>;
}

/** A client of the membership's port that speaks by the byte. */
export class RawClient {
  readonly socket: TLSSocket;
  #text = '';
  #ended = false;
  #wake: () => void = () => {};

  constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Says a request with a local token. */
  say(line: string, headers: readonly string[] = [], body = ''): void {
    const own = ['Host: 127.0.0.1', 'Authorization: Bearer local-prod'];
    this.raw(`${[`${line} HTTP/1.1`, ...own, ...headers].join('\r\n')}\r\n\r\n${body}`);
  }

  raw(text: string): void {
    this.socket.write(text, 'latin1');
  }

  async heard(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#text)) {
      if (this.#ended) throw new Error(`closed without ${pattern}: ${JSON.stringify(this.#text)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** All that comes up to the end of the connection. */
  async rest(): Promise<string> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#text;
  }
}

export async function wire(t: Test): Promise<Wire> {
  const gateway = await RawGateway.start(t);
  const door = await openTestFrontDoor({ gatewayUrl: gateway.url });
  t.teardown(() => door.close());
  return { door, gateway, client: async () => new RawClient(await door.connect()) };
}

/** What `RawClient.heard(/ok$/)` waits for. */
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
