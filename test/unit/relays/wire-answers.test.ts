import { once } from 'node:events';
import t from 'tap';
import { OK, wire } from '../../support/wire.js';

t.test('every 1xx passes in its place, and none to HTTP/1.0', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  client.say('GET /version');
  const upstream = await at.gateway.connection(0);
  await upstream.head();
  upstream.write(
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: not a link\r\nLink: b\r\nConnection: x\r\n\r\n',
  );
  t.equal(
    await client.heard(/Link: b\r\n\r\n/),
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: not a link\r\nLink: b\r\n\r\n',
  );
  upstream.write(`HTTP/1.1 100 Continue\r\n\r\n${OK}`);
  t.match(await client.heard(/ok$/), /^HTTP\/1\.1 200 /, 'a 100 that nobody asked for is not');
  const old = await at.client();
  old.raw('GET /version HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer local-prod\r\n\r\n');
  await upstream.head();
  upstream.write(
    'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  );
  const answer = await old.rest();
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  t.notMatch(answer, /chunked/i);
  t.ok(answer.endsWith('\r\n\r\nok'), 'the end of the connection is the end of the body');
});

t.test('trailers come through, and none that frames or routes', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  client.say('GET /version', ['TE: trailers']);
  const upstream = await at.gateway.connection(0);
  await upstream.head();
  upstream.write(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: a\r\nContent-Length: 7\r\nSet-Cookie: x\r\nX-Sum: b\r\n\r\n',
  );
  const answer = await client.heard(/0\r\n[\s\S]*\r\n\r\n$/);
  t.ok(answer.endsWith('2\r\nok\r\n0\r\nX-Sum: a\r\nX-Sum: b\r\n\r\n'), answer);
  t.match(answer, /Trailer: X-Sum/);
});

t.test('trailers that are announced where none can come are not announced', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  const { connection } = at.gateway;
  for (const [ask, answer] of [
    ['HEAD', '200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n'],
    ['GET', '304 Not Modified\r\nTrailer: X-Sum\r\n\r\n'],
    ['GET', '200 OK\r\nContent-Length: 2\r\nTrailer: X-Sum\r\n\r\nok'],
  ] as const) {
    client.say(`${ask} /version`);
    const upstream = await connection.call(at.gateway, 0);
    await upstream.head();
    upstream.write(`HTTP/1.1 ${answer}`);
    const heard = await client.heard(/\r\n\r\n(?:ok)?$/);
    t.match(heard, new RegExp(`^HTTP/1\\.1 ${answer.slice(0, 3)} `));
    t.notMatch(heard, /Trailer/);
  }
});

t.test('the length that a chunked answer also tells is not passed on', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  client.say('GET /version');
  const upstream = await at.gateway.connection(0);
  await upstream.head();
  upstream.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n');
  const heard = await client.heard(/ok\r\n0\r\n\r\n$/);
  t.notMatch(heard, /Content-Length/);
});

t.test('answers without a body keep what they say of it', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  client.say('HEAD /version');
  const upstream = await at.gateway.connection(0);
  t.match(await upstream.head(), /^HEAD /);
  upstream.write('HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n');
  t.match(await client.heard(/\r\n\r\n$/), /Content-Length: 12345/);
  client.say('GET /version', ['If-None-Match: "x"']);
  await upstream.head();
  upstream.write('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 9\r\n\r\n');
  t.match(await client.heard(/\r\n\r\n$/), /^HTTP\/1\.1 304 [\s\S]*ETag: "x"/);
  client.say('DELETE /version');
  await upstream.head();
  upstream.write('HTTP/1.1 204 No Content\r\n\r\n');
  t.match(await client.heard(/\r\n\r\n$/), /^HTTP\/1\.1 204 /);
  client.say('OPTIONS /version');
  t.match(await upstream.head(), /^OPTIONS /);
  upstream.write(OK);
  await client.heard(/ok$/);
  t.equal(at.gateway.connections.length, 1);
});

