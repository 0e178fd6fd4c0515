import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import t, { type Test } from 'tap';
import { openTestFrontDoor, type TestFrontDoor, type TestFrontDoorOptions } from './front-door.js';
import { untilStalled } from './until-stalled.js';

/** A request that has reached the gateway. */
export interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
}

/** The gateway's side of a scene: every request that arrives has to be expected. */
export class Upstream {
  readonly #arrived: Arrival[] = [];
  #wake = (): void => {};

  constructor(at: TestFrontDoor) {
    at.gateway.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#arrived.push({ request, response, url: new URL(request.url ?? '', 'http://gateway') });
      this.#wake();
    });
  }

  /** Requests that nobody has taken: a reconnect that a test did not announce fails it. */
  get unannounced(): number {
    return this.#arrived.length;
  }

  async next(): Promise<Arrival> {
    for (;;) {
      const arrival = this.#arrived.shift();
      if (arrival !== undefined) return arrival;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async answer(contentType: string, ...events: Buffer[]): Promise<Arrival> {
    const arrival = await this.next();
    arrival.response.writeHead(200, { 'Content-Type': contentType });
    arrival.response.flushHeaders();
    for (const event of events) arrival.response.write(event);
    return arrival;
  }
}

/** The client's side: what has come so far, and how it ended. */
export class Client {
  readonly response: Promise<IncomingMessage>;
  readonly ended: Promise<'complete' | 'broken'>;
  readonly #request;
  #chunks: Buffer[] = [];
  #length = 0;
  #wake = (): void => {};

  constructor(at: TestFrontDoor, target: string, headers: Record<string, string> = {}) {
    this.#request = https.get({
      host: '127.0.0.1',
      port: at.port,
      path: target,
      ca: at.ca,
      agent: false,
      headers: { Authorization: `Bearer ${at.localToken}`, ...headers },
    });
    this.response = once(this.#request, 'response').then(([response]) => response as IncomingMessage);
    this.ended = this.response.then(
      (response) =>
        new Promise((resolve) => {
          response.on('data', (chunk: Buffer) => {
            this.#chunks.push(chunk);
            this.#length += chunk.length;
            this.#wake();
          });
          response.on('end', () => resolve('complete'));
          response.on('error', () => resolve('broken'));
        }),
    );
  }

  async has(bytes: number): Promise<Buffer> {
    await this.response;
    while (this.#length < bytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] as Buffer;
  }

  /** Takes nothing more until `resume`. */
  async pause(): Promise<void> {
    (await this.response).pause();
  }

  async resume(): Promise<void> {
    (await this.response).resume();
  }

  leave(): void {
    this.#request.destroy();
  }
}

/**
 * Writes what `next` gives until nothing of it leaves any more, because the client does not read. Answers how many bytes
 * were taken on the way.
 */
export async function writeUntilStalled(response: ServerResponse, next: () => Buffer): Promise<number> {
  let bytes = 0;
  await untilStalled(() => {
    while (response.writableLength < 256 * 1024) {
      const piece = next();
      bytes += piece.length;
      response.write(piece);
    }
    return bytes - response.writableLength;
  });
  return bytes - response.writableLength;
}

/** A story with a front door and a gateway; at its end no request may have come but the announced ones. */
export function story(
  name: string,
  tell: (t: Test, scene: { at: TestFrontDoor; upstream: Upstream }) => Promise<void>,
  options: TestFrontDoorOptions = {},
): void {
  t.test(name, async (t) => {
    const at = await openTestFrontDoor(options);
    t.teardown(() => at.close());
    const upstream = new Upstream(at);
    await tell(t, { at, upstream });
    t.equal(upstream.unannounced, 0, 'nothing was asked upstream but what was announced');
  });
}
