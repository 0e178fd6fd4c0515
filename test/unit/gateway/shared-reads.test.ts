import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { FlatHeaders } from '../../../src/base/flat-headers.js';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { SharedReads } from '../../../src/gateway/shared-reads.js';
import type { ResponseSink, UpstreamCall, UpstreamRequest } from '../../../src/gateway/upstream-call.js';

const BASE = ['Accept', 'application/json', 'Authorization', 'Bearer a', 'User-Agent', 'kubectl/1.33'];

/** A request that has gone upstream, to be answered by the test. */
interface Sent {
  readonly request: UpstreamRequest;
  readonly sink: ResponseSink;
  aborted: boolean;
  resumed: number;
}

class Scene {
  readonly sent: Sent[] = [];
  readonly reads = new SharedReads({
    send: (request, sink) => {
      const sent: Sent = { request, sink, aborted: false, resumed: 0 };
      this.sent.push(sent);
      return {
        resume: () => void sent.resumed++,
        abort: () => {
          sent.aborted = true;
        },
        lose: () => {},
      };
    },
  });

  ask(headers: readonly string[] = BASE, target = '/api'): Reader {
    const reader = new Reader();
    reader.call = this.reads.send(request(headers, target), reader);
    return reader;
  }

  /** Answers the last that was sent. */
  answer(body: string, headers: readonly string[] = ['ETag', '"1"'], status = 200): void {
    const { sink } = this.sent.at(-1) as Sent;
    sink.head(status, status === 200 ? 'OK' : 'X', ['Content-Type', 'application/json', ...headers]);
    if (body !== '') sink.data(Buffer.from(body));
    sink.end([]);
  }
}

function request(headers: readonly string[], target: string): UpstreamRequest {
  const address = upstreamAddress('https://gateway.example/v1/m');
  return { address, method: 'GET', target, headers, body: null, headersTimeoutMs: 0 };
}

class Reader implements ResponseSink {
  call: UpstreamCall | undefined;
  status = 0;
  headers: FlatHeaders = [];
  body = '';
  over = false;
  error: unknown;
  /** Whether it takes what comes; it says so with every chunk. */
  ready = true;

  information(): void {}
  head(status: number, _text: string, headers: FlatHeaders): void {
    this.status = status;
    this.headers = headers;
  }
  data(chunk: Buffer): boolean {
    this.body += chunk.toString();
    return this.ready;
  }
  end(): void {
    this.over = true;
  }
  failed(error: unknown): void {
    this.error = error;
  }
}

t.test('the same question of the same principal, at the same time, is asked once', async (t) => {
  const scene = new Scene();
  const first = scene.ask();
  const second = scene.ask([
    'Accept',
    'application/json',
    'Authorization',
    'Bearer a',
    'User-Agent',
    'k9s',
    'Kubectl-Session',
    'x',
  ]);
  t.equal(scene.sent.length, 1);
  scene.answer('{"versions":["v1"]}');
  for (const reader of [first, second]) t.match(reader, { status: 200, body: '{"versions":["v1"]}', over: true });
});

