import t from 'tap';
import { ResumePoint } from '../../../src/kubernetes/resume-point.js';
import { readProtobufEvent } from '../../../src/kubernetes/watch-event-protobuf.js';
import { type WatchEvent, watchEventDecoder } from '../../../src/kubernetes/watch-events.js';
import { readConversation } from '../../conversations/capture.js';
import { encodeCbor } from '../../support/cbor.js';

const JSON_TYPE = 'application/json;stream=watch';
const CBOR_TYPE = 'application/cbor-seq';
const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf;stream=watch';

function decode(type: string, body: Buffer, size = body.length): WatchEvent[] {
  const decoder = watchEventDecoder(type);
  if (decoder === undefined) throw new Error('no decoder');
  const events: WatchEvent[] = [];
  for (let at = 0; at < body.length; at += size) events.push(...decoder.push(body.subarray(at, at + size)));
  return events;
}

const line = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value)}\n`);
const event = (type: string, resourceVersion?: string, endsInitialEvents = false): WatchEvent => ({
  type,
  ...(resourceVersion === undefined ? {} : { resourceVersion }),
  endsInitialEvents,
  bytes: Buffer.alloc(0),
});

for (const [name, type] of [
  ['watch-pods-json', JSON_TYPE],
  ['watch-pods-table', JSON_TYPE],
  ['watch-pods-table-noobject', JSON_TYPE],
  ['watch-pods-partialmeta', JSON_TYPE],
  ['watch-pods-protobuf', PROTOBUF_TYPE],
] as const) {
  t.test(`${name} of a real cluster: the same events at every chunk size, byte for byte`, async (t) => {
    const body = readConversation(`real-${name}`).body;
    const whole = decode(type, body);
    t.ok(whole.length >= 5);
    t.ok(Buffer.concat(whole.map(({ bytes }) => bytes)).equals(body));
    for (const { resourceVersion } of whole) t.match(resourceVersion, /^\d+$/);
    t.ok(whole.some(({ type }) => type === 'BOOKMARK'));
    if (type === JSON_TYPE) {
      for (const { bytes, resourceVersion, type } of whole) {
        const parsed = JSON.parse(bytes.toString()) as {
          type: string;
          object: { metadata: { resourceVersion: string } };
        };
        t.strictSame([type, resourceVersion], [parsed.type, parsed.object.metadata.resourceVersion]);
      }
    }
    for (const size of [1, 3, 7, 4096]) {
      const cut = decode(type, body, size);
      t.strictSame(
        cut.map(({ bytes }) => bytes.toString('latin1')),
        whole.map(({ bytes }) => bytes.toString('latin1')),
      );
    }
  });
}

t.test(
  'of a protobuf event that has not come whole, its version is told when it is whole itself, or not at all',
  async (t) => {
    for (const { bytes, type, resourceVersion } of decode(
      PROTOBUF_TYPE,
      readConversation('real-watch-pods-protobuf').body,
    )) {
      let told = 0;
      for (let end = 5; end <= bytes.length; end++) {
        try {
          const facts = readProtobufEvent(bytes.subarray(0, end), { start: 4, isWhole: false });
          if (facts.resourceVersion === undefined) continue;
          told++;
          if (facts.type !== type || facts.resourceVersion !== resourceVersion)
            t.fail(`${facts.resourceVersion} at ${end}`);
        } catch (error) {
          t.type(error, RangeError);
        }
      }
      t.ok(told > 0);
      t.throws(() => readProtobufEvent(bytes.subarray(0, bytes.length - 1), { start: 4 }), RangeError);
    }
  },
);

for (const form of [
  { strings: 'bytes', selfDescribed: true },
  { strings: 'text' },
  { strings: 'text', indefinite: true, selfDescribed: true },
] as const) {
  t.test(`a sequence of CBOR items (${JSON.stringify(form)}): the events of the JSON watch`, async (t) => {
    const source = decode(JSON_TYPE, readConversation('real-watch-pods-json').body);
    const end = { resourceVersion: '9', annotations: { 'k8s.io/initial-events-end': 'true' } };
    const values: unknown[] = [
      ...source.map(({ bytes }) => JSON.parse(bytes.toString())),
      { type: 'BOOKMARK', object: { kind: 'Pod', metadata: end } },
      { type: 'ERROR', object: { kind: 'Status', metadata: { resourceVersion: '7' }, code: -410, ratio: 0.5 } },
      { kind: 'PodList', metadata: { resourceVersion: '5' }, items: [] },
    ];
    const items = values.map((value) => encodeCbor(value, form));
    const expected = [
      ...source.map(({ type, resourceVersion, endsInitialEvents }) => ({ type, resourceVersion, endsInitialEvents })),
      { type: 'BOOKMARK', resourceVersion: '9', endsInitialEvents: true },
      { type: 'ERROR', resourceVersion: undefined, endsInitialEvents: false },
      { type: '', resourceVersion: undefined, endsInitialEvents: false },
    ];
    for (const size of [1, 3, 7, 4096, 1_000_000]) {
      const events = decode(CBOR_TYPE, Buffer.concat(items), size);
      t.strictSame(
        events.map(({ type, resourceVersion, endsInitialEvents }) => ({ type, resourceVersion, endsInitialEvents })),
        expected,
      );
      t.ok(
        events.every(({ bytes }, index) => items[index]?.equals(bytes)),
        `byte for byte in chunks of ${size}`,
      );
    }
  });
}

t.test('the unfinished tail is held back and counted', async (t) => {
  const decoder = watchEventDecoder(JSON_TYPE);
  const text = line({ type: 'ADDED', object: { metadata: { resourceVersion: '1' } } });
  t.strictSame(decoder?.push(text.subarray(0, 10)), []);
  t.equal(decoder?.pendingBytes, 10);
  t.equal(decoder?.push(text.subarray(10))[0]?.resourceVersion, '1');
  t.equal(decoder?.pendingBytes, 0);
});

t.test('only metadata.resourceVersion of the object itself counts', async (t) => {
  const find = (value: unknown): string | undefined => decode(JSON_TYPE, line(value))[0]?.resourceVersion;
  t.equal(
    find({
      type: 'MODIFIED',
      object: { spec: { metadata: { resourceVersion: '1' } }, metadata: { name: 'x', resourceVersion: '2' } },
    }),
    '2',
  );
  t.equal(
    find({
      type: 'ADDED',
      object: {
        metadata: { annotations: { a: '{"resourceVersion":"9"}', resourceVersion: '8' }, resourceVersion: '3' },
      },
    }),
    '3',
  );
  t.equal(
    find({
      type: 'ADDED',
      object: {
        metadata: { ownerReferences: [{ resourceVersion: '7' }], labels: { 'a"b\\': '}{' }, resourceVersion: '4' },
      },
    }),
    '4',
  );
  t.equal(find({ object: { metadata: { resourceVersion: '5' }, spec: {} }, type: 'ADDED' }), '5', 'in any order');
  t.equal(find({ type: 'ADDED', object: { metadata: null } }), undefined);
  t.equal(find({ type: 'ADDED', object: null }), undefined);
  t.equal(find({ type: 'ERROR', object: { metadata: { resourceVersion: '6' }, code: 410 } }), undefined);
  t.equal(
    decode(
      JSON_TYPE,
      Buffer.from('{ "type" : "ADDED" , "object" : { "metadata" : { "resourceVersion" : "10" } } }\n'),
    )[0]?.resourceVersion,
    '10',
  );
});

t.test('the bookmark that ends the initial events is known in each encoding', async (t) => {
  const metadata = { resourceVersion: '5', annotations: { 'k8s.io/initial-events-end': 'true' } };
  t.ok(decode(JSON_TYPE, line({ type: 'BOOKMARK', object: { kind: 'Pod', metadata } }))[0]?.endsInitialEvents);
  const row = { object: { kind: 'PartialObjectMetadata', metadata } };
  t.ok(
    decode(
      JSON_TYPE,
      line({ type: 'BOOKMARK', object: { kind: 'Table', metadata: { resourceVersion: '5' }, rows: [row] } }),
    )[0]?.endsInitialEvents,
  );
  t.notOk(decode(JSON_TYPE, line({ type: 'ADDED', object: { metadata } }))[0]?.endsInitialEvents);
  const field = (number: number, value: Buffer | string): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
  };
  const annotation = Buffer.concat([field(1, 'k8s.io/initial-events-end'), field(2, 'true')]);
  const meta = field(1, Buffer.concat([field(6, '77'), field(12, annotation)]));
  const unknown = Buffer.concat([Buffer.from('k8s\0'), field(2, meta)]);
  const body = Buffer.concat([field(1, 'BOOKMARK'), field(2, field(1, unknown))]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  t.match(decode(PROTOBUF_TYPE, Buffer.concat([length, body])), [
    { type: 'BOOKMARK', resourceVersion: '77', endsInitialEvents: true },
  ]);
});

t.test('an object that is no event has no type', async (t) => {
  for (const value of [
    { kind: 'PodList', metadata: { resourceVersion: '5' }, items: [] },
    { kind: 'Secret', type: 'Opaque', metadata: { resourceVersion: '5' } },
    {},
  ])
    t.equal(decode(JSON_TYPE, line(value))[0]?.type, '');
});

t.test('what is no watch body is an error, not a hang', async (t) => {
  t.throws(() => decode(JSON_TYPE, Buffer.from('<html>\n')), SyntaxError);
  t.throws(
    () => decode(JSON_TYPE, Buffer.from('{"type":"ADDED","object":{"metadata":{"resourceVersion":"1\n')),
    SyntaxError,
  );
  t.throws(() => decode(PROTOBUF_TYPE, Buffer.from([0xff, 0, 0, 0])), /exceeds/);
  t.throws(() => decode(PROTOBUF_TYPE, Buffer.from([0, 0, 0, 2, 0x0a, 0x09])), RangeError);
  t.throws(() => decode(PROTOBUF_TYPE, Buffer.from([0, 0, 0, 2, 0x02, 0x00])), RangeError, 'no field has the number 0');
  t.throws(() => decode(CBOR_TYPE, Buffer.from([0x1c])), SyntaxError);
  t.throws(() => decode(CBOR_TYPE, Buffer.from([0xa1, 0xff])), SyntaxError);
  t.throws(() => decode(CBOR_TYPE, Buffer.alloc(2000, 0x81)), /nested too deep/);
  t.equal(watchEventDecoder('application/yaml'), undefined);
});

const at = (target: string, now = 0): ResumePoint => new ResumePoint({ target, now });

t.test('a watch from a known point resumes at once, and later from the last event', async (t) => {
  const point = at(
    '/api/v1/pods?watch=true&resourceVersion=10&fieldSelector=a%3Db%2Cc&resourceVersionMatch=NotOlderThan',
  );
  t.equal(
    point.firstTarget(),
    '/api/v1/pods?watch=true&resourceVersion=10&fieldSelector=a%3Db%2Cc&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
  );
  t.equal(
    point.nextTarget(0),
    '/api/v1/pods?watch=true&fieldSelector=a%3Db%2Cc&allowWatchBookmarks=true&resourceVersion=10',
  );
  t.equal(point.see(event('ADDED', '12')), 'deliver');
  t.equal(point.see(event('BOOKMARK', '20')), 'hide', 'the client did not ask for bookmarks');
  t.match(point.nextTarget(0), /resourceVersion=20$/);
});

t.test('bookmarks that the client asked for are delivered', async (t) => {
  const point = at('/api/v1/pods?allowWatchBookmarks=1&watch=1&resourceVersion=1');
  t.equal(point.firstTarget(), '/api/v1/pods?allowWatchBookmarks=1&watch=1&resourceVersion=1', 'untouched');
  t.equal(point.see(event('BOOKMARK', '2')), 'deliver');
  t.equal(at('/p?watch=1&allowWatchBookmarks=false').firstTarget(), '/p?watch=1&allowWatchBookmarks=true');
});

t.test('a watch that begins with a listing resumes only when the listing is over', async (t) => {
  for (const target of ['/api/v1/pods?watch', '/api/v1/pods?watch=true&resourceVersion=0', '/api/v1/watch/pods']) {
    const point = at(target);
    t.equal(point.nextTarget(0), undefined);
    point.see(event('ADDED', '50'));
    t.equal(point.nextTarget(0), undefined, 'there may be more of it');
    point.see(event('MODIFIED', '60'));
    t.match(point.nextTarget(0), /resourceVersion=60/);
  }
  const list = at(
    '/api/v1/pods?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=5',
  );
  list.see(event('ADDED', '7'));
  list.see(event('MODIFIED', '8'));
  t.equal(list.nextTarget(0), undefined, 'changes may come before the end of the listing');
  list.see(event('BOOKMARK', '9', true));
  t.equal(list.nextTarget(0), '/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=9');
});

t.test('without initial events every event is a change', async (t) => {
  const point = at('/api/v1/pods?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan');
  t.equal(point.nextTarget(0), undefined, 'where it began is not known');
  point.see(event('ADDED', '7'));
  t.equal(point.nextTarget(0), '/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=7');
});

t.test('a resourceVersion is opaque, and names may be odd', async (t) => {
  const point = at('/apis/x.example.com/v1/namespaces/n/things%3Aodd?watch=1&resourceVersion=a%2Fb%3D1');
  t.equal(
    point.nextTarget(0),
    '/apis/x.example.com/v1/namespaces/n/things%3Aodd?watch=1&allowWatchBookmarks=true&resourceVersion=a%2Fb%3D1',
  );
  point.see(event('MODIFIED', 'c d&e'));
  t.match(point.nextTarget(0), /resourceVersion=c%20d%26e$/);
});

t.test('the remaining time is asked for, and the end of it is the end', async (t) => {
  const point = at('/api/v1/pods?watch=1&timeoutSeconds=60&resourceVersion=1', 1000);
  t.match(point.nextTarget(21_000), /timeoutSeconds=40/);
  t.equal(point.nextTarget(60_500), undefined);
});

t.test('after an ERROR event nothing is resumed', async (t) => {
  const point = at('/api/v1/pods?watch=1&resourceVersion=1');
  t.equal(point.see(event('ERROR')), 'deliver');
  t.equal(point.nextTarget(0), undefined);
});
