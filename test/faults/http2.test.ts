import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { constants, type Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import { type Arrival, Client, story } from '../support/fault-scene.js';
import type { TestFrontDoor } from '../support/front-door.js';

const HTTP2 = { http2: true };
const WATCH = '/api/v1/pods?watch=true&resourceVersion=100';
const LOG = '/api/v1/namespaces/default/pods/box/log?follow=true';

interface Cut {
  readonly at: TestFrontDoor;
  readonly arrival: Arrival;
}

function overHttp2(response: ServerResponse): Http2ServerResponse {
  return response as unknown as Http2ServerResponse;
}

/** Below TLS; the one connection that carries streams. */
function tcpOf({ at }: Cut): Socket {
  const [socket] = [...at.gateway.sockets].slice(-1);
  if (socket === undefined) throw new Error('there is no connection');
  return socket;
}

/** Ways in which a gateway ends a stream of HTTP/2. */
const CUTS: Record<string, (cut: Cut) => void> = {
  RST_STREAM: ({ arrival }) => void overHttp2(arrival.response).stream.destroy(new Error('cut')),
  'a clean end of the stream': ({ arrival }) => void arrival.response.end(),
  'GOAWAY with an error': ({ arrival }) =>
    overHttp2(arrival.response).stream.session?.destroy(undefined, constants.NGHTTP2_INTERNAL_ERROR),
  'GOAWAY, then an end of the stream': ({ arrival }) => {
    overHttp2(arrival.response).stream.session?.goaway(constants.NGHTTP2_NO_ERROR);
    arrival.response.end();
  },
  'a TCP reset': (cut) => void tcpOf(cut).resetAndDestroy(),
  'a FIN': (cut) => void tcpOf(cut).destroy(),
};

function jsonEvent(resourceVersion: number): Buffer {
  const metadata = { name: 'box', resourceVersion: String(resourceVersion) };
  return Buffer.from(`${JSON.stringify({ type: 'MODIFIED', object: { kind: 'Pod', metadata } })}\n`);
}

for (const [form, cut] of Object.entries(CUTS)) {
  story(
    `a watch over HTTP/2 that is cut by ${form}, again and again, shows every event once`,
    async (t, { at, upstream }) => {
      const client = new Client(at, WATCH);
      const sent: Buffer[] = [];
      let version = 100;
      for (let round = 0; round < 4; round++) {
        const arrival = await upstream.answer('application/json');
        t.equal(arrival.request.httpVersion, '2.0');
        t.equal(arrival.url.searchParams.get('resourceVersion'), String(version), 'it goes on where it stood');
        const event = jsonEvent(++version);
        sent.push(event);
        arrival.response.write(event);
        await client.has(Buffer.concat(sent).length);
        // A part of an event that is never completed.
        const unfinished = jsonEvent(version + 1).subarray(0, 1 + round * 9);
        await new Promise<void>((resolve) => arrival.response.write(unfinished, () => resolve()));
        cut({ at, arrival });
      }
      const last = await upstream.answer('application/json', jsonEvent(++version));
      sent.push(jsonEvent(version));
      const all = Buffer.concat(sent);
      t.ok((await client.has(all.length)).equals(all), 'byte for byte, in order, none lost, none doubled');
      client.leave();
      await once(overHttp2(last.response).stream, 'close');
    },
    HTTP2,
  );

  story(
    `a followed log over HTTP/2 that is cut by ${form} shows every line once`,
    async (t, { at, upstream }) => {
      const client = new Client(at, LOG);
      const stamp = (n: number): string => `2026-11-24T10:00:00.${n}00000000Z`;
      const first = await upstream.answer('text/plain', Buffer.from(`${stamp(1)} one\n${stamp(2)} two\n`));
      t.equal(first.request.httpVersion, '2.0');
      await client.has(8);
      await new Promise<void>((resolve) => first.response.write(`${stamp(3)} thr`, () => resolve()));
      cut({ at, arrival: first });
      const look = await upstream.next();
      t.equal(look.request.httpVersion, '1.1', 'a short question goes over a pooled connection');
      look.response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(RUNNING));
      const second = await upstream.answer(
        'text/plain',
        Buffer.from(`${stamp(1)} one\n${stamp(2)} two\n${stamp(3)} three\n`),
      );
      t.equal((await client.has(14)).toString(), 'one\ntwo\nthree\n');
      client.leave();
      await once(overHttp2(second.response).stream, 'close');
    },
    HTTP2,
  );
}

const RUNNING = {
  kind: 'Pod',
  spec: { containers: [{ name: 'main' }] },
  status: { containerStatuses: [{ name: 'main', state: { running: { startedAt: '2026-11-24T09:00:00Z' } } }] },
};

story(
  'forty watches share a connection, and all go on after it is reset',
  async (t, { at, upstream }) => {
    const clients = Array.from({ length: 40 }, () => new Client(at, WATCH));
    const arrivals: Arrival[] = [];
    for (const _client of clients) arrivals.push(await upstream.answer('application/json', jsonEvent(101)));
    t.equal(new Set(arrivals.map(({ response }) => overHttp2(response).stream.session)).size, 1);
    for (const client of clients) await client.has(jsonEvent(101).length);
    const [first] = arrivals;
    if (first === undefined) return;
    tcpOf({ at, arrival: first }).resetAndDestroy();
    const again: Arrival[] = [];
    for (const _client of clients) again.push(await upstream.answer('application/json', jsonEvent(102)));
    for (const { url } of again) t.equal(url.searchParams.get('resourceVersion'), '101');
    const all = Buffer.concat([jsonEvent(101), jsonEvent(102)]);
    for (const client of clients) t.ok((await client.has(all.length)).equals(all));
    for (const client of clients) client.leave();
    await Promise.all(again.map(({ response }) => once(overHttp2(response).stream, 'close')));
  },
  HTTP2,
);

story(
  'a client that leaves ends its own stream, and no other',
  async (t, { at, upstream }) => {
    const [leaving, staying] = [new Client(at, WATCH), new Client(at, WATCH)];
    const arrivals = [await upstream.answer('application/json'), await upstream.answer('application/json')];
    await Promise.all([leaving.response, staying.response]);
    leaving.leave();
    const gone = await Promise.race(
      arrivals.map(async (arrival) => {
        await once(overHttp2(arrival.response).stream, 'close');
        return arrival;
      }),
    );
    const other = arrivals.find((arrival) => arrival !== gone);
    other?.response.write(jsonEvent(101));
    t.ok((await staying.has(jsonEvent(101).length)).equals(jsonEvent(101)));
    staying.leave();
    await once(overHttp2(other?.response as ServerResponse).stream, 'close');
  },
  HTTP2,
);

story(
  "a refusal of the cluster's own passes, and so does 410",
  async (t, { at, upstream }) => {
    for (const code of [403, 410]) {
      const client = new Client(at, WATCH);
      const status = JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code });
      (await upstream.next()).response.writeHead(code, { 'Content-Type': 'application/json' }).end(status);
      const { statusCode, statusMessage } = await client.response;
      t.equal(statusCode, code);
      t.ok(statusMessage, 'HTTP/1.1 has words for it');
      t.equal(await client.ended, 'complete');
      t.equal((await client.has(status.length)).toString(), status);
    }
  },
  HTTP2,
);

story(
  'a list goes over HTTP/1.1 though the gateway speaks HTTP/2',
  async (t, { at, upstream }) => {
    const client = new Client(at, '/api/v1/pods');
    const { request, response } = await upstream.next();
    t.equal(request.httpVersion, '1.1');
    response.end('{}');
    t.equal(await client.ended, 'complete');
  },
  HTTP2,
);
