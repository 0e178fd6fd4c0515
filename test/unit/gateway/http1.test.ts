import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer } from '../../../src/gateway/dial.js';
import { Http1Client } from '../../../src/gateway/http1-client.js';
import { Http1Response } from '../../../src/gateway/http1-response.js';
import type { UpstreamRequest } from '../../../src/gateway/upstream-call.js';

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
      end: (trailers, keepAlive) => parts.push(`body ${body}`, `end ${trailers.join('|')} ${keepAlive}`),
    },
  });
  const all = Buffer.from(bytes);
  const size = o.size ?? all.length;
  let rest = '';
  for (let at = 0; at < all.length; at += size) rest += response.push(all.subarray(at, at + size)).toString('latin1');
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
    `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`,
  ]) {
    t.throws(() => read(wrong), { code: 'HTTP1_MALFORMED' }, wrong.slice(0, 60));
  }
});

interface Scene {
  readonly client: Http1Client;
  /** The connections that have been made, in order. */
  readonly sockets: Socket[];
  send(o?: Partial<UpstreamRequest>): { result: Promise<string>; abort(): void };
  /** Resolves when the n-th connection has received `pattern`. */
  received(connection: number, pattern: RegExp): Promise<string>;
}

async function scene(t: Test): Promise<Scene> {
  const sockets: Socket[] = [];
  const texts: string[] = [];
  let wake: () => void = () => {};
  const server: Server = createServer((socket) => {
    const index = sockets.push(socket) - 1;
    texts[index] = '';
    socket.on('data', (chunk) => {
      texts[index] += chunk.toString('latin1');
      wake();
    });
    socket.on('error', () => {});
    wake();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new Http1Client({ dialer: createDialer({ proxy: {} }) });
  t.teardown(() => {
    client.close();
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = upstreamAddress(`http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`);
  return {
    client,
    sockets,
    send: (o = {}) => {
      let abort = (): void => {};
      const result = new Promise<string>((resolve) => {
        let told = '';
        const call = client.send(
          { address, method: 'GET', target: '/x', headers: [], body: null, headersTimeoutMs: 0, ...o },
          {
            information: () => {},
            head: (status) => {
              told = `${status} `;
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
      return { result, abort: () => abort() };
    },
    received: async (connection, pattern) => {
      while (!pattern.test(texts[connection] ?? '')) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const text = texts[connection] ?? '';
      texts[connection] = '';
      return text;
    },
  };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

t.test('requests one after the other share a connection, at the same time they do not', async (t) => {
  const at = await scene(t);
  const first = at.send({ headers: ['X-B', '1', 'x-a', '2', 'X-B', '3'] });
  t.equal(
    await at.received(0, /\r\n\r\n$/),
    `GET /x HTTP/1.1\r\nHost: ${/127[^\r]*/.exec(`127.0.0.1:${at.sockets[0]?.localPort}`)?.[0]}\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\n`,
  );
  at.sockets[0]?.write(OK);
  t.equal(await first.result, '200 ok');
  const second = at.send();
  await at.received(0, /\r\n\r\n$/);
  const third = at.send();
  await at.received(1, /\r\n\r\n$/);
  at.sockets[1]?.write(OK);
  at.sockets[0]?.write(OK);
  t.strictSame(await Promise.all([second.result, third.result]), ['200 ok', '200 ok']);
  t.equal(at.sockets.length, 2);
});

t.test('a body is sent as it comes: by its length, or in chunks', async (t) => {
  const at = await scene(t);
  const sized = at.send({
    method: 'POST',
    headers: ['content-length', '5'],
    body: Readable.from([Buffer.from('he'), Buffer.from('llo')]),
  });
  t.match(await at.received(0, /hello$/), /content-length: 5\r\n\r\nhello$/);
  at.sockets[0]?.write(OK);
  await sized.result;
  const chunked = at.send({ method: 'PUT', body: Readable.from([Buffer.from('he'), Buffer.from('llo')]) });
  t.match(await at.received(0, /0\r\n\r\n$/), /Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n$/);
  at.sockets[0]?.write(OK);
  await chunked.result;
  const empty = at.send({ method: 'POST' });
  t.match(await at.received(0, /\r\n\r\n$/), /Content-Length: 0\r\n\r\n$/);
  at.sockets[0]?.write(OK);
  await empty.result;
  t.equal(at.sockets.length, 1);
});

t.test('an answer before the body has been sent ends the connection with it', async (t) => {
  const at = await scene(t);
  const body = new Readable({ read() {} });
  body.push('some');
  const early = at.send({ method: 'POST', headers: ['content-length', '100'], body });
  await at.received(0, /some$/);
  at.sockets[0]?.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
  t.equal(await early.result, '413 no');
  await once(at.sockets[0] as Socket, 'close');
});

t.test('a client that breaks off its body breaks the request upstream', async (t) => {
  const at = await scene(t);
  const body = new Readable({ read() {} });
  body.push('some');
  const broken = at.send({ method: 'POST', headers: ['content-length', '100'], body });
  await at.received(0, /some$/);
  body.destroy();
  t.equal(await broken.result, 'ECONNRESET');
});

t.test('a connection that closes between requests is not used; one that dies under a request says so', async (t) => {
  const at = await scene(t);
  const first = at.send();
  await at.received(0, /\r\n\r\n$/);
  at.sockets[0]?.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  t.equal(await first.result, '200 ok');
  await once(at.sockets[0] as Socket, 'close');
  const second = at.send();
  await at.received(1, /\r\n\r\n$/);
  at.sockets[1]?.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha');
  at.sockets[1]?.end();
  t.equal(await second.result, '200 haECONNRESET');
  const third = at.send();
  await at.received(2, /\r\n\r\n$/);
  at.sockets[2]?.write('rubbish\r\n\r\n');
  t.equal(await third.result, 'HTTP1_MALFORMED');
});

t.test('an abort ends the connection, a late head is an error, a bad target is never sent', async (t) => {
  const at = await scene(t);
  const aborted = at.send();
  await at.received(0, /\r\n\r\n$/);
  aborted.abort();
  await once(at.sockets[0] as Socket, 'close');
  t.equal(await at.send({ headersTimeoutMs: 20 }).result, 'ETIMEDOUT');
  t.match(await at.send({ target: '/x HTTP/1.1\r\nX: y' }).result, /does not allow/);
});
