import { once } from 'node:events';
import { watchEventDecoder } from '../../src/kubernetes/watch-events.js';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { Client, story } from '../support/fault-scene.js';
import { GATEWAY_PREFIX } from '../support/front-door.js';

const JSON_WATCH = 'application/json';
const PROTOBUF_WATCH = 'application/vnd.kubernetes.protobuf;stream=watch';

function jsonEvent(type: string, resourceVersion: number, extra: object = {}): Buffer {
  const metadata = { name: 'box', resourceVersion: String(resourceVersion) };
  return Buffer.from(`${JSON.stringify({ type, object: { kind: 'Pod', metadata, ...extra } })}\n`);
}

function protobufEvent(type: string, resourceVersion: number): Buffer {
  const field = (number: number, value: Buffer | string): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
  };
  const object = field(2, field(1, Buffer.concat([field(1, 'box'), field(6, String(resourceVersion))])));
  const body = Buffer.concat([field(1, type), field(2, field(1, Buffer.concat([Buffer.from('k8s\0'), object])))]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

const ENCODINGS = { JSON: [JSON_WATCH, jsonEvent], protobuf: [PROTOBUF_WATCH, protobufEvent] } as const;

const WATCH = '/api/v1/pods?watch=true&resourceVersion=100&labelSelector=a%3Db';

for (const [name, [contentType, event]] of Object.entries(ENCODINGS)) {
  for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
    story(
      `a ${name} watch that is cut by ${form}, again and again, shows every event once`,
      async (t, { at, upstream }) => {
        const client = new Client(at, WATCH);
        const sent: Buffer[] = [];
        let version = 100;
        for (let round = 0; round < 5; round++) {
          const events = [event('ADDED', ++version), event('MODIFIED', ++version)];
          const arrival = await upstream.answer(contentType);
          t.equal(arrival.url.searchParams.get('resourceVersion'), String(version - 2), 'it goes on where it stood');
          t.equal(arrival.url.searchParams.get('labelSelector'), 'a=b');
          t.ok(arrival.url.pathname.startsWith(`${GATEWAY_PREFIX}/api/v1/pods`), 'never a list');
          t.equal(arrival.url.searchParams.get('watch'), 'true');
          for (const item of events) arrival.response.write(item);
          sent.push(...events);
          await client.has(Buffer.concat(sent).length);
          // In the middle of an event, at another byte each time: its beginning is dropped, it comes again whole.
          const unfinished = event('ADDED', version + 1);
          cut(form, arrival.response, unfinished.subarray(0, round * 7));
        }
        const last = await upstream.answer(contentType, event('DELETED', ++version));
        sent.push(event('DELETED', version));
        const got = await client.has(Buffer.concat(sent).length);
        t.ok(got.equals(Buffer.concat(sent)), 'byte for byte, in order, none lost, none doubled');
        const versions = watchEventDecoder(contentType)
          ?.push(got)
          .map(({ resourceVersion }) => Number(resourceVersion));
        t.strictSame(
          versions,
          Array.from({ length: 11 }, (_item, index) => 101 + index),
        );
        last.response.on('close', () => {});
        client.leave();
        await once(last.response, 'close');
      },
    );
  }
}

story('bookmarks move the point, and only clients that asked for them see them', async (t, { at, upstream }) => {
  const client = new Client(at, WATCH);
  const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101), jsonEvent('BOOKMARK', 150));
  t.equal(first.url.searchParams.get('allowWatchBookmarks'), 'true');
  await client.has(jsonEvent('ADDED', 101).length);
  cut('a clean end of the body', first.response, Buffer.alloc(0));
  const second = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 151));
  t.equal(second.url.searchParams.get('resourceVersion'), '150');
  const expected = Buffer.concat([jsonEvent('ADDED', 101), jsonEvent('ADDED', 151)]);
  t.ok((await client.has(expected.length)).equals(expected));
  client.leave();
  await once(second.response, 'close');
});

