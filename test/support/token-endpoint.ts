import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A server on loopback whose answers the test gives; gone with the test. Answers its origin. */
export async function serve(
  t: Test,
  answer: (request: IncomingMessage, body: string, response: ServerResponse) => void,
) {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => answer(request, body, response));
  }).listen(0, '127.0.0.1');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An origin where nobody listens. Not one of the ports that fetch refuses by itself. */
export async function closedPort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

export interface TokenEndpoint {
  readonly url: string;
  readonly asked: URLSearchParams[];
  /** What it answers from now on. */
  readonly answer: {
    status: number;
    body: unknown;
    headers?: Record<string, string>;
    hold?: (response: ServerResponse) => void;
  };
}

/** An OAuth token endpoint, and an STS, that answers with what the test last set. */
export async function tokenEndpoint(t: Test): Promise<TokenEndpoint> {
  const asked: URLSearchParams[] = [];
  const answer: TokenEndpoint['answer'] = {
    status: 200,
    body: { access_token: 'ya29.key', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' },
  };
  const origin = await serve(t, (_request, body, response) => {
    asked.push(new URLSearchParams(body));
    if (answer.hold !== undefined) return answer.hold(response);
    const { status, body: told, headers = {} } = answer;
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(JSON.stringify(told));
  });
  return { url: `${origin}/token`, asked, answer };
}

let privateKey: string | undefined;

/** A service account's key whose tokens come from `tokenUri`. */
export function serviceAccountKey(folder: string, tokenUri: string, more: Record<string, unknown> = {}): string {
  privateKey ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  const path = join(folder, 'key.json');
  const key = { type: 'service_account', client_email: 'bot@p.iam.gserviceaccount.com', private_key: privateKey };
  writeFileSync(path, JSON.stringify({ ...key, token_uri: tokenUri, ...more }));
  return path;
}
