import t from 'tap';
import { GATEWAY_PREFIX } from '../../support/front-door.js';
import { OK, type RawClient, type Wire, wire } from '../../support/wire.js';

/** One request whose answer is `ok`: what of it reached the gateway, without the request line and Host. */
async function passed(
  at: Wire,
  connection: number,
  say: (client: RawClient) => void,
  end = /\r\n\r\n$/,
): Promise<string[]> {
  const client = await at.client();
  say(client);
  const upstream = await at.gateway.connection(connection);
  const text = await upstream.received(end);
  upstream.write(OK);
  await client.heard(/ok$/);
  client.socket.destroy();
  return text.split('\r\n').filter((line) => !/^Host:|^Authorization: Bearer google-token-1$/.test(line));
}

t.test('what of a request is meant for this hop alone goes no further', async (t) => {
  const at = await wire(t);
  const via = (...headers: string[]) => passed(at, 0, (client) => client.say('GET /version', headers));
  const line = `GET ${GATEWAY_PREFIX}/version HTTP/1.1`;
  t.strictSame(await via(), [line, '', '']);
  t.strictSame(await via('Keep-Alive: timeout=5', 'Proxy-Connection: keep-alive', 'Proxy-Authorization: Basic eDp5'), [
    line,
    '',
    '',
  ]);
  t.strictSame(await via('Connection: close, X-Hop', 'X-Hop: 1', 'X-Stays: 2', 'x-hop: 3'), [
    line,
    'X-Stays: 2',
    '',
    '',
  ]);
  t.strictSame(await via('Upgrade: websocket'), [line, '', ''], 'no Connection: upgrade, no upgrade');
  t.strictSame(await via('TE: gzip, trailers', 'Connection: TE'), [line, 'TE: trailers', 'Connection: TE', '', '']);
  t.strictSame(await via('TE: gzip', 'Connection: TE'), [line, '', '']);
  t.strictSame(
    await via('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__', 'X-Stays: 1'),
    [line, 'X-Stays: 1', '', ''],
    "Java's client offers HTTP/2 with every request",
  );
  t.strictSame(await via('X-Bytes: \xe9\xff', 'X-Empty:'), [line, 'X-Bytes: \xe9\xff', 'X-Empty: ', '', '']);
  t.equal(at.gateway.connections.length, 1, 'all over one connection');
});

t.test('a request with a body is framed anew, whatever Connection says of its framing', async (t) => {
  const at = await wire(t);
  const post = (headers: string[], body: string, end: RegExp) =>
    passed(at, 0, (client) => client.say('POST /version', headers, body), end);
  const line = `POST ${GATEWAY_PREFIX}/version HTTP/1.1`;
  const chunked = [line, 'Transfer-Encoding: chunked', '', '2', 'hi', '0', '', ''];
  t.strictSame(await post(['Content-Length: 2'], 'hi', /hi$/), [line, 'Content-Length: 2', '', 'hi']);
  t.strictSame(await post(['Connection: content-length', 'Content-Length: 2'], 'hi', /0\r\n\r\n$/), chunked);
  t.strictSame(
    await post(['Connection: transfer-encoding', 'Transfer-Encoding: chunked'], '2\r\nhi\r\n0\r\n\r\n', /0\r\n\r\n$/),
    chunked,
  );
  t.strictSame(
    await post(['Transfer-Encoding: Chunked'], '2;ext="a"\r\nhi\r\n0\r\n\r\n', /0\r\n\r\n$/),
    chunked,
    'extensions are of this hop',
  );
  t.strictSame(await post(['Content-Length: 0'], '', /\r\n\r\n$/), [line, 'Content-Length: 0', '', '']);
  t.strictSame(await post([], '', /\r\n\r\n$/), [line, 'Content-Length: 0', '', '']);
  t.strictSame(
    await post(
      ['Trailer: X-Sum, Authorization', 'Transfer-Encoding: chunked'],
      '2\r\nhi\r\n0\r\nX-Sum: a\r\nAuthorization: Bearer x\r\nImpersonate-User: root\r\nX-Sum: b\r\n\r\n',
      /X-Sum: b\r\n\r\n$/,
    ),
    [
      line,
      'Trailer: X-Sum, Authorization',
      'Transfer-Encoding: chunked',
      '',
      '2',
      'hi',
      '0',
      'X-Sum: a',
      'X-Sum: b',
      '',
      '',
    ],
    'trailers arrive, but none that would say who asks or how long the body is',
  );
});

