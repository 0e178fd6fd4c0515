import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { openTestFrontDoor, type TestFrontDoor } from '../../support/front-door.js';

const LOST = JSON.stringify({
  error: {
    code: 404,
    status: 'NOT_FOUND',
    message: 'No active connections found for cluster (project: 1, membership: prod)',
  },
});

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

async function ask(at: TestFrontDoor, target = '/api/v1/pods'): Promise<Answered> {
  const headers = { Authorization: `Bearer ${at.localToken}`, 'Accept-Encoding': 'gzip' };
  const request = https.get({ host: '127.0.0.1', port: at.port, path: target, ca: at.ca, agent: false, headers });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks = (await response.toArray()) as Buffer[];
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}

async function scene(
  t: Test,
): Promise<{ at: TestFrontDoor; says: (answer: (response: ServerResponse) => void) => void }> {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  let next: (response: ServerResponse) => void = (response) => void response.end();
  at.gateway.server.on('request', (_request, response) => next(response));
  return {
    at,
    says: (answer) => {
      next = answer;
    },
  };
}

t.test('Google’s error is known behind each encoding, and the Status is not encoded', async (t) => {
  const { at, says } = await scene(t);
  const encodings: [string, Buffer][] = [
    ['gzip', gzipSync(LOST)],
    ['x-gzip', gzipSync(LOST)],
    ['deflate', deflateSync(LOST)],
    ['br', brotliCompressSync(LOST)],
    ['identity', Buffer.from(LOST)],
  ];
  for (const [encoding, body] of encodings) {
    says((response) =>
      response.writeHead(404, { 'Content-Type': 'application/json', 'Content-Encoding': encoding }).end(body),
    );
    const { status, headers, body: told } = await ask(at);
    t.equal(status, 503, encoding);
    t.equal(headers['content-encoding'], undefined);
    t.match(JSON.parse(told.toString()), { kind: 'Status', reason: 'ServiceUnavailable' });
  }
});

t.test('the cluster’s own errors pass byte for byte: encoded, large, in pieces, and in any type', async (t) => {
  const { at, says } = await scene(t);
  const status = (message: string): string =>
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: 422 });
  const large = status(`spec.x: Invalid value: "${'cannot connect to agent '.repeat(20_000)}"`);
  const cases: [string, Buffer, Record<string, string>][] = [
    ['gzip', gzipSync(status('x is invalid')), { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }],
    ['480 kB', Buffer.from(large), { 'Content-Type': 'application/json' }],
    ['480 kB gzip', gzipSync(large), { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }],
    [
      'more than 64 kB of gzip',
      gzipSync(status(Array.from({ length: 60_000 }, (_, i) => (i * 7919 * i) % 99_991).join(' '))),
      { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' },
    ],
    ['text', Buffer.from('404 page not found\n'), { 'Content-Type': 'text/plain' }],
    [
      'protobuf',
      Buffer.from('k8s\0\n\f\n\x02v1\x12\x06Status', 'latin1'),
      { 'Content-Type': 'application/vnd.kubernetes.protobuf' },
    ],
    ['unknown encoding', Buffer.from(LOST), { 'Content-Type': 'application/json', 'Content-Encoding': 'zstd' }],
  ];
  for (const [about, body, headers] of cases) {
    says((response) => {
      response.writeHead(422, headers);
      const half = body.length >> 1;
      response.write(body.subarray(0, half));
      setImmediate(() => response.end(body.subarray(half)));
    });
    const answer = await ask(at);
    t.equal(answer.status, 422, about);
    t.ok(answer.body.equals(body), `${about}: ${answer.body.length} bytes`);
    t.match(answer.headers, { 'content-type': headers['Content-Type'] });
    t.equal(answer.headers['content-encoding'], headers['Content-Encoding'], about);
  }
});

t.test('a failure whose body breaks off is no answer: a read is made again, once', async (t) => {
  const { at, says } = await scene(t);
  let calls = 0;
  says((response) => {
    calls++;
    if (calls > 1) {
      response.writeHead(403, { 'Content-Type': 'application/json' }).end('{"kind":"Status","code":403}');
      return;
    }
    response.writeHead(404, { 'Content-Type': 'application/json', 'Content-Length': LOST.length });
    response.write(LOST.slice(0, 20), () => response.socket?.resetAndDestroy());
  });
  t.equal((await ask(at)).status, 403);
  t.equal(calls, 2);
  calls = -5;
  says((response) => {
    response.writeHead(404, { 'Content-Type': 'application/json', 'Content-Length': LOST.length });
    response.write(LOST.slice(0, 20), () => response.socket?.resetAndDestroy());
  });
  t.match(JSON.parse((await ask(at)).body.toString()), { kind: 'Status', code: 502 });
});

t.test('discovery is told in text with 403, 500 or 502, and what the cluster says of it passes', async (t) => {
  const { at, says } = await scene(t);
  const google = (code: number, status: string): string => JSON.stringify({ error: { code, status, message: 'no' } });
  for (const [code, status, told] of [
    [403, 'PERMISSION_DENIED', 403],
    [404, 'NOT_FOUND', 500],
    [500, 'INTERNAL', 500],
    [503, 'UNAVAILABLE', 502],
  ] as const) {
    says((response) => response.writeHead(code, { 'Content-Type': 'application/json' }).end(google(code, status)));
    for (const target of ['/api', '/apis?timeout=32s', '/openapi/v3', '/apis/apps/v1']) {
      const answer = await ask(at, target);
      t.equal(answer.status, told, `${target}: ${code}`);
      t.match(answer.headers['content-type'], /^text\/plain/);
      t.match(answer.body.toString(), /^connect-gateway-proxy: .*Google says: no.*\n$/);
    }
  }
  const own =
    '{"kind":"Status","apiVersion":"v1","message":"forbidden: User \\"x\\" cannot get path \\"/api\\"","code":403}';
  says((response) => response.writeHead(403, { 'Content-Type': 'application/json' }).end(own));
  t.equal((await ask(at, '/api')).body.toString(), own);
});

t.test('the command that a message ends in names the identity, as IAM does', async (t) => {
  const { at, says } = await scene(t);
  const message = "Permission 'gkehub.gateway.get' denied on resource 'x'";
  const denied = JSON.stringify({ error: { code: 403, status: 'PERMISSION_DENIED', message } });
  says((response) => response.writeHead(403, { 'Content-Type': 'application/json' }).end(denied));
  for (const [description, member] of [
    ['dev@example.com', 'user:dev@example.com'],
    ['ci@p.iam.gserviceaccount.com (through dev@example.com)', 'serviceAccount:ci@p.iam.gserviceaccount.com'],
    ['token file /run/token', 'user:EMAIL'],
    ['$(reboot)@example.com', 'user:EMAIL'],
  ] as const) {
    at.tokens.description = description;
    const { message: told } = JSON.parse((await ask(at)).body.toString()) as { message: string };
    t.match(told, ` --member=${member} --role=roles/gkehub.gatewayEditor`, description);
  }
});
