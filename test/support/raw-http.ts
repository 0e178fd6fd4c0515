import type { IncomingMessage } from 'node:http';
import * as https from 'node:https';
import type { TestFrontDoor } from './front-door.js';

export interface RawAnswer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly body: string;
  readonly message: IncomingMessage;
}

/** Sends exactly these headers (flat, besides Host) and reads the whole answer. */
export function send(
  at: TestFrontDoor,
  o: { method?: string; target: string; headers?: readonly string[]; body?: string | Buffer; port?: number },
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const port = o.port ?? at.port;
    const headers = o.headers ?? ['Authorization', `Bearer ${at.localToken}`];
    const hasHost = headers.some((part, i) => i % 2 === 0 && part.toLowerCase() === 'host');
    const request = https.request({
      host: '127.0.0.1',
      port,
      path: o.target,
      method: o.method ?? 'GET',
      ca: at.ca,
      agent: false,
      headers: [...(hasHost ? [] : ['Host', `127.0.0.1:${port}`]), ...headers],
    });
    request.on('error', reject);
    request.on('response', (message) => {
      const chunks: Buffer[] = [];
      message.on('data', (chunk: Buffer) => chunks.push(chunk));
      message.on('error', reject);
      message.on('end', () =>
        resolve({
          status: message.statusCode ?? 0,
          rawHeaders: message.rawHeaders,
          body: Buffer.concat(chunks).toString('utf8'),
          message,
        }),
      );
    });
    request.end(o.body);
  });
}

export function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) pairs.push([flat[i] as string, flat[i + 1] as string]);
  return pairs;
}
