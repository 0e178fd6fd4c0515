import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor } from '../../support/front-door.js';
import { pairsOf, send } from '../../support/raw-http.js';
import { untilStalled } from '../../support/until-stalled.js';

const authorized = (at: TestFrontDoor, ...more: string[]): string[] => [
  'Authorization',
  `Bearer ${at.localToken}`,
  ...more,
];

/** The next request that reaches the gateway. */
async function arrival(at: TestFrontDoor): Promise<{ request: IncomingMessage; response: ServerResponse }> {
  const [request, response] = (await once(at.gateway.server, 'request')) as [IncomingMessage, ServerResponse];
  return { request, response };
}

t.test(
  'a GET arrives with its target, its headers in order, and Google’s token in place of the local one',
  async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const seen = arrival(at);
    const answer = send(at, {
      target: '/api/v1//namespaces/%64efault/pods?labelSelector=a%3Db&limit=500',
      headers: authorized(
        at,
        'Impersonate-User',
        'ann',
        'Impersonate-Group',
        'b',
        'X-Mixed',
        '1',
        'Impersonate-Group',
        'a',
        'Cookie',
        'c=1',
      ),
    });
    const { request, response } = await seen;
    t.equal(request.url, `${GATEWAY_PREFIX}/api/v1//namespaces/%64efault/pods?labelSelector=a%3Db&limit=500`);
    const headers = pairsOf(request.rawHeaders);
    t.strictSame(
      headers.filter(([name]) => /^(impersonate|x-)/i.test(name)),
      [
        ['Impersonate-User', 'ann'],
        ['Impersonate-Group', 'b'],
        ['X-Mixed', '1'],
        ['Impersonate-Group', 'a'],
      ],
    );
    t.strictSame(
      headers.filter(([name]) => /^authorization$/i.test(name)),
      [['Authorization', 'Bearer google-token-1']],
    );
    t.notOk(
      headers.some(([name]) => /^cookie$/i.test(name)),
      'cookies stay here',
    );
    t.equal(request.headers.host, new URL(at.gateway.url).host);
    response.writeHead(200, ['Content-Type', 'application/json', 'Warning', '299 - "one"', 'Warning', '299 - "two"']);
    response.end('{}');
    const { status, rawHeaders, body } = await answer;
    t.equal(status, 200);
    t.equal(body, '{}');
    t.strictSame(
      pairsOf(rawHeaders).filter(([name]) => name === 'Warning'),
      [
        ['Warning', '299 - "one"'],
        ['Warning', '299 - "two"'],
      ],
      'repeated answer headers stay repeated',
    );
  },
);

t.test('headers that Connection names are hop-by-hop, but naming the identity is refused', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (request, response) => response.end(JSON.stringify(request.headers)));
  const plain = await send(at, {
    target: '/api',
    headers: authorized(at, 'Connection', 'X-Hop', 'X-Hop', '1', 'X-End', '2'),
  });
  t.match(JSON.parse(plain.body), { 'x-end': '2', 'x-hop': undefined });
  for (const name of ['Impersonate-User', 'authorization', 'impersonate-extra-scopes']) {
    const refused = await send(at, {
      target: '/api/v1/pods',
      headers: authorized(at, 'Connection', `close, ${name}`, 'Impersonate-User', 'x'),
    });
    t.equal(refused.status, 400, name);
    t.match(JSON.parse(refused.body), { kind: 'Status', reason: 'BadRequest', message: /Connection header names/ });
  }
});

t.test('the head of an empty watch arrives before any event', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const seen = arrival(at);
  const request = https.get({
    host: '127.0.0.1',
    port: at.port,
    ca: at.ca,
    path: '/api/v1/pods?watch=true',
    headers: { authorization: `Bearer ${at.localToken}` },
  });
  const { response } = await seen;
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.flushHeaders();
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  t.equal(answer.statusCode, 200);
  response.write('{"type":"ADDED"}\n');
  const [chunk] = (await once(answer, 'data')) as [Buffer];
  t.equal(chunk.toString(), '{"type":"ADDED"}\n', 'one event arrives although the body goes on');
  request.on('error', () => {});
  const gone = once(response, 'close');
  request.destroy();
  await gone;
  t.pass('a client that leaves ends the upstream request at once');
});

