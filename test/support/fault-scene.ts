import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import t, { type Test } from 'tap';
import { openTestFrontDoor, type TestFrontDoor } from './front-door.js';

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
  #bytes: Buffer = Buffer.alloc(0);
  #wake = (): void => {};

  constructor(at: TestFrontDoor, target: string) {
    this.#request = https.get({
      host: '127.0.0.1',
      port: at.port,
      path: target,
      ca: at.ca,
      agent: false,
      headers: { Authorization: `Bearer ${at.localToken}` },
    });
    this.response = once(this.#request, 'response').then(([response]) => response as IncomingMessage);
    this.ended = this.response.then(
      (response) =>
        new Promise((resolve) => {
          response.on('data', (chunk: Buffer) => {
            this.#bytes = Buffer.concat([this.#bytes, chunk]);
            this.#wake();
          });
          response.on('end', () => resolve('complete'));
          response.on('error', () => resolve('broken'));
        }),
    );
  }

  async has(bytes: number): Promise<Buffer> {
    await this.response;
    while (this.#bytes.length < bytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#bytes;
  }

  leave(): void {
    this.#request.destroy();
  }
}

/** A story with a front door and a gateway; at its end no request may have come but the announced ones. */
export function story(
  name: string,
  tell: (t: Test, scene: { at: TestFrontDoor; upstream: Upstream }) => Promise<void>,
): void {
  t.test(name, async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const upstream = new Upstream(at);
    await tell(t, { at, upstream });
    t.equal(upstream.unannounced, 0, 'nothing was asked upstream but what was announced');
  });
}
