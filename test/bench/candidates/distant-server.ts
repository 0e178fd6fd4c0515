import { readFileSync } from 'node:fs';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { systemClock } from '../../../src/base/clock.js';
import { DelayLine } from '../../../src/emulator/google/delay-line.js';
import { WATCH_TYPES, watchChunk } from './watch-chunks.js';

/**
 * A gateway's stand-in that speaks HTTP/1.1 and HTTP/2 on one port, and the same behind each of the round trips named on
 * the command line: `distant-server CERT KEY RTT...` prints the ports as one line of JSON.
 */
const [certFile = '', keyFile = '', ...rtts] = process.argv.slice(2);
const SMALL = Buffer.alloc(3 * 1024, 'x');
const LARGE = Buffer.alloc(20 * 1024 * 1024, 'x');

const server = createSecureServer(
  {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    allowHTTP1: true,
    // As Google's front ends.
    settings: { maxConcurrentStreams: 100 },
  },
  (request: Http2ServerRequest, response: Http2ServerResponse) => {
    if (request.url.endsWith('/watch')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"type":"BOOKMARK"}\n');
      return;
    }
    const [, encoding, eventBytes] = /\/flow-(\w+)-(\d+)\//.exec(request.url) ?? [];
    if (encoding !== undefined) {
      response.writeHead(200, { 'content-type': WATCH_TYPES[encoding] ?? '' });
      const flow = Readable.from(forEver(watchChunk(encoding, Number(eventBytes))));
      flow.pipe(response as unknown as Writable);
      response.on('close', () => flow.destroy());
      return;
    }
    const length = Number(/\/bytes\/(\d+)$/.exec(request.url)?.[1]);
    if (length > 0) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
      Readable.from(pieces(length)).pipe(response as unknown as Writable);
      return;
    }
    const body = request.url.endsWith('/large') ? LARGE : SMALL;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  },
);

function* pieces(length: number): Generator<Buffer> {
  for (let left = length; left > 0; left -= LARGE.length) yield LARGE.subarray(0, Math.min(left, LARGE.length));
}

function* forEver(chunk: Buffer): Generator<Buffer> {
  for (;;) yield chunk;
}

async function listen(rttMs: number): Promise<[string, number]> {
  if (rttMs === 0) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4096, resolve));
    return ['0', (server.address() as AddressInfo).port];
  }
  const { port } = server.address() as AddressInfo;
  const distant = createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true });
    near.pipe(new DelayLine(systemClock, rttMs / 2)).pipe(far);
    far.pipe(new DelayLine(systemClock, rttMs / 2)).pipe(near);
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
  });
  await new Promise<void>((resolve) => distant.listen(0, '127.0.0.1', 4096, resolve));
  return [String(rttMs), (distant.address() as AddressInfo).port];
}

const ports: [string, number][] = [];
for (const rtt of rtts.map(Number).sort((a, b) => a - b)) ports.push(await listen(rtt));
console.log(JSON.stringify(Object.fromEntries(ports)));