t.test('a gateway that dies in mid-body breaks the client’s connection instead of ending it', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const seen = arrival(at);
  const answer = send(at, { target: '/api/v1/pods' });
  const { response } = await seen;
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.write('{"items":[');
  setImmediate(() => response.socket?.destroy());
  await t.rejects(answer, { code: 'ECONNRESET' });
});

t.test('all that came of a body before its gateway died reaches the client', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const seen = arrival(at);
  const client = await at.connect();
  client.write(`GET /api/v1/pods HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${at.localToken}\r\n\r\n`);
  const { response } = await seen;
  const sent = 'x'.repeat(70_000);
  response.writeHead(200, { 'Content-Length': 100_000 });
  response.write(sent, () => response.socket?.end());
  let heard = '';
  client.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1');
  });
  await once(client, 'close');
  t.equal(heard.slice(heard.indexOf('\r\n\r\n') + 4).length, sent.length);
});

t.test(
  'large bodies at the same time, with a length, in chunks and up to the end of the connection, stay apart',
  async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const bodyOf = (n: string): Buffer => Buffer.alloc(1_500_000, `body ${n} `);
    at.gateway.server.on('request', (request, response) => {
      const n = request.url?.split('/').at(-1) ?? '';
      const body = bodyOf(n);
      if (n.startsWith('length')) response.setHeader('Content-Length', body.length);
      if (n.startsWith('close')) response.shouldKeepAlive = false;
      if (n.startsWith('close')) response.useChunkedEncodingByDefault = false;
      for (let start = 0; start < body.length; start += 70_001) response.write(body.subarray(start, start + 70_001));
      response.end();
    });
    const names = ['length', 'chunks', 'close'].flatMap((framing) => [1, 2, 3].map((n) => `${framing}${n}`));
    const bodies = await Promise.all(
      names.map(async (name) => (await send(at, { target: `/api/v1/namespaces/${name}` })).body),
    );
    for (const [i, name] of names.entries()) t.ok(bodies[i] === bodyOf(name).toString(), name);
  },
);

t.test('uploads and downloads pass whole, both ways, with their trailers', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (request, response) => {
    response.writeHead(200, { Trailer: 'X-Sum' });
    request.on('end', () => {
      response.addTrailers({ 'X-Sum': 'abc' });
      response.end();
    });
    request.pipe(response, { end: false });
  });
  const body = Buffer.alloc(3_000_000, 'x');
  const fixed = await send(at, {
    method: 'POST',
    target: '/api',
    headers: authorized(at, 'Content-Length', String(body.length)),
    body,
  });
  t.equal(fixed.body.length, body.length);
  t.strictSame(fixed.message.rawTrailers, ['X-Sum', 'abc']);
  const chunked = await send(at, {
    method: 'DELETE',
    target: '/api',
    headers: authorized(at, 'Transfer-Encoding', 'chunked'),
    body: '{"a":1}',
  });
  t.equal(chunked.body, '{"a":1}', 'a chunked DELETE stays one request');
});

t.test('gzip bodies are passed on untouched', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const zipped = gzipSync('hello');
  at.gateway.server.on('request', (request, response) => {
    t.equal(request.headers['accept-encoding'], 'gzip');
    response.writeHead(200, { 'Content-Encoding': 'gzip' });
    response.end(zipped);
  });
  const answer = await send(at, { target: '/api/v1/pods', headers: authorized(at, 'Accept-Encoding', 'gzip') });
  t.equal(answer.message.headers['content-encoding'], 'gzip');
});

t.test('a client that waits for 100 Continue gets it once upstream wants the body', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (request, response) => {
    t.equal(request.headers.expect, '100-continue');
    request.pipe(response);
  });
  const request = https.request({
    host: '127.0.0.1',
    port: at.port,
    ca: at.ca,
    method: 'POST',
    path: '/api/v1/namespaces/default/pods',
    headers: { authorization: `Bearer ${at.localToken}`, expect: '100-continue', 'content-length': 4 },
  });
  request.flushHeaders();
  await once(request, 'continue');
  request.end('body');
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  t.equal((await answer.toArray()).join(''), 'body');
});

