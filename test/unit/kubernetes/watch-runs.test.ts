import t, { type Test } from 'tap';
import { type WatchEvent, type WatchEventDecoder, watchEventDecoder } from '../../../src/kubernetes/watch-events.js';
import { readConversation } from '../../conversations/capture.js';
import { largePodEvent } from '../../support/protobuf.js';

const JSON_TYPE = 'application/json;stream=watch';
const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf;stream=watch';
const PLAIN = new Set(['ADDED', 'MODIFIED', 'DELETED']);

/** Events one by one, with the place in the body where each of them ends. */
function ends(media: string, body: Buffer): { event: WatchEvent; end: number }[] {
  let end = 0;
  return (watchEventDecoder(media)?.push(body) ?? []).map((event) => {
    end += event.bytes.length;
    return { event, end };
  });
}

/**
 * Tells a body in chunks to one that asks for runs first; answers how many chunks were told as runs. The chunks' memory is
 * written over when they have been told, and another watch goes on in between.
 */
function tellInRuns(t: Test, media: string, body: Buffer, size: number): number {
  const events = ends(media, body);
  const decoder = watchEventDecoder(media);
  const neighbour = watchEventDecoder(media);
  let delivered = 0;
  let runs = 0;
  for (let at = 0; at < body.length; at += size) {
    const chunk = Buffer.from(body.subarray(at, at + size));
    const before = delivered;
    const run = decoder?.run?.(chunk);
    const pieces = run?.pieces ?? decoder?.push(chunk).map(({ bytes }) => bytes) ?? [];
    for (const piece of pieces) {
      if (!piece.equals(body.subarray(delivered, delivered + piece.length))) t.fail(`other bytes at ${delivered}`);
      delivered += piece.length;
    }
    chunk.fill('!');
    tellNeighbour(neighbour, media);
    const come = Math.min(body.length, at + size);
    const whole = events.filter(({ end }) => end <= come);
    if (delivered !== (whole.at(-1)?.end ?? 0)) t.fail(`${delivered} bytes are delivered of ${come}`);
    if (run === undefined || pieces.length === 0) continue;
    runs++;
    const told = whole.filter(({ end }) => end > before).map(({ event }) => event);
    if (told.some(({ type }) => !PLAIN.has(type))) t.fail('an event that is no change was told in a run');
    if (run.resourceVersion !== told.at(-1)?.resourceVersion) t.fail(`the run ends at ${run.resourceVersion}`);
  }
  t.equal(delivered, events.at(-1)?.end ?? 0, `${size} bytes a chunk`);
  return runs;
}

/** Begins a large event if it has none, else completes it, so that memory passes from watch to watch. */
function tellNeighbour(neighbour: WatchEventDecoder | undefined, media: string): void {
  const event = media === JSON_TYPE ? NEIGHBOUR.json : NEIGHBOUR.protobuf;
  const half = event.length >> 1;
  neighbour?.push(neighbour.pendingBytes === 0 ? event.subarray(0, half) : event.subarray(half));
}

