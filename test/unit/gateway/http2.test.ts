import { once } from 'node:events';
import * as http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import * as tls from 'node:tls';
import t, { type Test } from 'tap';
import type { FlatHeaders } from '../../../src/base/flat-headers.js';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer } from '../../../src/gateway/dial.js';
import { Http1Client } from '../../../src/gateway/http1-client.js';
import { Http2Client } from '../../../src/gateway/http2-client.js';
import type { UpstreamCall, UpstreamRequest } from '../../../src/gateway/upstream-call.js';
import { FakeClock } from '../../support/fake-clock.js';
import { testCertificates } from '../../support/front-door.js';
import { CODE, WireServer, type WireStream } from '../../support/http2-wire.js';
import { Queue } from '../../support/queue.js';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

/** A stream as the gateway has it. */
interface Arrival {
  readonly stream: http2.ServerHttp2Stream;
  readonly raw: FlatHeaders;
}

interface ClientScene {
  readonly client: Http2Client;
  readonly clock: FakeClock;
  send(o?: Partial<UpstreamRequest> & { slow?: boolean }): Sent;
}

interface Scene extends ClientScene {
  readonly arrivals: Queue<Arrival>;
  /** TCP connections that have been made, in order. */
  readonly sockets: readonly Socket[];
  readonly sessions: readonly http2.ServerHttp2Session[];
}

interface Sent {
  readonly call: UpstreamCall;
  /** Status, headers, body and trailers, or the code of the error behind what had come. */
  readonly result: Promise<string>;
  readonly bytes: () => number;
  /** Resolves at the first byte of the body. */
  readonly begun: Promise<void>;
}

function clientOf(t: Test, { url, ca }: { url: string; ca: string }): ClientScene {
  const clock = new FakeClock();
  const dialer = createDialer({ proxy: {}, extraCa: ca });
  const http1 = new Http1Client({ dialer, clock });
  const client = new Http2Client({ dialer, http1, clock });
  t.teardown(() => {
    client.close();
    http1.close();
  });
  const address = upstreamAddress(`${url}/prefix`);
  return {
    client,
    clock,
    send: ({ slow, ...changes } = {}) => {
      let bytes = 0;
      let call: UpstreamCall | undefined;
      let begin = (): void => {};
      const begun = new Promise<void>((resolve) => {
        begin = resolve;
      });
      const result = new Promise<string>((resolve) => {
        let told = '';
        call = client.send(
          { address, method: 'GET', target: '/x', headers: [], body: null, headersTimeoutMs: 0, ...changes },
          {
            information: (status) => {
              told += `${status} `;
            },
            head: (status, text, headers) => {
              told += `${status} ${text} ${withoutDate(headers)} `;
            },
            data: (chunk) => {
              if (told === '') told = 'data before a head: ';
              bytes += chunk.length;
              begin();
              if (chunk.length < 100) told += chunk.toString();
              return slow !== true;
            },
            end: (trailers) => resolve([told, ...trailers].join('|')),
            failed: (error) => resolve(`${told}${(error as NodeJS.ErrnoException).code ?? String(error)}`),
          },
        );
      });
      return { call: call as UpstreamCall, result, bytes: () => bytes, begun };
    },
  };
}