t.test('never across principals, impersonations, forms, places or questions', async (t) => {
  const others: [string, readonly string[], string?][] = [
    ['another identity', ['Accept', 'application/json', 'Authorization', 'Bearer b']],
    ['impersonation', [...BASE, 'Impersonate-User', 'viewer@example.com']],
    ['another impersonation', [...BASE, 'Impersonate-User', 'admin@example.com']],
    ['a group', [...BASE, 'Impersonate-User', 'viewer@example.com', 'Impersonate-Group', 'a']],
    [
      'two groups',
      [...BASE, 'Impersonate-User', 'viewer@example.com', 'Impersonate-Group', 'a', 'Impersonate-Group', 'b'],
    ],
    ['groups in one line', [...BASE, 'Impersonate-User', 'viewer@example.com', 'Impersonate-Group', 'a, b']],
    ['extra', [...BASE, 'Impersonate-User', 'viewer@example.com', 'Impersonate-Extra-Scopes', 'x']],
    [
      'another form',
      ['Accept', 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList', 'Authorization', 'Bearer a'],
    ],
    ['another encoding', [...BASE, 'Accept-Encoding', 'gzip']],
    ['another path', BASE, '/apis'],
    ['another query', BASE, '/api?timeout=32s'],
    [
      'a header whose value looks like another header',
      ['Accept', 'application/json\nauthorization: Bearer b', 'Authorization', 'Bearer a'],
    ],
  ];
  const scene = new Scene();
  scene.ask();
  for (const [about, headers, target] of others) {
    const before = scene.sent.length;
    scene.ask(headers, target);
    t.equal(scene.sent.length, before + 1, about);
  }
  t.equal(new Set(scene.sent.map(({ request: { headers } }) => headers)).size, others.length + 1);
  t.equal(SharedReads.canShare({ ...request(BASE, '/api'), method: 'POST' }), false);
  t.equal(SharedReads.canShare(request([...BASE, 'Range', 'bytes=0-1'], '/api')), false);
});

t.test(
  'a body with an ETag is asked for again only if it has changed, and each client gets what it needs',
  async (t) => {
    const scene = new Scene();
    scene.ask();
    scene.answer('one', ['ETag', '"1"', 'Vary', 'Accept']);
    const again = scene.ask();
    t.equal(scene.sent.length, 2, 'Google, or the cluster, is asked each time');
    t.match(scene.sent[1]?.request.headers.join('|'), /If-None-Match\|"1"$/);
    scene.answer('', ['Date', 'now'], 304);
    t.match(again, { status: 200, body: 'one', over: true });
    t.match(again.headers.join('|'), /ETag\|"1"/i);

    const knows = scene.ask([...BASE, 'If-None-Match', '"1"']);
    scene.answer('', [], 304);
    t.match(knows, { status: 304, body: '', over: true });
    const weak = scene.ask([...BASE, 'If-None-Match', 'W/"1", "7"']);
    scene.answer('', [], 304);
    t.match(weak, { status: 304 });

    const changed = scene.ask([...BASE, 'If-None-Match', '"1"']);
    scene.answer('two', ['ETag', '"2"']);
    t.match(changed, { status: 200, body: 'two' });
    const other = scene.ask(['Accept', 'application/json', 'Authorization', 'Bearer b']);
    t.notMatch(
      scene.sent.at(-1)?.request.headers.join('|'),
      /If-None-Match/,
      'what one principal was told is not another’s',
    );
    scene.answer('', ['ETag', '"2"'], 200);
    t.equal(other.body, '');
  },
);

t.test('what never changes is not asked again; what must not be kept, or has failed, is', async (t) => {
  const scene = new Scene();
  scene.ask(BASE, '/openapi/v3/api/v1?hash=1');
  scene.answer('schema', ['ETag', '"s"', 'Cache-Control', 'public, immutable']);
  const again = scene.ask(BASE, '/openapi/v3/api/v1?hash=1');
  await setImmediate();
  t.match(again, { status: 200, body: 'schema', over: true });
  t.equal(scene.sent.length, 1);
  for (const [headers, status] of [
    [['ETag', '"1"', 'Cache-Control', 'no-store'], 200],
    [[], 200],
    [['ETag', '"1"'], 503],
  ] as const) {
    scene.ask();
    scene.answer('x', headers, status);
    scene.ask();
    t.notMatch(scene.sent.at(-1)?.request.headers.join('|'), /If-None-Match/);
    scene.answer('x', ['Cache-Control', 'no-store']);
  }
});

t.test('a failure is everybody’s, and the next asks anew', async (t) => {
  const scene = new Scene();
  const readers = [scene.ask(), scene.ask()];
  const error = new Error('reset');
  scene.sent[0]?.sink.failed(error);
  for (const reader of readers) t.equal(reader.error, error);
  scene.ask();
  t.equal(scene.sent.length, 2);
});

t.test('who leaves takes nobody along; when the last has left, nobody is asked any more', async (t) => {
  const scene = new Scene();
  const [a, b] = [scene.ask(), scene.ask()];
  a.call?.abort();
  t.equal(scene.sent[0]?.aborted, false);
  scene.sent[0]?.sink.head(200, 'OK', []);
  scene.sent[0]?.sink.data(Buffer.from('x'));
  t.match(b, { status: 200, body: 'x' });
  t.match(a, { status: 0, body: '' });
  b.call?.abort();
  t.equal(scene.sent[0]?.aborted, true);
  scene.ask();
  t.equal(scene.sent.length, 2);
});

t.test('whoever joins late has all of it; a slow one holds up no fast one', async (t) => {
  const scene = new Scene();
  const slow = scene.ask();
  slow.ready = false;
  const { sink } = scene.sent[0] as Sent;
  sink.head(200, 'OK', ['ETag', '"1"']);
  sink.data(Buffer.from('one,'));
  sink.data(Buffer.from('two,'));
  t.equal(slow.body, 'one,', 'until it asks for more');
  const late = scene.ask();
  await setImmediate();
  t.equal(scene.sent.length, 1);
  t.equal(late.body, 'one,two,');
  sink.data(Buffer.from('three'));
  sink.end([]);
  t.match(late, { body: 'one,two,three', over: true });
  slow.ready = true;
  slow.call?.resume();
  t.match(slow, { body: 'one,two,three', over: true });
});

t.test('a huge body is not kept, and goes at the speed of the slowest', async (t) => {
  const scene = new Scene();
  const [fast, slow] = [scene.ask(), scene.ask()];
  slow.ready = false;
  const { sink } = scene.sent[0] as Sent;
  sink.head(200, 'OK', ['ETag', '"1"']);
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  let flows = true;
  for (let i = 0; i < 9; i++) flows = sink.data(megabyte);
  t.equal(flows, false, 'no more is taken in');
  t.equal(fast.body.length, 9 * megabyte.length);
  slow.ready = true;
  slow.call?.resume();
  t.equal(scene.sent[0]?.resumed, 1);
  scene.ask();
  t.equal(scene.sent.length, 2, 'its beginning is gone, so that nobody can join');
  sink.end([]);
  t.match(slow, { over: true });
  scene.ask();
  t.notMatch(scene.sent.at(-1)?.request.headers.join('|'), /If-None-Match/);
});
