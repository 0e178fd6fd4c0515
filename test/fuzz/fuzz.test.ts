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
import { pingFrame, SpdyEncoder } from '../../src/spdy/encode.js';
import { readConversation } from '../conversations/capture.js';
import { encodeCbor } from '../support/cbor.js';
import { dataFrame } from '../support/data-frame.js';
import { lent } from '../support/lent.js';
import { type Random, randomBytesOf, seeded } from './random.js';

/** How long each target is tried; a long run is `CGP_TEST_FUZZ_SECONDS=3600 npm run fuzz`. */
const SECONDS = Number(process.env['CGP_TEST_FUZZ_SECONDS'] ?? 1);
/** Printed, so that a failure can be played again. */
const SEED = Number(process.env['CGP_TEST_FUZZ_SEED'] ?? Date.now() % 2 ** 31);

const JSON_BODY = readConversation('real-watch-pods-json').body;
const CBOR_BODY = Buffer.concat(
  JSON_BODY.toString()
    .trim()
    .split('\n')
    .map((line, index) =>
      encodeCbor(JSON.parse(line), { strings: index % 2 ? 'text' : 'bytes', indefinite: index % 3 === 0 }),
    ),
);
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
  ['CBOR', 'application/cbor-seq', CBOR_BODY],
] as const) {
  fuzz(`watch events in ${name} are the same at any chunk borders`, (random) => {
    const decoder = watchEventDecoder(type);
    const events = pieces(body, random).flatMap((piece) => decoder?.push(piece) ?? []);
    if (!Buffer.concat(events.map(({ bytes }) => bytes)).equals(body)) throw new Error('bytes were lost');
    if (events.some(({ resourceVersion }) => resourceVersion === undefined)) throw new Error('a version was lost');
  });

  fuzz(`watch events in ${name} have the same bytes in runs and one by one, at any chunk borders`, (random) => {
    const decoder = watchEventDecoder(type);
    const told = pieces(body, random).map((piece) =>
      lent(piece, (chunk) => {
        const run = random.chance(0.8) ? decoder?.run?.(chunk) : undefined;
        return run?.pieces ?? decoder?.push(chunk).map(({ bytes }) => bytes) ?? [];
      }),
    );
    if (!Buffer.concat(told).equals(body)) throw new Error('bytes were lost');
  });

  fuzz(`damaged watch events in ${name} are an error, not a crash`, (random) => {
    const decoder = watchEventDecoder(type);
    promised(
      () => {
        for (const piece of pieces(damaged(body, random), random)) decoder?.run?.(piece) ?? decoder?.push(piece);
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

interface WrittenResponse {
  readonly method: string;
  readonly bytes: Buffer;
  /** What a reader must tell of it, in one line. */
  readonly told: string;
  /** It ends with its connection. */
  readonly open: boolean;
}

/** A valid response of any form: bodies of every framing, with hints before and trailers behind. */
function response(random: Random): WrittenResponse {
  const lines: string[] = [];
  const token = (): string => randomBytesOf(random, random.below(6) + 1).toString('hex');
  for (let hints = random.below(3); hints > 0; hints--) lines.push('HTTP/1.1 103 Early Hints', `Link: ${token()}`, '');
  const hints = lines.filter((line) => line.startsWith('HTTP')).map(() => '103');
  const method = random.chance(0.2) ? 'HEAD' : 'GET';
  const status = random.chance(0.1) ? 204 : random.chance(0.1) ? 304 : 200 + random.below(300);
  const form = status === 204 ? 'none' : (['length', 'chunked', 'close'] as const)[random.below(3)];
  const empty = method === 'HEAD' || status === 204 || status === 304;
  const body = empty ? Buffer.alloc(0) : randomBytesOf(random, random.below(3000));
  lines.push(`HTTP/1.1 ${status} ${random.chance(0.5) ? 'Some Words' : ''}`, `X-${token()}: ${token()}`);
  if (form === 'length') lines.push(`Content-Length: ${empty ? random.below(999) : body.length}`);
  if (form === 'chunked') lines.push('Transfer-Encoding: chunked');
  const trailers = form === 'chunked' && !empty && random.chance(0.5) ? [`X-T: ${token()}`, `X-T: ${token()}`] : [];
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  const chunks = pieces(body, random).flatMap((chunk) => [
    Buffer.from(`${chunk.length.toString(16)}${random.chance(0.2) ? `;x="${token()}"` : ''}\r\n`),
    chunk,
    Buffer.from('\r\n'),
  ]);
  const last = Buffer.from(['0', ...trailers, '', ''].join('\r\n'));
  const framed = form === 'chunked' && !empty ? [...chunks, last] : [body];
  return {
    method,
    bytes: Buffer.concat([head, ...framed]),
    told: [...hints, status, body.toString('hex'), trailers.join('|').replaceAll(': ', '|'), 'end'].join(' '),
    open: form === 'close' && !empty,
  };
}

/** What a reader tells of `bytes`, cut at random places; undefined where it refuses them. */
function tellResponse(method: string, bytes: Buffer, random: Random): { told: string; rest: number } | undefined {
  const told: unknown[] = [];
  let body = '';
  let ends = 0;
  const reader = new Http1Response({
    method,
    sink: {
      information: (status) => told.push(status),
      head: (status) => told.push(status),
      body: (chunk) => {
        body += chunk.toString('hex');
      },
      end: (trailers) => {
        ends++;
        told.push(body, trailers.join('|'), 'end');
      },
    },
  });
  let rest = 0;
  try {
    for (const piece of pieces(bytes, random)) rest += reader.push(piece).length;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'HTTP1_MALFORMED' || ends > 0) throw error;
    return undefined;
  }
  reader.close();
  if (ends > 1) throw new Error('it ended more than once');
  return { told: told.join(' '), rest };
}

fuzz('an HTTP response of any form is the same at any chunk borders', (random) => {
  const { method, bytes, told } = response(random);
  const read = tellResponse(method, bytes, random);
  if (read?.told !== told || read.rest !== 0) throw new Error(`${bytes.toString('latin1')}\n${read?.told}\n${told}`);
});

fuzz('a damaged HTTP response is an error, or the same response to every reader', (random) => {
  const { method, bytes } = response(random);
  const other = damaged(bytes, random);
  const first = tellResponse(method, other, random);
  const second = tellResponse(method, other, random);
  if (JSON.stringify(first) !== JSON.stringify(second)) throw new Error('chunk borders have changed it');
});

fuzz('what follows a response is told apart from it at any chunk borders', (random) => {
  const one = response(random);
  if (one.open) return;
  const next = response(random).bytes;
  const read = tellResponse(one.method, Buffer.concat([one.bytes, next]), random);
  if (read?.told !== one.told || read.rest !== next.length) throw new Error('one answer took of another');
});
