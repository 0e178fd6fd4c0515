import { once } from 'node:events';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer } from '../../../src/gateway/dial.js';
import { Http1Client } from '../../../src/gateway/http1-client.js';
import { Http1Response } from '../../../src/gateway/http1-response.js';
import type { UpstreamRequest } from '../../../src/gateway/upstream-call.js';
import { FakeClock } from '../../support/fake-clock.js';
import { RawGateway } from '../../support/raw-gateway.js';

/** What a response says, in one list. */
function read(
  bytes: Buffer | string,
  o: { method?: string; size?: number } = {},
): { parts: string[]; response: Http1Response; rest: string } {
  const parts: string[] = [];
  let body = '';
  const response = new Http1Response({
    method: o.method ?? 'GET',
    sink: {
      information: (status) => parts.push(`information ${status}`),
      head: (status, text, headers) => parts.push(`head ${status} ${text} ${headers.join('|')}`),
      body: (chunk) => {
        body += chunk.toString('latin1');
      },
      end: (trailers, { keepAlive, idleSeconds }) =>
        parts.push(
          `body ${body}`,
          `end ${trailers.join('|')} ${keepAlive}${idleSeconds === undefined ? '' : ` ${idleSeconds} s`}`,
        ),
    },
  });
  const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
  const size = o.size ?? all.length;
  let rest = '';
  for (let at = 0; at < all.length; at += size) {
    const lent = Buffer.from(all.subarray(at, at + size));
    rest += response.push(lent).toString('latin1');
    // Whose memory it is may use it again.
    lent.fill('!');
  }
  return { parts, response, rest };
}

const RESPONSES: Record<string, [string, string[]]> = {
  'a body of known length': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello',
    ['head 200 OK Content-Length|5|X-A|1|x-a|2', 'body hello', 'end  true'],
  ],
  'a chunked body with extensions and trailers': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nWiki\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\nX-T: 2\r\n\r\n',
    ['head 200 OK Transfer-Encoding|chunked', 'body Wiki0123456789', 'end X-T|1|X-T|2 true'],
  ],
  'no content': ['HTTP/1.1 204 \r\nConnection: close\r\n\r\n', ['head 204  Connection|close', 'body ', 'end  false']],
  'not modified, though it names a length': [
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
    ['head 304 Not Modified Content-Length|9', 'body ', 'end  true'],
  ],
  'early hints before the answer': [
    'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    ['information 103', 'head 200 OK Content-Length|0', 'body ', 'end  true'],
  ],
  'HTTP/1.0 that keeps alive': [
    'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx',
    ['head 200 OK Connection|Keep-Alive|Content-Length|1', 'body x', 'end  true'],
  ],
  'both framings: chunked wins and the connection is not used again': [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    ['head 200 OK Content-Length|3|Transfer-Encoding|chunked', 'body x', 'end  false'],
  ],
  'no content, though it names a length: what may follow is not the next answer': [
    'HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n',
    ['head 204 No Content Content-Length|3', 'body ', 'end  false'],
  ],
  'the time that its connection is kept': [
    'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n',
    ['head 200 OK Keep-Alive|timeout=5, max=100|Content-Length|0', 'body ', 'end  true 5 s'],
  ],
  'bytes beyond ASCII in its values, the last of which is no space': [
    'HTTP/1.1 200 D\xe9j\xe0\r\nX: \xe9\xa0\r\nContent-Length: 0\r\n\r\n',
    ['head 200 D\xe9j\xe0 X|\xe9\xa0|Content-Length|0', 'body ', 'end  true'],
  ],
  'chunks in HTTP/1.0, which knows none: the connection is not used again': [
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ['head 200 OK Connection|keep-alive|Transfer-Encoding|chunked', 'body ', 'end  false'],
  ],
};

for (const [name, [bytes, expected]] of Object.entries(RESPONSES)) {
  t.test(`a response with ${name} is read at every chunk size`, async (t) => {
    for (const size of [1, 2, 3, 7, 1000]) {
      const { parts, response, rest } = read(bytes, { size });
      t.strictSame(parts, expected, `${size} bytes`);
      t.ok(response.done);
      t.equal(rest, '');
    }
  });
}