t.test('the 401 of a workload passes as it is: nothing is asked twice, and Google’s token is kept', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const target = '/api/v1/namespaces/default/services/web/proxy/login';
  const seen: unknown[] = [];
  at.gateway.server.on('request', (request, response) => {
    seen.push([request.method, request.headers.authorization]);
    const own = request.url?.endsWith('/login') === true;
    response.writeHead(own ? 401 : 200, { 'WWW-Authenticate': 'Basic' });
    response.end(own ? 'log in' : 'ok');
  });
  for (const method of ['GET', 'POST']) {
    const { status, body } = await send(at, { method, target, headers: authorized(at) });
    t.strictSame([status, body], [401, 'log in'], method);
  }
  t.equal((await send(at, { target: '/version', headers: authorized(at) })).status, 200);
  const token = 'Bearer google-token-1';
  t.strictSame(seen, [
    ['GET', token],
    ['POST', token],
    ['GET', token],
  ]);
});

t.test('Google’s own 401 on the way to a workload is answered by one fresh token', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (request, response) => {
    const fresh = request.headers.authorization === 'Bearer google-token-2';
    response.writeHead(fresh ? 200 : 401, { 'Content-Type': 'application/json' });
    const details = [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'ACCESS_TOKEN_EXPIRED',
        metadata: { service: 'connectgateway.googleapis.com' },
      },
    ];
    const error = { code: 401, message: 'bad token', status: 'UNAUTHENTICATED', details };
    response.end(fresh ? 'page' : JSON.stringify({ error }));
  });
  const target = '/api/v1/namespaces/default/services/web/proxy/';
  t.match(await send(at, { target, headers: authorized(at) }), { status: 200, body: 'page' });
});

t.test('a 401 from Google is answered by one fresh token for a GET, and never by repeating a write', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const methods: string[] = [];
  at.gateway.server.on('request', (request, response) => {
    methods.push(`${request.method} ${request.headers.authorization}`);
    request.resume();
    const fresh = request.headers.authorization !== 'Bearer google-token-1' && request.method === 'GET';
    response.writeHead(fresh ? 200 : 401, { 'Content-Type': 'application/json' });
    response.end(
      fresh ? '{"kind":"PodList"}' : '{"error":{"code":401,"message":"bad token","status":"UNAUTHENTICATED"}}',
    );
  });
  const read = await send(at, { target: '/api/v1/pods' });
  t.equal(read.status, 200);
  t.strictSame(methods.splice(0), ['GET Bearer google-token-1', 'GET Bearer google-token-2']);
  const write = await send(at, {
    method: 'POST',
    target: '/api/v1/pods',
    headers: authorized(at, 'Content-Length', '2'),
    body: '{}',
  });
  t.equal(write.status, 401);
  t.match(JSON.parse(write.body), {
    kind: 'Status',
    reason: 'Unauthorized',
    message: /did not accept the daemon's access token/,
  });
  t.strictSame(methods, ['POST Bearer google-token-2']);
  t.equal(at.tokens.refused, 2, 'the next request gets a new token');
});

t.test('a keep-alive connection that died meanwhile is replaced for a GET', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  let count = 0;
  at.gateway.server.on('request', (request, response) => {
    count++;
    if (count === 2) {
      request.socket.destroy();
      return;
    }
    response.end(`answer ${count}`);
  });
  t.equal((await send(at, { target: '/version' })).body, 'answer 1');
  t.equal((await send(at, { target: '/version' })).body, 'answer 3', 'repeated once, on a new connection');
  count = 1;
  const write = await send(at, {
    method: 'POST',
    target: '/x',
    headers: authorized(at, 'Content-Length', '1'),
    body: '1',
  });
  t.equal(write.status, 502, 'a write is never repeated');
  t.match(JSON.parse(write.body), { kind: 'Status', message: /connection was lost before an answer/ });
});

t.test('a gateway that cannot be reached is a 502 Status that names host and cause', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const { host } = new URL(at.gateway.url);
  await at.gateway.close();
  const answer = await send(at, { target: '/api/v1/pods' });
  t.equal(answer.status, 502);
  t.match(JSON.parse(answer.body), { kind: 'Status', code: 502, reason: 'BadGateway' });
  t.match(answer.body, host);
  t.match(answer.body, /refused/);
  const discovery = await send(at, { target: '/api?timeout=32s' });
  t.equal(discovery.status, 502);
  t.match(
    discovery.message.headers['content-type'],
    /^text\/plain/,
    'discovery failures are text: kubectl shows nothing else',
  );
});

