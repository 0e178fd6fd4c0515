import t from 'tap';
import { CodedError } from '../../src/base/errors.js';
import { Http1Response } from '../../src/gateway/http1-response.js';
import { LogLines } from '../../src/kubernetes/log-lines.js';
import {
  parseRemoteStatus,
  parseResize,
  REMOTE_PROTOCOLS,
  splitChannelMessage,
} from '../../src/kubernetes/remote-command.js';
import { watchEventDecoder } from '../../src/kubernetes/watch-events.js';
import { SpdyDecoder } from '../../src/spdy/decode.js';
import { dataFrame, pingFrame, SpdyEncoder } from '../../src/spdy/encode.js';
import { readConversation } from '../conversations/capture.js';
import { type Random, randomBytesOf, seeded } from './random.js';

/** How long each target is tried; a long run is `CGP_TEST_FUZZ_SECONDS=3600 npm run fuzz`. */
const SECONDS = Number(process.env['CGP_TEST_FUZZ_SECONDS'] ?? 1);
/** Printed, so that a failure can be played again. */
const SEED = Number(process.env['CGP_TEST_FUZZ_SEED'] ?? Date.now() % 2 ** 31);

const JSON_BODY = readConversation('real-watch-pods-json').body;
const PROTOBUF_BODY = readConversation('real-watch-pods-protobuf').body;

function fuzz(name: string, attempt: (random: Random) => void): void {
  t.test(name, async (t) => {
    t.comment(`seed ${SEED}`);
    const random = seeded(SEED);
    let attempts = 0;
    for (const end = Date.now() + SECONDS * 1000; Date.now() < end; attempts++) attempt(random);
    t.pass(`${attempts} attempts`);
  });
}

/** Cuts `bytes` at random places. */
function pieces(bytes: Buffer, random: Random): Buffer[] {
  const list: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = random.chance(0.2) ? random.below(64) + 1 : random.below(4096) + 1;
    list.push(bytes.subarray(at, at + length));
    at += length;
  }
  return list;
}

/** Changes, drops or repeats some bytes. */
function damaged(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  for (let times = random.below(4) + 1; times > 0; times--) copy[random.below(copy.length)] = random.below(256);
  if (random.chance(0.3)) return copy.subarray(0, random.below(copy.length));
  return random.chance(0.3) ? Buffer.concat([copy, copy.subarray(random.below(copy.length))]) : copy;
}

/** Nothing but the errors that the codec promises may come out. */
function promised(act: () => void, allowed: (error: unknown) => boolean): void {
  try {
    act();
  } catch (error) {
    if (!allowed(error)) throw error;
  }
}

for (const [name, type, body] of [
  ['JSON', 'application/json', JSON_BODY],
  ['protobuf', 'application/vnd.kubernetes.protobuf;stream=watch', PROTOBUF_BODY],
] as const) {
  fuzz(`watch events in ${name} are the same at any chunk borders`, (random) => {
    const decoder = watchEventDecoder(type);
    const events = pieces(body, random).flatMap((piece) => decoder?.push(piece) ?? []);
    if (!Buffer.concat(events.map(({ bytes }) => bytes)).equals(body)) throw new Error('bytes were lost');
    if (events.some(({ resourceVersion }) => resourceVersion === undefined)) throw new Error('a version was lost');
  });

  fuzz(`damaged watch events in ${name} are an error, not a crash`, (random) => {
    const decoder = watchEventDecoder(type);
    promised(
      () => {
        for (const piece of pieces(damaged(body, random), random)) decoder?.push(piece);
      },
      (error) => error instanceof SyntaxError || error instanceof RangeError || /exceeds/.test(String(error)),
    );
  });
}

fuzz('log lines come once over any number of cuts anywhere', (random) => {
  const tailLines = random.chance(0.5) ? random.below(30) + 1 : undefined;
  // Where a tail began among equal timestamps that are out of order as well cannot be told from timestamps.
  const disorder = tailLines === undefined ? 0.1 : 0;
  const log = Array.from({ length: 30 }, () => {
    const text = randomBytesOf(random, random.below(80)).toString('base64').slice(0, random.below(60));
    return { second: random.below(6), fraction: random.below(4), text };
  })
    .sort((a, b) => a.second - b.second || (random.chance(disorder) ? 0 : a.fraction - b.fraction))
    .map(({ second, fraction, text }) => Buffer.from(`2026-11-24T10:00:0${second}.${fraction}Z ${text}\n`));
  const wanted = log.slice(tailLines === undefined ? 0 : -tailLines);
  const lines = new LogLines({
    timestampsWanted: true,
    ...(tailLines === undefined ? {} : { beginsInside: true, tailLines }),
  });
  const out: Buffer[] = [];
  let rest = Buffer.concat(wanted);
  // A tail is whole before the first cut: what was sent of it when it is cut inside says nothing about where it began.
  let part = tailLines === undefined ? rest.subarray(0, random.below(rest.length + 1)) : rest;
  for (let cuts = random.below(6); cuts >= 0; cuts--) {
    for (const piece of pieces(part, random)) out.push(...lines.push(piece));
    lines.cut();
    const since = Date.parse(lines.resumeTime ?? '2026-11-24T09:00:00Z');
    rest = Buffer.concat(log.filter((line) => Date.parse(line.toString().split(' ')[0] ?? '') >= since));
    part = cuts <= 1 ? rest : rest.subarray(0, random.below(rest.length + 1));
  }
  for (const piece of pieces(rest, random)) out.push(...lines.push(piece));
  if (!Buffer.concat(out).equals(Buffer.concat(wanted))) throw new Error('a line was lost or doubled');
});