t.test('the head of an answer comes when it is there, also where its body takes its time', async (t) => {
  const at = await wire(t);
  for (const [n, framing] of ['Content-Length: 2', 'Transfer-Encoding: chunked', 'X-Until: close'].entries()) {
    const client = await at.client();
    client.say('GET /version');
    const upstream = await at.gateway.connection(n);
    await upstream.head();
    upstream.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`);
    t.match(await client.heard(/\r\n\r\n$/), /^HTTP\/1\.1 200 OK\r\n/, framing);
    client.socket.destroy();
    await upstream.closed();
  }
});

t.test('what is no HTTP is a 502 Status, and what breaks off is never an end', async (t) => {
  const at = await wire(t);
  let n = 0;
  const broken = async (answer: string): Promise<string> => {
    const client = await at.client();
    client.say('POST /version');
    const upstream = await at.gateway.connection(n++);
    await upstream.head();
    upstream.write(answer);
    upstream.socket.end();
    return await client.rest().finally(() => client.socket.destroy());
  };
  const answered = async (answer: string): Promise<string> => {
    const client = await at.client();
    client.say('POST /version');
    const upstream = await at.gateway.connection(n++);
    await upstream.head();
    upstream.write(answer);
    upstream.socket.end();
    const text = await client.heard(/\}\s*$/);
    client.socket.destroy();
    return text;
  };
  for (const answer of [
    '',
    'HTTP/1.1 2',
    'SSH-2.0-x\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n',
  ]) {
    t.match(await answered(answer), /^HTTP\/1\.1 502 [\s\S]*"kind":"Status"/, JSON.stringify(answer));
  }
  for (const answer of [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n',
  ]) {
    const text = await broken(answer);
    t.match(text, /^HTTP\/1\.1 200 /);
    t.notMatch(text, /0\r\n\r\n$/, 'not the end of a chunked body');
    t.notMatch(text, /hello.*hello/s);
  }
});

t.test('an answer that comes early reaches a client that is still sending', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  const piece = 'x'.repeat(64 * 1024);
  client.say('POST /version', [`Content-Length: ${piece.length * 100}`], piece);
  const upstream = await at.gateway.connection(0);
  await upstream.received(/x$/);
  upstream.write(
    'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"kind":"Status"}',
  );
  t.match(await client.heard(/\}$/), /^HTTP\/1\.1 403 /);
  await upstream.closed();
  for (let i = 1; i < 100; i++) if (!client.socket.write(piece)) await once(client.socket, 'drain');
  client.say('GET /version');
  const next = await at.gateway.connection(1);
  t.match(await next.head(), /^GET /, 'what it still sent was read, and the next request is the next');
  next.write(OK);
  await client.heard(/ok$/);
});

t.test('an upgrade that upstream answers as if it had not been asked is answered so', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  const target = '/api/v1/namespaces/default/services/web/proxy/events';
  client.say(`GET ${target}`, ['Connection: Upgrade', 'Upgrade: anything']);
  const upstream = await at.gateway.connection(0);
  await upstream.head();
  upstream.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n');
  t.match(await client.heard(/data: 1/), /^HTTP\/1\.1 200 OK\r\n[\s\S]*text\/event-stream/);
  upstream.socket.end('data: 2\n\n');
  t.match(await client.rest(), 'data: 2');

  const refused = await at.client();
  refused.say(`GET ${target}`, ['Connection: Upgrade', 'Upgrade: websocket']);
  const second = await at.gateway.connection(1);
  await second.head();
  const page = 'y'.repeat(200_000);
  second.write(`HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: ${page.length}\r\n\r\n${page}`);
  const answer = await refused.rest();
  t.match(answer, /^HTTP\/1\.1 404 /);
  t.equal(answer.split('\r\n\r\n')[1]?.length, page.length, "a workload's long refusal comes whole");
});