t.test('headers over Google’s limit are refused here, naming the largest', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const answer = await send(at, { target: '/api/v1/pods', headers: authorized(at, 'X-Big', 'y'.repeat(9000)) });
  t.equal(answer.status, 431);
  t.match(JSON.parse(answer.body), { kind: 'Status', code: 431, message: /largest is X-Big/i });
});

t.test('the cluster’s own failures pass byte for byte, Google’s become a Status', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  let next = { status: 404, type: 'application/json', body: '' };
  at.gateway.server.on('request', (_request, response) => {
    response.writeHead(next.status, { 'Content-Type': next.type });
    response.end(next.body);
  });
  const own = '{"kind":"Status", "apiVersion":"v1","status":"Failure","message":"pods \\"x\\" not found","code":404}\n';
  next = { status: 404, type: 'application/json', body: own };
  t.equal((await send(at, { target: '/api/v1/namespaces/default/pods/x' })).body, own);

  const page =
    '<!DOCTYPE html><html><head><title>Error 404 (Not Found)!!1</title></head><body><p>The requested URL was not found on this server.</body></html>';
  next = { status: 404, type: 'text/html; charset=UTF-8', body: page };
  const html = await send(at, { target: '/api/v1/pods' });
  t.match(JSON.parse(html.body), { kind: 'Status', code: 404, message: /the endpoint of membership prod is wrong/ });

  next = {
    status: 404,
    type: 'application/json',
    body: JSON.stringify({
      error: {
        code: 404,
        message: 'cannot connect to agent or connection unexpectedly terminated for (project: 1, membership: prod)',
        status: 'NOT_FOUND',
      },
    }),
  };
  const lost = await send(at, { target: '/api/v1/pods?watch=1' });
  t.equal(lost.status, 503, 'watchers give up on 404');
  t.equal(lost.message.headers['retry-after'], undefined, 'no ten silent retries');
  t.match(JSON.parse(lost.body), {
    kind: 'Status',
    reason: 'ServiceUnavailable',
    message: /Connect agent of membership prod/,
  });

  const app = '<!doctype html><title>an app says no</title>';
  next = { status: 404, type: 'text/html', body: app };
  t.equal(
    (await send(at, { target: '/api/v1/namespaces/default/services/web/proxy/x' })).body,
    app,
    'a workload’s page is its own',
  );
});

/** Answers every request with this, again and again, as fast as it is taken; tells how much of it has been written. */
function flood(at: TestFrontDoor, piece: string): () => number {
  let written = 0;
  at.gateway.server.on('request', (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const push = (): void => {
      let takes = true;
      while (takes && written < 400 * 1024 * 1024) {
        written += piece.length;
        takes = response.write(piece);
      }
    };
    response.on('drain', push);
    push();
  });
  return () => written;
}

/** The answer to a client that reads nothing of it. */
async function unread(at: TestFrontDoor, path: string): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${at.localToken}` };
  const request = https.get({ host: '127.0.0.1', port: at.port, ca: at.ca, path, headers });
  request.on('error', () => {});
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.pause();
  return answer;
}

t.test('a slow client holds the gateway back instead of filling memory', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const written = flood(at, 'x'.repeat(64 * 1024));
  const answer = await unread(at, '/api/v1/pods');
  await untilStalled(written);
  t.ok(written() < 40 * 1024 * 1024, `${written()} bytes were accepted before the stall`);
  answer.destroy();
});

t.test('a watch of a slow client that is ended by hand ends behind a whole event', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const object = { metadata: { resourceVersion: '5' }, spec: 'x'.repeat(50_000) };
  const event = JSON.stringify({ type: 'MODIFIED', object });
  const written = flood(at, `${event}\n`);
  const answer = await unread(at, '/api/v1/pods?watch=1&resourceVersion=1');
  await untilStalled(written);
  t.ok(at.sessions.kill(at.sessions.live()[0]?.id ?? ''));
  const lines = (await text(answer)).split('\n');
  t.equal(lines.pop(), '');
  t.match(JSON.parse(lines.pop() ?? ''), { type: 'ERROR' });
  t.ok(lines.length > 10);
  t.ok(lines.every((line) => line === event));
});