t.test('what could be read in two ways is refused and reaches nobody', async (t) => {
  const at = await wire(t);
  const token = 'Host: 127.0.0.1\r\nAuthorization: Bearer local-prod\r\n';
  const post = (head: string, body: string): string => `POST /version HTTP/1.1\r\n${token}${head}\r\n\r\n${body}`;
  const cases: [string, number][] = [
    [post('Content-Length: 4\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 400],
    [post('Transfer-Encoding: chunked\r\nContent-Length: 4', '0\r\n\r\n'), 400],
    [post('Content-Length: 2\r\nContent-Length: 3', 'hi!'), 400],
    [post('Content-Length: 2, 2', 'hi'), 400],
    [post('Content-Length: +2', 'hi'), 400],
    [post('Transfer-Encoding: chunked, identity', '0\r\n\r\n'), 400],
    [post('Transfer-Encoding: xchunked', '0\r\n\r\n'), 400],
    [post('Transfer-Encoding : chunked', '0\r\n\r\n'), 400],
    [post('Transfer-Encoding: gzip, chunked', '0\r\n\r\n'), 501],
    [`GET /version HTTP/1.1\r\n${token}X: a\r\n folded\r\n\r\n`, 400],
    [`GET /version HTTP/1.1\n${token.replaceAll('\r', '')}\n`, 400],
    [`GET /version HTTP/1.1\r\n${token}X: a\nY: b\r\n\r\n`, 400],
    [`GET /version HTTP/1.1\r\n${token}X: a\rY: b\r\n\r\n`, 400],
    [`GET /version HTTP/1.1\r\n${token}X: a\0\r\n\r\n`, 400],
    [`GET /version HTTP/1.1\r\n${token}Host: 127.0.0.1\r\n\r\n`, 400],
    [`GET /version HTTP/1.1\r\n${token}Connection: Impersonate-Group\r\nImpersonate-Group: a\r\n\r\n`, 400],
    [`GET /version\xe9 HTTP/1.1\r\n${token}\r\n`, 400],
    [`GET http://127.0.0.1/version HTTP/1.1\r\n${token}\r\n`, 400],
    [`OPTIONS * HTTP/1.1\r\n${token}\r\n`, 400],
    [`TRACE /version HTTP/1.1\r\n${token}\r\n`, 405],
    [`CONNECT 127.0.0.1:443 HTTP/1.1\r\n${token}\r\n`, 405],
    [post('Expect: 200-ok\r\nContent-Length: 2', 'hi'), 417],
    [post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5', 'hello'), 400],
    [post('Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 400],
    [`GET /version HTTP/1.1\r\n${token}${'a: \r\n'.repeat(3000)}\r\n`, 431],
  ];
  for (const [bytes, status] of cases) {
    const client = await at.client();
    client.raw(bytes);
    const answer = await client.heard(/\}\s*$/);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} .*"kind":"Status"`, 's'), JSON.stringify(bytes.slice(0, 200)));
    t.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, 'one answer');
    client.socket.destroy();
  }
  for (const { socket } of at.gateway.connections) t.equal(socket.bytesRead, 0, 'nothing of it is sent');
});

t.test(
  'a body whose framing breaks is refused, and upstream does not take what came of it for the whole',
  async (t) => {
    const at = await wire(t);
    for (const [n, body] of ['2\r\nhi\r\nZZ\r\n', '2\r\nhi\r\n0\r\nContent-Length: 3\r\n\r\n'].entries()) {
      const client = await at.client();
      client.say('POST /version', ['Transfer-Encoding: chunked']);
      const upstream = await at.gateway.connection(n);
      await upstream.head();
      client.raw(body);
      t.match(await client.rest(), /^HTTP\/1\.1 400 [\s\S]*"kind":"Status"/);
      await upstream.closed();
      t.notMatch(await upstream.received(/^/), /0\r\n\r\n$/);
    }
  },
);

t.test('a malformed request in the midst of an answer ends the connection, and says nothing into it', async (t) => {
  const at = await wire(t);
  for (const [n, framing] of ['Content-Length: 900', 'Transfer-Encoding: chunked'].entries()) {
    const client = await at.client();
    client.say('GET /version');
    const upstream = await at.gateway.connection(n);
    await upstream.head();
    upstream.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n2\r\nhi\r\n`);
    await client.heard(/hi/);
    client.raw('NONSENSE\r\n\r\n');
    t.equal((await client.rest()).replace(/^\r\n/, ''), '');
    await upstream.closed();
  }
  const waiting = await at.client();
  waiting.say('GET /version');
  const upstream = await at.gateway.connection(2);
  await upstream.head();
  waiting.raw('NONSENSE\r\n\r\n');
  t.match(await waiting.rest(), /^HTTP\/1\.1 400 [\s\S]*\}\s*$/, 'before an answer it can be said what is wrong');
  await upstream.closed();
});

t.test('requests that do not wait for their answers are carried out one after the other', async (t) => {
  const at = await wire(t);
  const client = await at.client();
  client.say('DELETE /first');
  client.say('GET /second');
  client.say('GET /third', ['Connection: Upgrade', 'Upgrade: anything']);
  const first = await at.gateway.connection(0);
  t.match(await first.head(), /^DELETE [^ ]*\/first /);
  first.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
  await client.heard(/\r\n\r\n$/);
  first.write('A1');
  t.match(await first.head(), /^GET [^ ]*\/second /, 'not before the first was over');
  t.equal(at.gateway.connections.length, 1);
  first.write(OK);
  const third = await at.gateway.connection(1);
  t.match(await third.head(), /^GET [^ ]*\/third /);
  third.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\nhello');
  t.match(await client.heard(/hello$/), /^A1HTTP\/1\.1 200 [\s\S]*okHTTP\/1\.1 101 /);

  const leaving = await at.client();
  leaving.say('GET /watched');
  leaving.say('DELETE /never');
  await first.head();
  leaving.socket.destroy();
  await first.closed();
  const other = await at.client();
  other.say('GET /other');
  t.match(await (await at.gateway.connection(2)).head(), /\/other /, 'what a client that left had in line is dropped');
});

t.test(
  'Expect: 100-continue is asked on: a body goes when upstream wants it, and not at all to one that refuses',
  async (t) => {
    const at = await wire(t);
    const client = await at.client();
    client.say('PUT /version', ['Expect: 100-continue', 'Content-Length: 4']);
    const upstream = await at.gateway.connection(0);
    t.match(await upstream.head(), /Content-Length: 4\r\n[\s\S]*Expect: 100-continue\r\n\r\n$/);
    upstream.write('HTTP/1.1 100 Continue\r\n\r\n');
    t.equal(await client.heard(/\r\n\r\n$/), 'HTTP/1.1 100 Continue\r\n\r\n');
    client.raw('body');
    t.equal(await upstream.received(/body$/), 'body');
    upstream.write(OK);
    t.match(await client.heard(/ok$/), /^HTTP\/1\.1 200 [\s\S]*Connection: keep-alive/);

    client.say('PUT /version', ['Expect: 100-continue', 'Content-Length: 4']);
    await upstream.head();
    upstream.write(
      'HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"kind":"Status"}',
    );
    t.match(await client.rest(), /^HTTP\/1\.1 413 [\s\S]*Connection: close[\s\S]*\{"kind":"Status"\}$/);
    await upstream.closed();
  },
);

t.test(
  'a write that Google refuses for its token is sent again with another, while its body is still here',
  async (t) => {
    const at = await wire(t);
    const client = await at.client();
    client.say('PUT /version', ['Expect: 100-continue', 'Content-Length: 4']);
    const first = await at.gateway.connection(0);
    t.match(await first.head(), 'Bearer google-token-1');
    first.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    const second = await at.gateway.connection(1);
    t.match(await second.head(), 'Bearer google-token-2');
    second.write('HTTP/1.1 100 Continue\r\n\r\n');
    await client.heard(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    client.raw('body');
    await second.received(/body$/);
    second.write(OK);
    await client.heard(/ 200 /);

    client.say('DELETE /version');
    await second.head();
    second.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    const third = await at.gateway.connection(2);
    t.match(await third.head(), /^DELETE [\s\S]*Bearer google-token-3/, 'nothing had been done');
    third.write(OK);
    await client.heard(/ 200 /);
    client.say('DELETE /version');
    await third.head();
    third.socket.destroy();
    t.match(await client.heard(/\}\s*$/), /^HTTP\/1\.1 502 /, 'what may have been done is not');
  },
);
