import t from 'tap';
import { SpdyDecoder } from '../../../src/spdy/decode.js';
import { pingFrame, rstStreamFrame, SpdyEncoder } from '../../../src/spdy/encode.js';
import type { SpdyFrame } from '../../../src/spdy/frame.js';
import { LIMIT, RESET } from '../../../src/spdy/frame.js';
import { SpdySession } from '../../../src/spdy/session.js';
import { readFixture } from './fixture.js';
import { acceptingServer, Bench, Consumer, data } from './session-bench.js';

t.test('a stream is opened, accepted, used in both directions and closed by both ends', async (t) => {
  const { bench, consumers, open } = acceptingServer();
  open(1);
  t.match(bench.take(), [{ type: 'syn-reply', streamId: 1, headers: [] }]);
  t.equal(bench.streams[0]?.header('streamtype'), 'data');
  bench.session.receive(data(1, 'ping'));
  bench.streams[0]?.write(Buffer.from('pong'));
  bench.session.receive(data(1, '!', true));
  t.same(consumers[0]?.seen, ['ping', '!', '<end>']);
  t.equal(bench.session.liveStreams, 1, 'our half is open');
  bench.streams[0]?.end();
  t.match(bench.take(), [
    { type: 'data', streamId: 1, chunk: Buffer.from('pong'), fin: false },
    { type: 'data', streamId: 1, chunk: Buffer.alloc(0), fin: true },
  ]);
  t.equal(bench.session.liveStreams, 0);
  t.ok(bench.streams[0]?.closed);
  bench.streams[0]?.write(Buffer.from('late'));
  bench.streams[0]?.end();
  bench.streams[0]?.reset();
  t.same(bench.take(), [], 'a closed stream sends nothing');
});

t.test("kubectl's recorded session is served to its end", async (t) => {
  const { bench, consumers } = acceptingServer();
  for (const { from, bytes } of readFixture('port-forward-1.33-real'))
    if (from === 'client') bench.session.receive(bytes);
  t.same(
    bench.streams.map((stream) => [stream.id, stream.header('streamtype'), stream.header('requestid')]),
    [
      [1, 'error', '0'],
      [3, 'data', '0'],
      [5, 'error', '1'],
      [7, 'data', '1'],
    ],
  );
  t.same(consumers[0]?.seen, ['<end>']);
  t.match(consumers[1]?.seen, [/^GET \/ HTTP/, '<end>']);
  t.match(consumers[3]?.seen, [/^GET \/ HTTP/, '<reset 5>']);
  t.same(bench.goAways, [0]);
  t.same(bench.ends, [], 'the streams that live go on');
});