t.test('the answer to HEAD has no body, and what follows a response is handed back', async (t) => {
  const { parts, rest } = read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnext!', { method: 'HEAD' });
  t.strictSame(parts, ['head 200 OK Content-Length|5', 'body ', 'end  true']);
  t.equal(rest, 'next!');
});

t.test('a body that ends with the connection is whole; one that is cut short is not', async (t) => {
  const open = read('HTTP/1.1 200 OK\r\n\r\nall of it');
  t.ok(open.response.close());
  t.strictSame(open.parts, ['head 200 OK ', 'body all of it', 'end  false']);
  t.notOk(read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel').response.close());
  t.notOk(read('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n').response.close());
  t.notOk(read('HTTP/1.1 200').response.close());
});

t.test('what is no HTTP/1.1 response is refused', async (t) => {
  for (const wrong of [
    'SSH-2.0-OpenSSH\r\n\r\n\r\n',
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nNo colon\r\n\r\n',
    'HTTP/1.1 200 OK\r\nSpace : x\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 099 Odd\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n',
    'http/1.1 200 OK\r\n\r\n',
    '\r\nHTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 200 O\x07K\r\n\r\n',
    `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`,
    // A line's end in any other form, by which one answer could be two.
    'HTTP/1.1 200 OK\n\n',
    'HTTP/1.1 200 OK\r\nA: b\n\n',
    'HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n',
    'HTTP/1.1 200 OK\r\n: b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n',
    ...['-1', '+1', '0x1', ' 1', '1 1', '', ';a', '1\n', '1'.repeat(13), '1;\x07', `1;${'a'.repeat(5000)}`].map(
      (size) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\nx\r\n`,
    ),
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\nx',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nNo colon\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\n',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${`X: ${'y'.repeat(1000)}\r\n`.repeat(100)}`,
    'HTTP/1.1 102 Processing\r\n\r\n'.repeat(101),
  ]) {
    for (const size of [1, 1000]) {
      t.throws(() => read(wrong, { size }), { code: 'HTTP1_MALFORMED' }, JSON.stringify(wrong.slice(0, 90)));
    }
  }
});

const parts = (...texts: string[]): Readable => Readable.from(texts.map((text) => Buffer.from(text)));

interface Scene {
  readonly client: Http1Client;
  readonly clock: FakeClock;
  readonly gateway: RawGateway;
  send(o?: Partial<UpstreamRequest>): { result: Promise<string>; headCame: Promise<void>; abort(): void };
}

async function scene(t: Test): Promise<Scene> {
  const gateway = await RawGateway.start(t);
  const clock = new FakeClock();
  const client = new Http1Client({ dialer: createDialer({ proxy: {} }), clock });
  t.teardown(() => client.close());
  const address = upstreamAddress(`${gateway.url}/prefix`);
  return {
    client,
    clock,
    gateway,
    send: (o = {}) => {
      let abort = (): void => {};
      let onHead = (): void => {};
      const headCame = new Promise<void>((resolve) => {
        onHead = resolve;
      });
      const result = new Promise<string>((resolve) => {
        let told = '';
        const call = client.send(
          { address, method: 'GET', target: '/x', headers: [], body: null, headersTimeoutMs: 0, ...o },
          {
            information: (status) => {
              told += `(${status}) `;
            },
            head: (status) => {
              told += `${status} `;
              onHead();
            },
            data: (chunk) => {
              told += chunk.toString();
              return true;
            },
            end: () => resolve(told),
            failed: (error) => resolve(`${told}${(error as NodeJS.ErrnoException).code ?? String(error)}`),
          },
        );
        abort = () => {
          call.abort();
          resolve('aborted');
        };
      });
      return { result, headCame, abort: () => abort() };
    },
  };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

t.test('requests one after the other share a connection, at the same time they do not', async (t) => {
  const at = await scene(t);
  const first = at.send({ headers: ['X-B', '1', 'x-a', '2', 'X-B', '3'] });
  const one = await at.gateway.connection(0);
  t.equal(
    await one.head(),
    `GET /x HTTP/1.1\r\nHost: ${new URL(at.gateway.url).host}\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\n`,
  );
  one.write(OK);
  t.equal(await first.result, '200 ok');
  const second = at.send();
  await one.head();
  const third = at.send();
  const two = await at.gateway.connection(1);
  await two.head();
  two.write(OK);
  one.write(OK);
  t.strictSame(await Promise.all([second.result, third.result]), ['200 ok', '200 ok']);
  t.equal(at.gateway.connections.length, 2);
});

t.test('a body is sent as it comes: by its length, or in chunks with its trailers', async (t) => {
  const at = await scene(t);
  const sized = at.send({ method: 'POST', headers: ['content-length', '5'], body: { stream: parts('he', 'llo') } });
  const one = await at.gateway.connection(0);
  t.match(await one.received(/hello$/), /content-length: 5\r\n\r\nhello$/);
  one.write(OK);
  await sized.result;
  const chunked = at.send({
    method: 'PUT',
    body: { stream: parts('he', 'llo'), trailers: () => ['X-Sum', '1', 'X-Sum', '2'] },
  });
  t.match(
    await one.received(/0\r\n.*\r\n\r\n$/s),
    /Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n$/,
  );
  one.write(OK);
  await chunked.result;
  const empty = at.send({ method: 'POST' });
  t.match(await one.head(), /Content-Length: 0\r\n\r\n$/);
  one.write(OK);
  await empty.result;
  t.equal(at.gateway.connections.length, 1);
});

t.test('an answer before the body has been sent ends the connection with it, and the rest is let go', async (t) => {
  const at = await scene(t);
  const stream = new Readable({ read() {} });
  stream.push('some');
  const early = at.send({ method: 'POST', headers: ['content-length', '100'], body: { stream } });
  const one = await at.gateway.connection(0);
  await one.received(/some$/);
  one.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
  t.equal(await early.result, '413 no');
  await one.closed();
  stream.push('more');
  stream.push(null);
  await once(stream, 'end');
});

t.test('a body that upstream is to want first is sent when it says so, or says nothing for a second', async (t) => {
  const at = await scene(t);
  const ask = (
    headers: readonly string[] = [],
  ): { result: Promise<string>; wanted: Promise<void>; begun: () => boolean } => {
    let tell = (): void => {};
    let begun = false;
    const wanted = new Promise<void>((resolve) => {
      tell = () => {
        begun = true;
        resolve();
      };
    });
    const { result } = at.send({ method: 'PUT', headers, body: { stream: parts('body'), onWanted: tell } });
    return { result, wanted, begun: () => begun };
  };
  const granted = ask(['Content-Length', '4']);
  const one = await at.gateway.connection(0);
  t.match(await one.head(), /Content-Length: 4\r\nExpect: 100-continue\r\n\r\n$/);
  t.notOk(granted.begun());
  one.write('HTTP/1.1 100 Continue\r\n\r\n');
  await granted.wanted;
  t.equal(await one.received(/body/), 'body');
  one.write(OK);
  t.equal(await granted.result, '200 ok', 'the client is not told of the 100');

  const unanswered = ask();
  await one.head();
  at.clock.advance(999);
  t.notOk(unanswered.begun());
  at.clock.advance(1);
  await unanswered.wanted;
  await one.received(/body\r\n0\r\n\r\n$/);
  // Too late to matter.
  one.write(`HTTP/1.1 100 Continue\r\n\r\n${OK}`);
  t.equal(await unanswered.result, '200 ok');

  const refused = ask();
  await one.head();
  one.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
  t.equal(await refused.result, '401 no');
  at.clock.advance(5000);
  t.notOk(refused.begun(), 'the body of a refused request stays where it is');
  await one.closed();
});

t.test('a client that breaks off its body breaks the request upstream', async (t) => {
  const at = await scene(t);
  const stream = new Readable({ read() {} });
  stream.push('some');
  const broken = at.send({ method: 'POST', headers: ['content-length', '100'], body: { stream } });
  await (await at.gateway.connection(0)).received(/some$/);
  stream.destroy();
  t.equal(await broken.result, 'ECONNRESET');
  const gone = at.send({ method: 'POST', headers: ['content-length', '100'], body: { stream } });
  t.equal(await gone.result, 'ECONNRESET', 'also where it had broken off before there was a connection');
});

t.test('a connection that closes between requests is not used; one that dies under a request says so', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const one = await at.gateway.connection(0);
  await one.head();
  one.socket.end(OK);
  t.equal(await first.result, '200 ok');
  await one.closed();
  const second = at.send();
  const two = await at.gateway.connection(1);
  await two.head();
  two.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha');
  two.socket.end();
  t.equal(await second.result, '200 haECONNRESET');
  const third = at.send();
  const three = await at.gateway.connection(2);
  await three.head();
  three.write('rubbish\r\n\r\n');
  t.equal(await third.result, 'HTTP1_MALFORMED');
});

t.test('an abort ends the connection, a late head is an error, a bad target is never sent', async (t) => {
  const at = await scene(t);
  const aborted = at.send();
  const one = await at.gateway.connection(0);
  await one.head();
  aborted.abort();
  await one.closed();
  const late = at.send({ headersTimeoutMs: 20_000 });
  await (await at.gateway.connection(1)).head();
  at.clock.advance(20_000);
  t.equal(await late.result, 'ETIMEDOUT');
  t.match(await at.send({ target: '/x HTTP/1.1\r\nX: y' }).result, /does not allow/);
});

t.test('the deadline of a head begins with the end of the request, and ends with the head', async (t) => {
  const at = await scene(t);
  const stream = new Readable({ read() {} });
  const slow = at.send({ method: 'POST', headersTimeoutMs: 20_000, body: { stream } });
  const one = await at.gateway.connection(0);
  stream.push('a');
  await one.received(/a\r\n$/);
  at.clock.advance(60_000);
  stream.push('b');
  stream.push(null);
  await one.received(/0\r\n\r\n$/);
  at.clock.advance(19_000);
  one.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no');
  one.write('k');
  t.equal(await slow.result, '200 ok');

  const upload = new Readable({ read() {} });
  const early = at.send({ method: 'POST', headersTimeoutMs: 20_000, body: { stream: upload } });
  await one.head();
  one.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n');
  await early.headCame;
  upload.push(null);
  await one.received(/0\r\n\r\n$/);
  at.clock.advance(60_000);
  one.write('1\r\nk\r\n0\r\n\r\n');
  t.equal(await early.result, '200 ok');
});

t.test('what follows an answer ends the connection before another request could take it for its own', async (t) => {
  const at = await scene(t);
  for (const [n, answer] of [
    `${OK}HTTP/1.1 200 OK\r\n`,
    `HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n`,
  ].entries()) {
    const { result } = at.send();
    const connection = await at.gateway.connection(n);
    await connection.head();
    connection.write(answer);
    t.match(await result, /^20/);
    await connection.closed();
  }
  const first = at.send();
  const last = await at.gateway.connection(2);
  await last.head();
  last.write(OK);
  await first.result;
  last.write('unasked');
  await last.closed();
});

t.test('a connection is kept as long as its server says, and a write takes only a fresh one', async (t) => {
  const at = await scene(t);
  const one = async (answer: string, connection: number, o: Partial<UpstreamRequest> = {}): Promise<string> => {
    const { result } = at.send(o);
    const carrier = await at.gateway.connection(connection);
    await carrier.head();
    carrier.write(answer);
    return await result;
  };
  await one(OK, 0);
  at.clock.advance(2999);
  t.equal(await one(OK, 0, { method: 'DELETE' }), '200 ok', 'used just now');
  at.clock.advance(3001);
  t.equal(await one(OK, 1, { method: 'DELETE' }), '200 ok', 'one that may be closing under it is not for a write');
  at.clock.advance(3001);
  t.equal(await one(OK, 1), '200 ok', 'a read can be sent again, and uses it');
  await one(OK.replace('\r\n\r\n', '\r\nKeep-Alive: timeout=1\r\n\r\n'), 1);
  await at.gateway.connections[1]?.closed();
});