async function scene(t: Test, o: { settings?: http2.Settings } = {}): Promise<Scene> {
  const { ca, pair } = await testCertificates();
  const arrivals = new Queue<Arrival>();
  const sockets: Socket[] = [];
  const sessions: http2.ServerHttp2Session[] = [];
  const server = http2.createSecureServer({ cert: pair.certificate, key: pair.privateKey, ...o });
  server.on('connection', (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
  });
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on(
    'stream',
    (stream: http2.ServerHttp2Stream, _fields: http2.IncomingHttpHeaders, _flags: number, raw: string[]) => {
      stream.on('error', () => {});
      arrivals.put({ stream, raw });
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { ...clientOf(t, { url, ca }), arrivals, sockets, sessions };
}

function withoutDate(headers: FlatHeaders): string {
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) if (headers[i] !== 'date') kept.push(`${headers[i]}=${headers[i + 1]}`);
  return kept.join(',');
}

t.test('requests at the same time share one connection, and keep their repeated headers', async (t) => {
  const at = await scene(t);
  const headers = ['X-B', '1', 'Impersonate-Group', 'g1', 'x-b', '2', 'Impersonate-Group', 'g2, g3'];
  const first = at.send({ target: '/a//b%2e?x=%20', headers });
  const second = at.send({ target: '/c' });
  const [one, two] = [await at.arrivals.next(), await at.arrivals.next()];
  t.equal(one.stream.session, two.stream.session);
  t.equal(at.sockets.length, 1);
  const { raw } = one;
  const of = (name: string): string[] => raw.filter((_, index) => index % 2 === 1 && raw[index - 1] === name);
  t.strictSame(of('x-b'), ['1', '2']);
  t.strictSame(of('impersonate-group'), ['g1', 'g2, g3']);
  t.strictSame(of(':path'), ['/a//b%2e?x=%20'], 'the target as it came');
  t.match(of(':authority')[0], /^127\.0\.0\.1:\d+$/);
  one.stream.additionalHeaders({ ':status': 103, link: 'x' });
  one.stream.respond({ ':status': 200, 'x-w': ['a', 'b'] }, { waitForTrailers: true });
  one.stream.on('wantTrailers', () => one.stream.sendTrailers({ 'x-t': ['1', '2'] }));
  one.stream.end('hello');
  two.stream.respond({ ':status': 410 });
  two.stream.end();
  t.equal(await first.result, '103 200 OK x-w=a,x-w=b hello|x-t|1|x-t|2');
  t.equal(await second.result, '410 Gone  ');
});

/** Node 20 says nothing of it, nor of the end of the connection that follows: the next ping finds out. */
const SILENT = 'a frame that breaks the protocol';

const ENDS: Record<string, (stream: WireStream) => void> = {
  'RST_STREAM with INTERNAL_ERROR': ({ connection, id }) => connection.reset(id, CODE.internalError),
  'RST_STREAM with CANCEL': ({ connection, id }) => connection.reset(id, CODE.cancel),
  'GOAWAY with an error': ({ connection, id }) => connection.goAway(id, CODE.enhanceYourCalm),
  'GOAWAY that does not count the stream': ({ connection }) => connection.goAway(0, CODE.noError),
  [SILENT]: ({ connection }) => connection.frame({ type: 0, id: 0 }),
  'a TCP reset': ({ connection }) => void connection.tcp.resetAndDestroy(),
  'a FIN': ({ connection }) => void connection.socket.end(),
  'half a frame and a FIN': ({ connection }) =>
    void connection.socket.end(Buffer.from([0, 0, 9, 0, 0, 0, 0, 0, 1, 65])),
};

for (const [form, end] of Object.entries(ENDS)) {
  t.test(`an answer that is cut by ${form} is not whole, and the next request is answered`, async (t) => {
    const wire = await WireServer.listen();
    t.teardown(() => wire.close());
    const at = clientOf(t, wire);
    for (const when of ['before its head', 'in its body']) {
      const sent = at.send();
      const stream = await wire.streams.next();
      if (when === 'in its body') {
        stream.connection.head(stream.id, 200);
        stream.connection.data(stream.id, 'half');
        await sent.begun;
      }
      end(stream);
      if (form === SILENT) {
        await stream.connection.goneAway;
        at.clock.advance(30_000);
        at.clock.advance(15_000);
      }
      t.equal(await sent.result, when === 'in its body' ? '200 OK  halfECONNRESET' : 'ECONNRESET', when);
      const again = at.send();
      const { connection, id } = await wire.streams.next();
      connection.head(id, 204, { end: true });
      t.equal(await again.result, '204 No Content  ');
    }
  });
}

t.test('an end before a head is no answer', async (t) => {
  const wire = await WireServer.listen();
  t.teardown(() => wire.close());
  const sent = clientOf(t, wire).send();
  const { connection, id } = await wire.streams.next();
  connection.reset(id, CODE.noError);
  t.equal(await sent.result, 'ECONNRESET');
});

t.test('a head is told before its data, also where Node reads while it writes', async (t) => {
  const { send, arrivals } = await scene(t);
  const count = 200;
  const serve = async (): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const { stream } = await arrivals.next();
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(20_000));
    }
  };
  const served = serve();
  const results: Promise<string>[] = [];
  for (let i = 0; i < count; i++) {
    results.push(send().result);
    // Writing and reading overlap: what comes meanwhile Node tells at once, but a head in the next tick.
    if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await served;
  for (const result of results) t.match(await result, /^200 OK /);
});