fuzz('a SPDY connection is the same at any chunk borders', (random) => {
  const encoder = new SpdyEncoder();
  const sent: string[] = [];
  const parts: Buffer[] = [];
  for (let id = 1; id < 40; id += 2) {
    const value = randomBytesOf(random, random.below(200)).toString('hex');
    parts.push(
      encoder.synStream({
        streamId: id,
        headers: [
          ['streamtype', 'data'],
          ['x', value],
        ],
      }),
    );
    sent.push(`syn ${id} ${value}`);
    const payload = randomBytesOf(random, random.below(3000));
    parts.push(dataFrame({ streamId: id, payload }), pingFrame(id));
    sent.push(`data ${id} ${payload.toString('hex')}`, `ping ${id}`);
  }
  const received: string[] = [];
  const data = new Map<number, string>();
  const flush = (): void => {
    for (const [id, hex] of data) received.push(`data ${id} ${hex}`);
    data.clear();
  };
  const decoder = new SpdyDecoder((frame) => {
    if (frame.type === 'data') {
      data.set(frame.streamId, (data.get(frame.streamId) ?? '') + frame.chunk.toString('hex'));
      return;
    }
    flush();
    if (frame.type === 'syn-stream')
      received.push(`syn ${frame.streamId} ${frame.headers.find(([key]) => key === 'x')?.[1]}`);
    if (frame.type === 'ping') received.push(`ping ${frame.id}`);
  });
  for (const piece of pieces(Buffer.concat(parts), random)) decoder.push(piece);
  const expected = sent.filter((line) => !/^data \d+ $/.test(line));
  const got = received.filter((line) => !/^data \d+ $/.test(line));
  if (got.join('\n') !== expected.join('\n')) throw new Error('frames were lost or changed');
});

fuzz('damaged SPDY and header blocks are a coded error, not a crash', (random) => {
  const encoder = new SpdyEncoder();
  const good = Buffer.concat([
    encoder.synStream({
      streamId: 1,
      headers: [
        ['streamtype', 'error'],
        ['port', '80'],
        ['requestid', '0'],
      ],
    }),
    encoder.synReply({ streamId: 1, headers: [] }),
    dataFrame({ streamId: 1, payload: randomBytesOf(random, 100), fin: true }),
  ]);
  const decoder = new SpdyDecoder(() => {});
  promised(
    () => {
      for (const piece of pieces(damaged(good, random), random)) decoder.push(piece);
    },
    (error) => error instanceof CodedError,
  );
});

fuzz('channel messages of every protocol are read or refused', (random) => {
  const message = randomBytesOf(random, random.below(40));
  for (const protocol of REMOTE_PROTOCOLS)
    promised(
      () => splitChannelMessage(protocol, message),
      (error) => error instanceof CodedError,
    );
  promised(
    () => parseRemoteStatus(message),
    (error) => error instanceof CodedError,
  );
  promised(
    () => parseResize(message),
    (error) => error instanceof CodedError,
  );
});

fuzz('an HTTP response is the same at any chunk borders, and a damaged one an error', (random) => {
  const body = randomBytesOf(random, random.below(5000));
  const chunks = pieces(body, random).map((chunk) =>
    Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
  );
  const whole = Buffer.concat([
    Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n'),
    ...chunks,
    Buffer.from('0\r\n\r\n'),
  ]);
  const got: Buffer[] = [];
  const sink = { information: () => {}, head: () => {}, body: (chunk: Buffer) => void got.push(chunk), end: () => {} };
  const response = new Http1Response({ method: 'GET', sink });
  for (const piece of pieces(whole, random)) response.push(piece);
  if (!response.done || !Buffer.concat(got).equals(body)) throw new Error('a body was changed');
  const other = new Http1Response({ method: 'GET', sink });
  promised(
    () => {
      for (const piece of pieces(damaged(whole, random), random)) other.push(piece);
    },
    (error) => (error as NodeJS.ErrnoException).code === 'HTTP1_MALFORMED',
  );
});
