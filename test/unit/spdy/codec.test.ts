import { constants, deflateRawSync, deflateSync } from 'node:zlib';
import t from 'tap';
import { SpdyDecoder } from '../../../src/spdy/decode.js';
import { DICTIONARY } from '../../../src/spdy/dictionary.js';
import { goAwayFrame, pingFrame, rstStreamFrame, SpdyEncoder } from '../../../src/spdy/encode.js';
import type { SpdyFrame, SpdyHeaders } from '../../../src/spdy/frame.js';
import { LIMIT } from '../../../src/spdy/frame.js';
import { HeaderBlockReader, HeaderBlockWriter } from '../../../src/spdy/header-block.js';
import { dataFrame } from '../../support/data-frame.js';
import { bytesFrom } from './fixture.js';

const RECORDED = ['port-forward-1.33-real', 'exec-1.27-real', 'exec-tty-1.27-real', 'port-forward-1.31-simultaneous'];

/** Frames of `chunks`, with neighbouring DATA of one stream joined. */
function decode(...chunks: Uint8Array[]): SpdyFrame[] {
  const frames: SpdyFrame[] = [];
  const decoder = new SpdyDecoder((frame) => {
    const last = frames.at(-1);
    // Parts are only ever told apart by chunks: joined, any fragmentation gives the same list.
    if (frame.type === 'data' && last?.type === 'data' && last.streamId === frame.streamId && !last.fin) {
      frames[frames.length - 1] = { ...frame, chunk: Buffer.concat([last.chunk, frame.chunk]) };
    } else frames.push(frame);
  });
  for (const chunk of chunks) decoder.push(chunk);
  return frames;
}

function split(bytes: Buffer, size: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}