t.test('a refused stream is a lost connection to whoever may repeat it', async (t) => {
  const wire = await WireServer.listen();
  t.teardown(() => wire.close());
  const sent = clientOf(t, wire).send();
  const { connection, id } = await wire.streams.next();
  connection.reset(id, CODE.refusedStream);
  t.equal(await sent.result, 'ECONNRESET');
});

t.test('after a GOAWAY what is under way goes on, and what comes goes elsewhere', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const one = await at.arrivals.next();
  one.stream.respond({ ':status': 200 });
  one.stream.session?.goaway(NGHTTP2_NO_ERROR);
  await new Promise<void>((resolve) => one.stream.session?.ping(() => resolve()));
  const second = at.send();
  const two = await at.arrivals.next();
  t.not(two.stream.session, one.stream.session);
  one.stream.end('all of it');
  two.stream.respond({ ':status': 204 }, { endStream: true });
  t.equal(await first.result, '200 OK  all of it');
  t.equal(await second.result, '204 No Content  ');
});

t.test('a gateway that allows few streams gets more connections, and no request waits behind a watch', async (t) => {
  const at = await scene(t, { settings: { maxConcurrentStreams: 2 } });
  const sent = Array.from({ length: 5 }, (_, index) => at.send({ target: `/${index}` }));
  const arrivals = [];
  for (let i = 0; i < 5; i++) arrivals.push(await at.arrivals.next());
  t.equal(new Set(arrivals.map(({ stream }) => stream.session)).size, 3);
  for (const { stream, raw } of arrivals) {
    stream.respond({ ':status': 200 });
    stream.end(raw[raw.indexOf(':path') + 1]);
  }
  t.strictSame(
    await Promise.all(sent.map(({ result }) => result)),
    [0, 1, 2, 3, 4].map((index) => `200 OK  /${index}`),
  );
  const next = at.send();
  t.ok(at.sessions.includes((await at.arrivals.next()).stream.session as http2.ServerHttp2Session));
  t.equal(at.sockets.length, 3, 'what has room is used again');
  next.call.abort();
});

t.test('an abort resets the stream alone', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const second = at.send();
  const [one, two] = [await at.arrivals.next(), await at.arrivals.next()];
  first.call.abort();
  await once(one.stream, 'close');
  t.equal(one.stream.rstCode, NGHTTP2_CANCEL);
  two.stream.respond({ ':status': 204 }, { endStream: true });
  t.equal(await second.result, '204 No Content  ');
});

t.test('a connection that is given up as dead takes all its streams with it, and none that come', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const second = at.send();
  await at.arrivals.next();
  await at.arrivals.next();
  first.call.lose();
  t.strictSame(await Promise.all([first.result, second.result]), ['ECONNRESET', 'ECONNRESET']);
  const third = at.send();
  (await at.arrivals.next()).stream.respond({ ':status': 204 }, { endStream: true });
  t.equal(await third.result, '204 No Content  ');
  t.equal(at.sockets.length, 2);
});

t.test('a client that does not read holds back its own stream, and no other', async (t) => {
  const at = await scene(t);
  const slow = at.send({ slow: true });
  const quick = at.send();
  const [one, two] = [await at.arrivals.next(), await at.arrivals.next()];
  one.stream.respond({ ':status': 200 });
  const piece = Buffer.alloc(64 * 1024);
  const total = 4 * 1024 * 1024;
  for (let sent = 0; sent < total; sent += piece.length) one.stream.write(piece);
  one.stream.end();
  two.stream.respond({ ':status': 200 });
  two.stream.end('meanwhile');
  t.equal(await quick.result, '200 OK  meanwhile');
  t.ok(slow.bytes() <= 64 * 1024, `${slow.bytes()} bytes came before the pause`);
  t.ok(one.stream.writableLength > total / 2, `${one.stream.writableLength} bytes wait at the gateway`);
  const reading = setInterval(() => slow.call.resume(), 1);
  await slow.result;
  clearInterval(reading);
  t.equal(slow.bytes(), total);
});

t.test('a head that does not come is late, where somebody waits for it', async (t) => {
  const at = await scene(t);
  const late = at.send({ headersTimeoutMs: 30_000 });
  const patient = at.send();
  await at.arrivals.next();
  const { stream } = await at.arrivals.next();
  at.clock.advance(30_000);
  t.equal(await late.result, 'ETIMEDOUT');
  stream.respond({ ':status': 204 }, { endStream: true });
  t.equal(await patient.result, '204 No Content  ');
});