t.test("a client session understands a real API server's bytes", async (t) => {
  const bench = new Bench('client');
  const consumers = ['error', 'stdout', 'stderr'].map((streamtype) => {
    const consumer = new Consumer();
    bench.session.openStream([['streamtype', streamtype]]).consume(consumer);
    return consumer;
  });
  t.match(bench.take(), [
    { type: 'syn-stream', streamId: 1, headers: [['streamtype', 'error']] },
    { type: 'syn-stream', streamId: 3 },
    { type: 'syn-stream', streamId: 5 },
  ]);
  for (const { from, bytes } of readFixture('exec-1.27-real')) if (from === 'server') bench.session.receive(bytes);
  t.equal(consumers[1]?.seen.join(''), '<reply>hi\n<end>');
  t.equal(consumers[2]?.seen.join(''), '<reply>er\n<end>');
  t.match(consumers[0]?.seen.join(''), /^<reply>\{.*"message":"7"/);
});

t.test('two sessions of ours speak to one another through any fragmentation', async (t) => {
  for (const size of [1, 3, 1000]) {
    const pieces = (bytes: Uint8Array, to: () => SpdySession): boolean => {
      for (let at = 0; at < bytes.length; at += size) to().receive(bytes.subarray(at, at + size));
      return true;
    };
    const echoed: Buffer[] = [];
    const server: SpdySession = new SpdySession({
      role: 'server',
      write: (frame) => pieces(Buffer.concat(frame), () => client),
      pause() {},
      resume() {},
      onStream(stream) {
        stream.accept([['ok', 'yes']]);
        stream.consume({
          onData: (chunk) => stream.write(Buffer.from(chunk)),
          onEnd: () => stream.end(),
          onReset() {},
        });
      },
    });
    const client: SpdySession = new SpdySession({
      role: 'client',
      write: (frame) => pieces(Buffer.concat(frame), () => server),
      pause() {},
      resume() {},
    });
    let replied = false;
    let ended = false;
    const stream = client.openStream([['streamtype', 'data']]);
    stream.consume({
      onData: (chunk) => echoed.push(Buffer.from(chunk)) > 0,
      onEnd() {
        ended = true;
      },
      onReset: () => t.fail('a reset'),
      onReply(headers) {
        replied = true;
        t.same(headers, [['ok', 'yes']]);
      },
    });
    const payload = Buffer.alloc(200_000, 'abcdefg');
    stream.write(payload);
    stream.end();
    // The transport is synchronous: the reply came while the stream was being opened, before its consumer.
    t.ok(replied);
    t.ok(ended);
    t.ok(Buffer.concat(echoed).equals(payload), `by ${size}`);
    t.equal(client.liveStreams + server.liveStreams, 0);
  }
});

t.test('an accepted stream is replied to before anything is sent', async (t) => {
  const bench = new Bench('server');
  bench.session.receive(new SpdyEncoder().synStream({ streamId: 1, headers: [] }));
  const [stream] = bench.streams;
  t.throws(() => stream?.write(Buffer.from('x')), /accepted/);
  t.throws(() => stream?.end(), /accepted/);
  stream?.accept();
  stream?.accept();
  t.equal(bench.take().length, 1, 'one reply');
});

t.test('a refused stream gets a reset and is forgotten', async (t) => {
  const bench = new Bench('server', (stream) => stream.refuse());
  bench.session.receive(new SpdyEncoder().synStream({ streamId: 1, headers: [] }));
  t.same(bench.take(), [{ type: 'rst-stream', streamId: 1, status: RESET.refusedStream }]);
  t.equal(bench.session.liveStreams, 0);
  bench.session.receive(data(1, 'on its way'));
  t.same(bench.ends, []);
});

t.test('what comes before the consumer waits, with the transport paused, and keeps its order', async (t) => {
  const bench = new Bench('server');
  const encoder = new SpdyEncoder();
  bench.session.receive(encoder.synStream({ streamId: 1, headers: [] }));
  bench.session.receive(Buffer.concat([data(1, 'a'), data(1, 'b'), data(1, 'c', true)]));
  t.same(bench.reading, ['pause']);
  const consumer = new Consumer();
  const [stream] = bench.streams;
  stream?.accept();
  stream?.consume(consumer);
  stream?.resume();
  t.same(consumer.seen, ['a', 'b', 'c', '<end>']);
  t.same(bench.reading, ['pause', 'resume']);
  bench.session.receive(encoder.synStream({ streamId: 3, headers: [] }));
  bench.session.receive(rstStreamFrame({ streamId: 3, status: 5 }));
  const late = new Consumer();
  bench.streams[1]?.consume(late);
  t.same(late.seen, ['<reset 5>'], 'a reset that came before the consumer is told to it');
});

t.test('a stream that ends as it opens has no data', async (t) => {
  const { consumers, open } = acceptingServer();
  open(1, true);
  t.same(consumers[0]?.seen, ['<end>']);
});

t.test('reading pauses with the first blocked stream and resumes with the last', async (t) => {
  const { bench, consumers, open } = acceptingServer(1);
  for (const id of [1, 3, 5]) open(id);
  bench.session.receive(data(1, 'a'));
  bench.session.receive(data(3, 'b'));
  t.same(bench.reading, ['pause'], 'once for both');
  bench.session.receive(data(5, 'other streams go on'));
  bench.session.receive(data(1, 'waits'));
  t.same(consumers[0]?.seen, ['a']);
  t.same(consumers[2]?.seen, ['other streams go on']);
  const [first, second, third] = bench.streams;
  for (const consumer of consumers) consumer.room = Number.POSITIVE_INFINITY;
  first?.resume();
  third?.resume();
  t.same(consumers[0]?.seen, ['a', 'waits']);
  t.same(bench.reading, ['pause'], 'the second is still blocked');
  second?.resume();
  t.same(bench.reading, ['pause', 'resume']);
  second?.resume();
  t.same(bench.reading, ['pause', 'resume'], 'a resume of nothing is nothing');
});

t.test('a stream that blocks again at once stays in the set', async (t) => {
  const { bench, consumers, open } = acceptingServer(1);
  open(1);
  bench.session.receive(Buffer.concat([data(1, 'a'), data(1, 'b'), data(1, 'c', true)]));
  const [consumer] = consumers;
  const [stream] = bench.streams;
  if (consumer !== undefined) consumer.room = 1;
  stream?.resume();
  t.same(consumer?.seen, ['a', 'b']);
  t.same(bench.reading, ['pause']);
  if (consumer !== undefined) consumer.room = 2;
  stream?.resume();
  t.same(consumer?.seen, ['a', 'b', 'c', '<end>']);
  t.same(bench.reading, ['pause', 'resume']);
});

t.test('a blocked stream that dies, whoever kills it, does not block the others', async (t) => {
  await t.test('reset by us', async (t) => {
    const { bench, open } = acceptingServer(1);
    open(1);
    bench.session.receive(data(1, 'a'));
    bench.streams[0]?.reset();
    t.same(bench.reading, ['pause', 'resume']);
    t.match(bench.take().at(-1), { type: 'rst-stream', streamId: 1, status: RESET.cancel });
  });
  await t.test('reset by the peer', async (t) => {
    const { bench, consumers, open } = acceptingServer(1);
    open(1);
    bench.session.receive(
      Buffer.concat([data(1, 'a'), data(1, 'dropped'), rstStreamFrame({ streamId: 1, status: 5 })]),
    );
    t.same(bench.reading, ['pause', 'resume']);
    t.same(consumers[0]?.seen, ['a', '<reset 5>']);
  });
});

t.test('writers are told of a full transport, and of room in the order in which they met it', async (t) => {
  const { bench, consumers, open } = acceptingServer();
  for (const id of [1, 3, 5]) open(id);
  const asked: number[] = [];
  for (const [index, consumer] of consumers.entries()) consumer.onDrain = () => asked.push(index);
  const [first, second, third] = bench.streams;
  bench.room = false;
  t.equal(second?.write(Buffer.from('x')), false);
  t.equal(first?.write(Buffer.from('x')), false);
  bench.session.transportDrained();
  t.same(asked.splice(0), [1, 0], 'those who wait, and only they');
  third?.write(Buffer.from('x'));
  first?.write(Buffer.from('x'));
  const [, , greedy] = consumers;
  if (greedy !== undefined) {
    greedy.onDrain = () => {
      asked.push(2);
      third?.write(Buffer.from('again'));
    };
  }
  bench.session.transportDrained();
  t.same(asked.splice(0), [2], 'it filled the transport at once: the other goes on waiting');
  bench.session.transportDrained();
  t.same(asked.splice(0), [0, 2], 'and comes first now');
  bench.room = true;
  bench.session.transportDrained();
  t.equal(first?.write(Buffer.from('x')), true);
  asked.splice(0);
  bench.session.transportDrained();
  t.same(asked, []);
});

t.test('a long write is cut into frames that any peer can hold', async (t) => {
  const { bench, open } = acceptingServer();
  open(1);
  bench.take();
  bench.streams[0]?.write(Buffer.alloc(150_000));
  const sizes = bench.take().map((frame) => (frame.type === 'data' ? frame.chunk.length : -1));
  t.same(sizes, [65_536, 65_536, 18_928]);
});

t.test('pings are echoed by parity, and ours are answered', async (t) => {
  const server = new Bench('server');
  server.session.receive(Buffer.concat([pingFrame(1), pingFrame(2), pingFrame(7)]));
  t.same(server.take(), [
    { type: 'ping', id: 1 },
    { type: 'ping', id: 7 },
  ]);
  t.same(server.pongs, [2]);
  t.same([server.session.ping(), server.session.ping()], [2, 4]);
  const client = new Bench('client');
  client.session.receive(Buffer.concat([pingFrame(1), pingFrame(2)]));
  t.same(client.take(), [{ type: 'ping', id: 2 }]);
  t.same(client.pongs, [1]);
  t.equal(client.session.ping(), 1);
});

t.test('after the goaway of the peer nothing new is opened; after ours nothing new is taken', async (t) => {
  const client = new Bench('client');
  const consumer = new Consumer();
  client.session.openStream([]).consume(consumer);
  const server = new Bench('server');
  const encoder = new SpdyEncoder();
  server.session.receive(encoder.synStream({ streamId: 5, headers: [] }));
  server.session.goAway();
  server.session.goAway();
  t.same(server.take(), [{ type: 'goaway', lastStreamId: 5, status: 0 }], 'once, naming the last stream');
  server.session.receive(encoder.synStream({ streamId: 7, headers: [] }));
  t.match(server.take(), [{ type: 'rst-stream', streamId: 7, status: RESET.refusedStream }]);
  client.session.receive(Buffer.from('80030007000000080000000100000000', 'hex'));
  t.same(client.goAways, [0]);
  t.throws(() => client.session.openStream([]), { code: 'spdy-going-away' });
  client.session.receive(data(1, 'still here'));
  t.same(consumer.seen, ['still here']);
});

t.test('the 257th live stream is refused and the session goes on', async (t) => {
  const { bench, open } = acceptingServer();
  for (let index = 0; index < LIMIT.liveStreams; index++) open(2 * index + 1);
  bench.take();
  open(2 * LIMIT.liveStreams + 1);
  t.match(bench.take(), [{ type: 'rst-stream', status: RESET.refusedStream }]);
  bench.streams[0]?.reset();
  open(2 * LIMIT.liveStreams + 3);
  t.match(bench.take().at(-1), { type: 'syn-reply' });
  t.same(bench.ends, []);
  const client = new Bench('client');
  for (let index = 0; index < LIMIT.liveStreams; index++) client.session.openStream([]);
  t.throws(() => client.session.openStream([]), { code: 'spdy-stream-count' });
});

t.test('bad input ends the session: goaway, every stream reset, the rule named', async (t) => {
  // The second block of its connection: without the zlib header.
  const second = new SpdyEncoder();
  second.synReply({ streamId: 1, headers: [] });
  const synStream = (streamId: number): Buffer => second.synStream({ streamId, headers: [] });
  const cases: [string, Buffer, string][] = [
    ['no SPDY', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n').fill(0x85, 0, 1), 'spdy-version'],
    ['an id of our own side', synStream(2), 'spdy-stream-id'],
    ['an id that was there before', synStream(1), 'spdy-stream-id'],
    ['data of a stream that never was', data(99, 'x'), 'spdy-stream-id'],
    ['data of a stream that we never opened', data(4, 'x'), 'spdy-stream-id'],
    ['an over-long control frame', Buffer.from('8003000400ffffff', 'hex'), 'spdy-control-frame-size'],
  ];
  for (const [name, bytes, code] of cases) {
    const { bench, consumers, open } = acceptingServer();
    open(1);
    bench.take();
    bench.session.receive(Buffer.concat([bytes, data(1, 'never seen')]));
    t.equal(bench.ends.length, 1, name);
    t.equal(bench.ends[0]?.code, code, name);
    t.match(bench.ends[0]?.message, /^The SPDY connection was ended: /);
    t.same(bench.take(), [{ type: 'goaway', lastStreamId: 1, status: 1 }], name);
    t.same(consumers[0]?.seen, ['<reset undefined>'], name);
    t.ok(bench.session.ended);
    bench.session.receive(data(1, 'x'));
    bench.session.end();
    t.equal(bench.ends.length, 1, 'told once');
    t.throws(() => bench.session.openStream([]), { code: 'spdy-going-away' });
  }
});

t.test('data after the end of the peer resets that stream alone', async (t) => {
  const { bench, consumers, open } = acceptingServer();
  open(1);
  open(3);
  bench.take();
  bench.session.receive(Buffer.concat([data(1, 'a', true), data(1, 'more'), data(3, 'b')]));
  t.same(bench.take(), [{ type: 'rst-stream', streamId: 1, status: RESET.streamAlreadyClosed }]);
  t.same(consumers[1]?.seen, ['b']);
  t.same(bench.ends, []);
});

t.test('a peer that provokes answers without reading them is cut off', async (t) => {
  const { bench } = acceptingServer();
  bench.room = false;
  for (let id = 1; id < 2 * 1024; id += 2) bench.session.receive(pingFrame(id));
  t.same(bench.ends, []);
  bench.session.transportDrained();
  for (let id = 1; id < 2 * 1024 + 2; id += 2) bench.session.receive(pingFrame(id));
  t.equal(bench.ends[0]?.code, 'spdy-unread-answers');
});

t.test('the end of the transport reaches every consumer once', async (t) => {
  const { bench, consumers, open } = acceptingServer(1);
  open(1);
  open(3);
  bench.session.receive(data(3, 'x'));
  bench.session.end();
  bench.session.end();
  t.same(
    consumers.map(({ seen }) => seen),
    [['<reset undefined>'], ['x', '<reset undefined>']],
  );
  t.same(bench.ends, [undefined]);
  bench.take();
  bench.streams[0]?.reset();
  bench.session.ping();
  t.same(bench.take(), [], 'nothing is sent any more');
});

t.test('a consumer may end the session from within', async (t) => {
  const bench = new Bench('server', (stream) => {
    stream.accept();
    stream.consume({
      onData() {
        bench.session.end();
        return true;
      },
      onEnd: () => t.fail('told after the end'),
      onReset() {},
    });
  });
  bench.session.receive(
    Buffer.concat([
      new SpdyEncoder().synStream({ streamId: 1, headers: [] }),
      data(1, 'a', true),
      data(1, 'b'),
      pingFrame(1),
    ]),
  );
  t.same(bench.ends, [undefined]);
  t.match(bench.take(), [{ type: 'syn-reply' }]);
});

t.test('a session without onStream refuses all, and never takes one-way streams', async (t) => {
  const sent: SpdyFrame[] = [];
  const decoder = new SpdyDecoder((frame) => sent.push(frame));
  const session = new SpdySession({
    role: 'client',
    write(frame) {
      for (const part of frame) decoder.push(part);
      return true;
    },
    pause() {},
    resume() {},
  });
  session.receive(new SpdyEncoder().synStream({ streamId: 2, headers: [] }));
  t.same(sent, [{ type: 'rst-stream', streamId: 2, status: RESET.refusedStream }]);
  const { bench } = acceptingServer();
  const oneWay = new SpdyEncoder().synStream({ streamId: 1, headers: [] });
  oneWay.writeUInt8(0x02, 4);
  bench.session.receive(oneWay);
  t.same(bench.take(), [{ type: 'rst-stream', streamId: 1, status: RESET.protocolError }]);
});

t.test('a transport gets each payload as it is, behind its head, and says when it is full', async (t) => {
  const written: (readonly Uint8Array[])[] = [];
  let room = true;
  const session = new SpdySession({
    role: 'client',
    write(frame) {
      written.push(frame);
      return room;
    },
    pause() {},
    resume() {},
  });
  const stream = session.openStream([]);
  let drained = 0;
  stream.consume({ onData: () => true, onEnd() {}, onReset() {}, onDrain: () => drained++ });
  const payload = Buffer.alloc(64 * 1024 + 5, 'abc');
  t.equal(stream.write(payload), true);
  room = false;
  t.equal(stream.write(Buffer.from('x')), false);
  session.transportDrained();
  t.equal(drained, 1);
  stream.end();
  const [, first, second, third, end] = written;
  t.equal(first?.[1]?.buffer, payload.buffer, 'a view, no copy');
  const frames: SpdyFrame[] = [];
  const decoder = new SpdyDecoder((frame) => frames.push(frame));
  for (const part of [first, second, third, end].flatMap((frame) => frame ?? [])) decoder.push(part);
  const sizes = frames.map((frame) => (frame.type === 'data' ? [frame.chunk.length, frame.fin] : frame.type));
  t.strictSame(sizes, [
    [64 * 1024, false],
    [5, false],
    [1, false],
    [0, true],
  ]);
});