const NEIGHBOUR = {
  json: Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { metadata: {}, spec: '?'.repeat(30_000) } })}\n`),
  protobuf: largePodEvent('ADDED', { resourceVersion: 5, specBytes: 30_000 }),
};

const SIZES = [1, 3, 7, 100, 999, 4096, 5000, 1_000_000];

for (const [name, media] of [
  ['watch-pods-json', JSON_TYPE],
  ['watch-pods-table', JSON_TYPE],
  ['watch-pods-partialmeta', JSON_TYPE],
  ['watch-pods-protobuf', PROTOBUF_TYPE],
] as const) {
  t.test(`${name} of a real cluster in runs: the same bytes as event by event, up to the same version`, async (t) => {
    const body = readConversation(`real-${name}`).body;
    const runs = SIZES.map((size) => tellInRuns(t, media, body, size));
    t.ok(Math.max(...runs) > 0);
  });
}

interface Change {
  readonly type?: string;
  readonly version?: number;
  /** Bytes of its spec. */
  readonly size?: number;
  readonly spec?: string;
}

function json({ type = 'MODIFIED', version, size = 300, spec = '' }: Change, o: { spaced?: boolean } = {}): Buffer {
  const metadata = { name: 'box', ...(version === undefined ? {} : { resourceVersion: String(version) }) };
  const event = { type, object: { kind: 'Pod', metadata, spec: `${spec}${'x'.repeat(size)}` } };
  const text = JSON.stringify(event);
  return Buffer.from(`${o.spaced === true ? text.replaceAll('":', '" : ') : text}\n`);
}

const protobuf = ({ type = 'MODIFIED', version, size = 300 }: Change): Buffer =>
  largePodEvent(type, { resourceVersion: version, specBytes: size });

const changes = (count: number, size: number): Change[] =>
  Array.from({ length: count }, (_, i) => ({ version: 100 + i, size }));

const STORIES: Record<string, Change[]> = {
  'nothing but changes': changes(40, 300),
  'events that are larger than a chunk': changes(6, 20_000),
  'events larger than any memory that is used again': changes(2, 80_000),
  'a bookmark between changes': [...changes(3, 100), { type: 'BOOKMARK', version: 900 }, ...changes(3, 100)],
  'a bookmark at the end, and at the beginning': [
    { type: 'BOOKMARK', version: 1 },
    ...changes(2, 10),
    { type: 'BOOKMARK', version: 9 },
  ],
  'an error after a change': [...changes(2, 100), { type: 'ERROR' }],
  'an error alone, larger than a chunk': [{ type: 'ERROR', size: 9000 }],
  'a change that says no version, last and in the middle': [{ version: 1 }, {}, { version: 3 }, {}],
  'what looks like an error within an object': [
    { version: 1, spec: '"type":"ERROR"' },
    { version: 2, spec: '"ERROR"' },
  ],
};

for (const [story, events] of Object.entries(STORIES)) {
  t.test(`${story}: no run holds what is to be looked at`, async (t) => {
    for (const size of SIZES) {
      tellInRuns(t, JSON_TYPE, Buffer.concat(events.map((event) => json(event))), size);
      tellInRuns(t, JSON_TYPE, Buffer.concat(events.map((event) => json(event, { spaced: true }))), size);
      tellInRuns(t, PROTOBUF_TYPE, Buffer.concat(events.map(protobuf)), size);
    }
  });
}

t.test('changes alone are told as runs from chunk to chunk', async (t) => {
  for (const [media, form] of [
    [JSON_TYPE, json],
    [PROTOBUF_TYPE, protobuf],
  ] as const) {
    for (const size of [300, 20_000]) {
      const body = Buffer.concat(changes(40, size).map((event) => form(event)));
      const runs = tellInRuns(t, media, body, 16 * 1024);
      const completing = Math.min(40, Math.ceil(body.length / (16 * 1024)));
      t.ok(runs >= completing - 2, `${media}: ${runs} of ${completing}`);
    }
  }
});

t.test('an event whose object stands before its type is read whole', async (t) => {
  const late = Buffer.from(
    `{"object":{"metadata":{"resourceVersion":"7"},"spec":"${'x'.repeat(9000)}"},"type":"MODIFIED"}\n`,
  );
  for (const size of SIZES) tellInRuns(t, JSON_TYPE, Buffer.concat([late, late]), size);
});

t.test('what is no event is left to whoever reads event by event', async (t) => {
  const decoder = watchEventDecoder(JSON_TYPE);
  t.equal(decoder?.run?.(Buffer.from('{"kind":"PodList"}\n')), undefined);
  t.equal(decoder?.run?.(Buffer.from('nonsense\n')), undefined);
  t.equal(decoder?.run?.(Buffer.from('\n')), undefined);
  t.equal(decoder?.pendingBytes, 0);
  const frames = watchEventDecoder(PROTOBUF_TYPE);
  t.equal(frames?.run?.(Buffer.from([0, 0, 0, 3, 0x0a, 1, 0x41])), undefined, 'a type and no object');
  t.equal(frames?.run?.(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])), undefined);
  t.equal(frames?.pendingBytes, 0);
  t.throws(() => frames?.run?.(Buffer.from([0xff, 0, 0, 0, 0])), /exceeds/);
  t.throws(() => watchEventDecoder(JSON_TYPE)?.run?.(Buffer.alloc(33 * 1024 * 1024, 'x')), /exceeds/);
});