t.test('a gateway that leaves a ping unanswered is given up, one that answers is asked again', async (t) => {
  const wire = await WireServer.listen();
  t.teardown(() => wire.close());
  const at = clientOf(t, wire);
  const sent = at.send();
  const { connection } = await wire.streams.next();
  for (const count of [1, 2]) {
    at.clock.advance(30_000);
    while (connection.pings < count) await once(connection.socket, 'data');
    // The answer to what is asked later comes behind the answer to the ping.
    const later = at.send();
    connection.head((await wire.streams.next()).id, 204, { end: true });
    await later.result;
  }
  connection.answersPings = false;
  at.clock.advance(30_000);
  while (connection.pings < 3) await once(connection.socket, 'data');
  at.clock.advance(15_000);
  t.equal(await sent.result, 'ECONNRESET');
});

t.test('a connection without streams is kept for a while, then ended in good order', async (t) => {
  const at = await scene(t);
  const first = at.send();
  (await at.arrivals.next()).stream.respond({ ':status': 204 }, { endStream: true });
  await first.result;
  at.clock.advance(49_000);
  const second = at.send();
  (await at.arrivals.next()).stream.respond({ ':status': 204 }, { endStream: true });
  await second.result;
  t.equal(at.sockets.length, 1);
  at.clock.advance(51_000);
  await once(at.sessions[0] as http2.ServerHttp2Session, 'close');
});

t.test('after a wake nothing new goes over a connection from before', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const { stream } = await at.arrivals.next();
  at.client.dropIdle();
  const second = at.send();
  const next = await at.arrivals.next();
  t.not(next.stream.session, stream.session);
  stream.respond({ ':status': 204 }, { endStream: true });
  next.stream.respond({ ':status': 204 }, { endStream: true });
  await Promise.all([first.result, second.result]);
  await once(at.sessions[0] as http2.ServerHttp2Session, 'close');
});

/** A server that agrees to one of the protocols and answers in HTTP/1.1 whatever was agreed. */
async function plainServer(t: Test, protocols: string[]): Promise<{ url: string; ca: string; agreed: string[] }> {
  const { ca, pair } = await testCertificates();
  const agreed: string[] = [];
  const options = { cert: pair.certificate, key: pair.privateKey, ALPNProtocols: protocols };
  const server = tls.createServer(options, (socket) => {
    socket.on('error', () => {});
    agreed.push(String(socket.alpnProtocol));
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain'));
    t.teardown(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, ca, agreed };
}

const PLAIN = '200 OK Content-Length=5 plain';

t.test('a gateway without HTTP/2 is asked over HTTP/1.1, with the connection that is there already', async (t) => {
  const server = await plainServer(t, ['http/1.1']);
  const at = clientOf(t, server);
  t.equal(await at.send().result, PLAIN);
  t.equal(await at.send().result, PLAIN);
  t.strictSame(server.agreed, ['http/1.1']);
});

t.test('whoever agrees to HTTP/2 and speaks something else is asked over HTTP/1.1 for a while', async (t) => {
  const server = await plainServer(t, ['h2', 'http/1.1']);
  const at = clientOf(t, server);
  const together = [at.send(), at.send()];
  t.strictSame(await Promise.all(together.map(({ result }) => result)), [PLAIN, PLAIN]);
  t.equal(await at.send().result, PLAIN);
  t.strictSame(server.agreed, ['h2', 'http/1.1', 'http/1.1']);
  at.clock.advance(11 * 60_000);
  t.equal(await at.send().result, PLAIN);
  t.strictSame(server.agreed.slice(3), ['h2', 'http/1.1'], 'after a while it is given another chance');
});

t.test('headers that HTTP/2 forbids fail the request, not the connection', async (t) => {
  const at = await scene(t);
  const first = at.send();
  const { stream } = await at.arrivals.next();
  t.match(await at.send({ headers: ['Connection', 'close'] }).result, /ERR_HTTP2_INVALID_CONNECTION_HEADERS/);
  t.match(await at.send({ headers: ['X-A', 'a\r\nb: c'] }).result, /control character/);
  stream.respond({ ':status': 204 }, { endStream: true });
  t.equal(await first.result, '204 No Content  ');
});