story(
  'a resumeVersion that is too old reaches the client unchanged and ends the watch',
  async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101));
    await client.has(1);
    cut('a TCP reset', first.response, Buffer.alloc(0));
    const gone = Buffer.from('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n');
    (await upstream.answer(JSON_WATCH, gone)).response.end();
    t.equal(await client.ended, 'complete');
    t.ok((await client.has(1)).equals(Buffer.concat([jsonEvent('ADDED', 101), gone])));
  },
);

story(
  'a cut before the listing is complete ends cleanly, so that the client lists again',
  async (t, { at, upstream }) => {
    const client = new Client(
      at,
      '/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
    );
    const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 5));
    await client.has(1);
    cut('a TCP reset', first.response, Buffer.alloc(0));
    t.equal(await client.ended, 'complete');
  },
);

story('a listing by watch that is complete is not asked for again', async (t, { at, upstream }) => {
  const client = new Client(
    at,
    '/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=300',
  );
  const end = Buffer.from(
    '{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}\n',
  );
  const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 5), end);
  await client.has(jsonEvent('ADDED', 5).length + end.length);
  cut('a TCP reset', first.response, Buffer.alloc(0));
  const second = await upstream.answer(JSON_WATCH);
  t.equal(second.url.searchParams.get('sendInitialEvents'), null);
  t.equal(second.url.searchParams.get('resourceVersionMatch'), null);
  t.equal(second.url.searchParams.get('resourceVersion'), '9');
  t.ok(Number(second.url.searchParams.get('timeoutSeconds')) <= 300);
  client.leave();
  await once(second.response, 'close');
});

story(
  'an agent that is lost meanwhile is a pause, a refusal of the cluster is the end',
  async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101));
    await client.has(1);
    cut('a TCP reset', first.response, Buffer.alloc(0));
    const refuse = async (status: number, type: string, body: string): Promise<void> => {
      const { response } = await upstream.next();
      response.writeHead(status, { 'Content-Type': type }).end(body);
    };
    await refuse(
      404,
      'application/json',
      '{"error":{"code":404,"message":"No active connections","status":"NOT_FOUND"}}',
    );
    await refuse(503, 'text/html', '<html>no</html>');
    (await upstream.next()).request.socket.destroy();
    await refuse(401, 'application/json', '{"error":{"code":401}}');
    const again = await upstream.answer(JSON_WATCH, jsonEvent('MODIFIED', 102));
    t.equal(again.request.headers.authorization, 'Bearer google-token-2', 'with a new token');
    const expected = Buffer.concat([jsonEvent('ADDED', 101), jsonEvent('MODIFIED', 102)]);
    t.ok((await client.has(expected.length)).equals(expected));
    cut('a TCP reset', again.response, Buffer.alloc(0));
    await refuse(
      403,
      'application/json',
      '{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}',
    );
    t.equal(await client.ended, 'complete');
  },
);

story('a client that leaves during the pause ends the resuming', async (t, { at, upstream }) => {
  const client = new Client(at, WATCH);
  const first = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101));
  await client.has(1);
  cut('a TCP reset', first.response, Buffer.alloc(0));
  const second = await upstream.next();
  client.leave();
  await once(second.response, 'close');
  t.ok(second.request.destroyed || second.response.destroyed);
});

story('a body in another encoding than its type says is broken off', async (t, { at, upstream }) => {
  const client = new Client(at, WATCH);
  const { response } = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101));
  await client.has(1);
  response.write('<html>surprise</html>\n');
  t.equal(await client.ended, 'broken');
});

story('a compressed watch is carried as it is, and not resumed', async (t, { at, upstream }) => {
  const client = new Client(at, WATCH);
  const arrival = await upstream.next();
  t.equal(arrival.request.headers['accept-encoding'], undefined);
  arrival.response.writeHead(200, { 'Content-Type': JSON_WATCH, 'Content-Encoding': 'gzip' });
  arrival.response.write('anything');
  await client.has(8);
  arrival.response.socket?.resetAndDestroy();
  t.equal(await client.ended, 'broken');
});