/** A control frame by hand. */
function control(type: number, payload: Buffer, options: { flags?: number; version?: number } = {}): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8000 | (options.version ?? 3));
  head.writeUInt16BE(type, 2);
  head.writeUInt8(options.flags ?? 0, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

/** A header block's plain bytes. */
function plainBlock(headers: readonly (readonly [string, string])[], count = headers.length): Buffer {
  const parts = [words(count)];
  for (const text of headers.flat()) parts.push(words(Buffer.byteLength(text)), Buffer.from(text));
  return Buffer.concat(parts);
}

/** What zlib makes of the first block of a connection. */
function zlibBlock(plain: Buffer): Buffer {
  return deflateSync(plain, { dictionary: DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
}

t.test("kubectl's own bytes are read as what kubectl said", async (t) => {
  const frames = decode(bytesFrom('port-forward-1.33-real', 'client'));
  t.match(frames, [
    { type: 'syn-stream', streamId: 1, fin: false },
    { type: 'data', streamId: 1, fin: true },
    { type: 'syn-stream', streamId: 3, fin: false },
    { type: 'data', streamId: 3, chunk: /^GET \/ HTTP/, fin: true },
    { type: 'syn-stream', streamId: 5 },
    { type: 'data', streamId: 5, fin: true },
    { type: 'syn-stream', streamId: 7 },
    { type: 'data', streamId: 7 },
    { type: 'rst-stream', streamId: 7, status: 5 },
    { type: 'goaway', lastStreamId: 0, status: 0 },
  ]);
  const headers = frames.flatMap((frame) => (frame.type === 'syn-stream' ? [Object.fromEntries(frame.headers)] : []));
  t.same(headers, [
    { streamtype: 'error', port: '8080', requestid: '0' },
    { streamtype: 'data', port: '8080', requestid: '0' },
    { streamtype: 'error', port: '9', requestid: '1' },
    { streamtype: 'data', port: '9', requestid: '1' },
  ]);
});

t.test("a real API server's bytes are read: replies, output, Status and refusal", async (t) => {
  const exec = decode(bytesFrom('exec-1.27-real', 'server'));
  t.same(
    exec.flatMap((frame) => (frame.type === 'syn-reply' ? [[frame.streamId, frame.headers]] : [])),
    [
      [1, []],
      [3, []],
      [5, []],
    ],
  );
  const text = (id: number): string =>
    exec.flatMap((frame) => (frame.type === 'data' && frame.streamId === id ? [frame.chunk.toString()] : [])).join('');
  t.equal(text(3), 'hi\n');
  t.equal(text(5), 'er\n');
  t.match(JSON.parse(text(1)), { details: { causes: [{ reason: 'ExitCode', message: '7' }] } });
  const refused = decode(bytesFrom('port-forward-1.33-real', 'server'));
  t.match(refused.at(-2), { type: 'data', streamId: 5, chunk: /^error forwarding port 9 to pod / });
  t.match(refused.at(-1), { type: 'rst-stream', streamId: 5, status: 5 });
});

t.test('any fragmentation gives the same frames', async (t) => {
  for (const name of RECORDED) {
    for (const from of ['client', 'server'] as const) {
      const bytes = bytesFrom(name, from);
      const whole = decode(bytes);
      t.ok(whole.length > 0);
      for (const size of [1, 2, 3, 5, 7, 8, 9, 13, 64])
        t.same(decode(...split(bytes, size)), whole, `${name} by ${size}`);
      for (let at = 1; at < Math.min(bytes.length, 300); at++) {
        const cut = decode(bytes.subarray(0, at), bytes.subarray(at));
        if (JSON.stringify(cut) !== JSON.stringify(whole)) t.fail(`${name} cut at ${at}`);
      }
    }
  }
});

t.test('DATA is handed on as it arrives, its end only with the last part', async (t) => {
  const seen: [number, boolean][] = [];
  const decoder = new SpdyDecoder((frame) => {
    if (frame.type === 'data') seen.push([frame.chunk.length, frame.fin]);
  });
  const frame = dataFrame({ streamId: 1, payload: Buffer.alloc(10), fin: true });
  decoder.push(frame.subarray(0, 12));
  t.same(seen, [[4, false]]);
  decoder.push(frame.subarray(12, 13));
  decoder.push(frame.subarray(13));
  t.same(seen, [
    [4, false],
    [1, false],
    [5, true],
  ]);
  decoder.push(Buffer.concat([dataFrame({ streamId: 3, payload: Buffer.alloc(0), fin: true }), pingFrame(1)]));
  t.same(seen.at(-1), [0, true], 'an empty DATA is told as well');
});

t.test('what the encoder writes, the decoder reads', async (t) => {
  const encoder = new SpdyEncoder();
  const big: SpdyHeaders = [['x', 'v'.repeat(65_000)]];
  const unicode: SpdyHeaders = [
    ['streamtype', 'dätä'],
    ['empty', ''],
  ];
  const bytes = Buffer.concat([
    encoder.synStream({ streamId: 1, headers: unicode }),
    encoder.synReply({ streamId: 1, headers: [], fin: true }),
    dataFrame({ streamId: 1, payload: Buffer.from('payload') }),
    rstStreamFrame({ streamId: 1, status: 5 }),
    encoder.synStream({ streamId: 3, headers: big, fin: true }),
    pingFrame(0xffffffff),
    goAwayFrame({ lastStreamId: 3, status: 1 }),
    encoder.synReply({ streamId: 5, headers: [['after', 'big']] }),
  ]);
  for (const size of [1, 10, 1000, bytes.length]) {
    t.match(decode(...split(bytes, size)), [
      { type: 'syn-stream', streamId: 1, fin: false, unidirectional: false, headers: unicode },
      { type: 'syn-reply', streamId: 1, fin: true, headers: [] },
      { type: 'data', streamId: 1, chunk: Buffer.from('payload'), fin: false },
      { type: 'rst-stream', streamId: 1, status: 5 },
      { type: 'syn-stream', streamId: 3, fin: true, headers: big },
      { type: 'ping', id: 0xffffffff },
      { type: 'goaway', lastStreamId: 3, status: 1 },
      { type: 'syn-reply', streamId: 5, headers: [['after', 'big']] },
    ]);
  }
});

t.test('header blocks of one connection share a window', async (t) => {
  await t.test('as zlib compresses them, over more than the window', async (t) => {
    // One raw deflate stream, cut where each flush ends, behind the zlib header of the first block.
    const blocks = Array.from({ length: 40 }, (_, index) =>
      plainBlock([
        ['requestid', String(index)],
        ['filler', `${index}`.repeat(1000)],
      ]),
    );
    const reader = new HeaderBlockReader();
    let window: Buffer = DICTIONARY;
    for (const [index, plain] of blocks.entries()) {
      const raw = deflateRawSync(plain, { dictionary: window, finishFlush: constants.Z_SYNC_FLUSH });
      window = Buffer.concat([window, plain]).subarray(-32768);
      const block = index === 0 ? Buffer.concat([Buffer.from('78f9e3c6a7c2', 'hex'), raw]) : raw;
      t.same(reader.read(block)[0], ['requestid', String(index)]);
    }
  });
  await t.test('as we write them, each flushed to a whole byte as Go wants it', async (t) => {
    const writer = new HeaderBlockWriter();
    const reader = new HeaderBlockReader();
    for (const value of ['0', '1', 'x'.repeat(40_000), '3']) {
      const block = writer.write([['requestid', value]]);
      t.same(block.subarray(-5), Buffer.from('000000ffff', 'hex'));
      t.same(reader.read(block), [['requestid', value]]);
    }
  });
  await t.test('a stream that says it has no dictionary is read without', async (t) => {
    const block = deflateSync(plainBlock([['a', 'b']]), { finishFlush: constants.Z_SYNC_FLUSH });
    t.same(new HeaderBlockReader().read(block), [['a', 'b']]);
  });
});

t.test('frames that Kubernetes does not use are ignored', async (t) => {
  const settings = control(4, Buffer.concat([words(1), words(0x04000000, 100)]));
  const windowUpdate = control(9, words(1, 65536));
  const credential = control(10, Buffer.alloc(100));
  t.match(decode(settings, windowUpdate, credential, control(99, Buffer.alloc(0)), pingFrame(1)), [
    { type: 'ignored', controlType: 4 },
    { type: 'ignored', controlType: 9 },
    { type: 'ignored', controlType: 10 },
    { type: 'ignored', controlType: 99 },
    { type: 'ping', id: 1 },
  ]);
});

t.test('bad input is refused with the rule that it breaks', async (t) => {
  const syn = (block: Buffer, id = 1): Buffer => control(1, Buffer.concat([words(id, 0), Buffer.alloc(2), block]));
  const good = zlibBlock(plainBlock([['a', 'b']]));
  const tooMany = Array.from({ length: LIMIT.headers + 1 }, (_, index) => [`h${index}`, ''] as const);
  const wrongDictionary = Buffer.from(good);
  wrongDictionary.writeUInt32BE(0x12345678, 2);
  const cases: [string, Buffer, string][] = [
    ['HTTP instead of SPDY', Buffer.from('\x85TTP/1.1 400 Bad Request', 'latin1'), 'spdy-version'],
    ['version 2', control(6, words(1), { version: 2 }), 'spdy-version'],
    [
      'a control frame over 64 KiB, by its header alone',
      control(4, Buffer.alloc(LIMIT.controlBytes + 1)).subarray(0, 8),
      'spdy-control-frame-size',
    ],
    [
      'a block that inflates to more than 64 KiB',
      syn(zlibBlock(plainBlock([['a', 'x'.repeat(100_000)]]))),
      'spdy-header-block-size',
    ],
    ['a zlib bomb', syn(zlibBlock(Buffer.alloc(50_000_000))), 'spdy-header-block-size'],
    ['257 headers', syn(zlibBlock(plainBlock(tooMany))), 'spdy-header-count'],
    ['a count without headers', syn(zlibBlock(plainBlock([], 200))), 'spdy-header-block'],
    ['a count of 4 billion', syn(zlibBlock(plainBlock([], 0xffffffff))), 'spdy-header-count'],
    [
      'a value longer than its block',
      syn(zlibBlock(Buffer.concat([words(1, 1), Buffer.from('a'), words(50)]))),
      'spdy-header-block',
    ],
    [
      'bytes behind the last header',
      syn(zlibBlock(Buffer.concat([plainBlock([['a', 'b']]), Buffer.from('x')]))),
      'spdy-header-block',
    ],
    ['a name in upper case', syn(zlibBlock(plainBlock([['StreamType', 'data']]))), 'spdy-header-name'],
    ['an empty name', syn(zlibBlock(plainBlock([['', 'data']]))), 'spdy-header-name'],
    [
      'a name twice',
      syn(
        zlibBlock(
          plainBlock([
            ['a', '1'],
            ['a', '2'],
          ]),
        ),
      ),
      'spdy-header-name',
    ],
    ['another dictionary', syn(wrongDictionary), 'spdy-header-block'],
    ['no zlib at all', syn(Buffer.from('streamtype')), 'spdy-header-block'],
    ['an empty first block', syn(Buffer.alloc(0)), 'spdy-header-block'],
    [
      'a second block that is no deflate',
      Buffer.concat([syn(good), syn(Buffer.from('ffffffff', 'hex'), 3)]),
      'spdy-header-block',
    ],
    ['stream 0', syn(good, 0), 'spdy-stream-id'],
    ['DATA of stream 0', dataFrame({ streamId: 0, payload: Buffer.from('x') }), 'spdy-stream-id'],
    ['a SYN_STREAM without its fixed fields', control(1, words(1)), 'spdy-frame-length'],
    ['a PING of 8 bytes', control(6, words(1, 1)), 'spdy-frame-length'],
    ['an RST_STREAM of 4 bytes', control(3, words(1)), 'spdy-frame-length'],
    ['a GOAWAY of 4 bytes (SPDY/2)', control(7, words(1)), 'spdy-frame-length'],
  ];
  for (const [name, bytes, code] of cases) {
    t.throws(() => decode(bytes), { code }, name);
    t.throws(() => decode(...split(bytes, 1)), { code }, `${name}, byte by byte`);
  }
});

t.test('nothing is decoded after an error or a stop', async (t) => {
  const frames: SpdyFrame[] = [];
  const broken = new SpdyDecoder((frame) => frames.push(frame));
  t.throws(() => broken.push(control(6, words(1), { version: 9 })));
  broken.push(pingFrame(1));
  t.same(frames, []);
  const stopped = new SpdyDecoder((frame) => {
    frames.push(frame);
    stopped.stop();
  });
  stopped.push(Buffer.concat([pingFrame(1), pingFrame(3)]));
  t.same(frames, [{ type: 'ping', id: 1 }]);
});

t.test('the encoder keeps the caps it would refuse', async (t) => {
  const encoder = new SpdyEncoder();
  const headers = Array.from({ length: LIMIT.headers + 1 }, (_, index) => [`h${index}`, ''] as const);
  t.throws(() => encoder.synStream({ streamId: 1, headers }), { code: 'spdy-header-count' });
  t.throws(() => encoder.synReply({ streamId: 1, headers: [['a', 'x'.repeat(70_000)]] }), {
    code: 'spdy-header-block-size',
  });
  t.same(decode(encoder.synReply({ streamId: 1, headers: [['A', 'still good']] })), [
    { type: 'syn-reply', streamId: 1, fin: false, headers: [['a', 'still good']] },
  ]);
});
