import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import type { Clock } from '../../base/clock.js';

/** A prime, so that no power-of-two shift of the bytes looks like the bytes. */
const PERIOD = 251;
const PATTERN = Buffer.from(Array.from({ length: PERIOD * 256 }, (_, index) => index % PERIOD));
/** 1 TiB minus one: what 12 digits can say. */
const COUNT = /^\/bytes\/(\d{1,12})$/;

/** The bytes that `/bytes/N` serves from `offset` on: byte i is i mod 251. */
export function sampleBytes(length: number, offset = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const from = (offset + done) % PERIOD;
    done += PATTERN.copy(bytes, done, from);
  }
  return bytes;
}

export interface SampleServer {
  readonly port: number;
  close(): void;
}

/**
 * The small web server that a built-in workload has behind each declared port: `/` names the pod, `/bytes/N` serves N
 * deterministic bytes, `POST /echo` gives the body back, `/slow?ms=N` answers after N ms.
 */
export async function startSampleServer(options: { podName: string; clock: Clock }): Promise<SampleServer> {
  const server = createServer((request, response) => answer(request, response, options));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse, options: { podName: string; clock: Clock }): void {
  const url = new URL(request.url ?? '/', 'http://pod');
  const count = COUNT.exec(url.pathname);
  if (count !== null) {
    const length = Number(count[1]);
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length });
    // Both sides may leave early; the response's end is all there is to say about it.
    return void pipeline(Readable.from(pieces(length)), response, () => {});
  }
  if (url.pathname === '/echo' && request.method === 'POST') {
    response.writeHead(200, { 'content-type': request.headers['content-type'] ?? 'application/octet-stream' });
    return void pipeline(request, response, () => {});
  }
  if (url.pathname === '/slow') {
    const ms = Number(url.searchParams.get('ms') ?? '1000');
    const cancel = options.clock.after(Number.isFinite(ms) ? ms : 1000, () => text(response, 200, `waited ${ms} ms\n`));
    response.once('close', cancel);
    return;
  }
  if (url.pathname === '/') text(response, 200, `hello from ${options.podName}\n`);
  else text(response, 404, 'not found: try /, /bytes/N, POST /echo, /slow?ms=N\n');
}

function* pieces(length: number): Generator<Buffer> {
  for (let offset = 0; offset < length; offset += PATTERN.length) {
    yield PATTERN.subarray(0, Math.min(PATTERN.length, length - offset));
  }
}

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
