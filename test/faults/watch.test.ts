import { once } from 'node:events';
import { watchEventDecoder } from '../../src/kubernetes/watch-events.js';
import { encodeCbor } from '../support/cbor.js';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { FakeClock } from '../support/fake-clock.js';
import { Client, story, writeUntilStalled } from '../support/fault-scene.js';
import { GATEWAY_PREFIX } from '../support/front-door.js';
import { podEvent } from '../support/protobuf.js';

const JSON_WATCH = 'application/json';
const PROTOBUF_WATCH = 'application/vnd.kubernetes.protobuf;stream=watch';

function jsonEvent(type: string, resourceVersion: number, extra: object = {}): Buffer {
  const metadata = { name: 'box', resourceVersion: String(resourceVersion) };
  return Buffer.from(`${JSON.stringify({ type, object: { kind: 'Pod', metadata, ...extra } })}\n`);
}

function cborEvent(type: string, resourceVersion: number): Buffer {
  const metadata = { name: 'box', resourceVersion: String(resourceVersion) };
  return encodeCbor({ type, object: { kind: 'Pod', metadata } }, { strings: 'bytes', selfDescribed: true });
}

const ENCODINGS = {
  JSON: [JSON_WATCH, jsonEvent],
  protobuf: [PROTOBUF_WATCH, podEvent],
  CBOR: ['application/cbor-seq', cborEvent],
} as const;

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

for (const [name, [contentType, event]] of Object.entries(ENCODINGS)) {
  for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
    story(
      `a ${name} watch that is cut by ${form} while it resumes goes on all the same`,
      async (t, { at, upstream }) => {
        const client = new Client(at, WATCH);
        const first = await upstream.answer(contentType, event('ADDED', 101));
        await client.has(event('ADDED', 101).length);
        cut(form, first.response, Buffer.alloc(0));
        (await upstream.next()).request.socket.destroy();
        const headOnly = await upstream.answer(contentType);
        t.equal(headOnly.url.searchParams.get('resourceVersion'), '101');
        cut(form, headOnly.response, Buffer.alloc(0));
        const half = await upstream.answer(contentType);
        cut(form, half.response, event('MODIFIED', 102).subarray(0, 20));
        const last = await upstream.answer(contentType, event('MODIFIED', 102));
        t.equal(last.url.searchParams.get('resourceVersion'), '101');
        const all = Buffer.concat([event('ADDED', 101), event('MODIFIED', 102)]);
        t.ok((await client.has(all.length)).equals(all));
        client.leave();
        await once(last.response, 'close');
      },
    );
  }
}

const FAT = 'x'.repeat(64 * 1024);

for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
  story(`a slow client slows a watch, also after a cut by ${form}`, async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    const fat = (version: number): Buffer => jsonEvent('MODIFIED', version, { FAT });
    let version = 100;
    let arrival = await upstream.answer(JSON_WATCH);
    await client.pause();
    for (const connection of ['the first connection', 'after the cut']) {
      const taken = await writeUntilStalled(arrival.response, () => fat(++version));
      t.ok(
        taken < 32 * 1024 * 1024,
        `${connection}: ${taken} bytes were taken on the way to a client that reads nothing`,
      );
      if (connection === 'after the cut') break;
      cut(form, arrival.response, Buffer.alloc(0));
      const resuming = upstream.answer(JSON_WATCH);
      // A connection that is not read cannot be seen to end.
      await client.resume();
      arrival = await resuming;
      await client.pause();
      version = Number(arrival.url.searchParams.get('resourceVersion'));
    }
    await client.resume();
    arrival.response.write(jsonEvent('DELETED', ++version));
    const size = Array.from({ length: version - 101 }, (_item, index) => fat(101 + index).length).reduce(
      (a, b) => a + b,
    );
    const got = await client.has(size + jsonEvent('DELETED', version).length);
    const versions = watchEventDecoder(JSON_WATCH)
      ?.push(got)
      .map(({ resourceVersion }) => Number(resourceVersion));
    t.strictSame(
      versions,
      Array.from({ length: version - 100 }, (_item, index) => 101 + index),
    );
    client.leave();
    await once(arrival.response, 'close');
  });
}

story('an event of megabytes, cut in its middle, comes once and whole', async (t, { at, upstream }) => {
  const client = new Client(at, WATCH);
  const huge = jsonEvent('MODIFIED', 101, { data: 'y'.repeat(3 * 1024 * 1024) });
  const first = await upstream.answer(JSON_WATCH);
  cut('a TCP reset', first.response, huge.subarray(0, 2 * 1024 * 1024));
  const second = await upstream.answer(JSON_WATCH, huge);
  t.ok((await client.has(huge.length)).equals(huge));
  client.leave();
  await once(second.response, 'close');
});

for (const [what, body] of [
  ['a list in one line', '{"kind":"PodMetricsList","metadata":{},"items":[]}\n'],
  ['a list in one line without an end', '{"kind":"PodMetricsList","metadata":{},"items":[]}'],
  ['a list over lines', '{\n  "kind": "PodMetricsList",\n  "items": []\n}\n'],
  ['a text', 'no watch here'],
] as const) {
  story(`a server that does not know watches answers ${what}: it passes and ends`, async (t, { at, upstream }) => {
    const client = new Client(at, '/apis/metrics.k8s.io/v1beta1/pods?watch=true&resourceVersion=5');
    const { response } = await upstream.answer(JSON_WATCH);
    response.end(body);
    if (what === 'a text') {
      // Not JSON, as its type says: the beginning of an event for all that is known, and asked for again.
      (await upstream.answer(JSON_WATCH, Buffer.from('other\n'))).response.end();
      t.equal((await client.has(1)).toString(), 'other\n');
    } else t.equal((await client.has(body.length)).toString(), body);
    t.equal(await client.ended, 'complete');
  });
}

story('a list that answers a watch and is cut is broken off', async (t, { at, upstream }) => {
  const client = new Client(at, '/apis/metrics.k8s.io/v1beta1/pods?watch=true&resourceVersion=5');
  const { response } = await upstream.answer(JSON_WATCH, Buffer.from('{\n  "kind": "PodMetricsList",\n'));
  await client.has(10);
  cut('a TCP reset', response, Buffer.alloc(0));
  t.equal(await client.ended, 'broken');
});

story('one object with the parameter of a watch is no watch', async (t, { at, upstream }) => {
  const client = new Client(at, '/api/v1/namespaces/default/pods/box?watch=true');
  const { response, url } = await upstream.next();
  t.equal(url.search, '?watch=true');
  const pod = '{"kind":"Pod","metadata":{"name":"box","resourceVersion":"5"}}';
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(pod);
  t.equal(await client.ended, 'complete');
  t.equal((await client.has(pod.length)).toString(), pod);
});

story('the old path of a single object is resumed', async (t, { at, upstream }) => {
  const client = new Client(at, '/api/v1/watch/namespaces/default/pods/box?resourceVersion=100');
  cut(
    'a FIN without the last chunk',
    (await upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101))).response,
    Buffer.alloc(0),
  );
  const second = await upstream.answer(JSON_WATCH, jsonEvent('MODIFIED', 102));
  t.ok(second.url.pathname.endsWith('/api/v1/watch/namespaces/default/pods/box'));
  t.equal(second.url.searchParams.get('resourceVersion'), '101');
  t.equal((await client.has(1)).indexOf('101') > 0, true);
  client.leave();
  await once(second.response, 'close');
});

for (const [code, reason] of [
  [410, 'Expired'],
  [500, 'InternalError'],
  [504, 'Timeout'],
] as const) {
  story(`an ERROR event ${code} is told once and nothing follows`, async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    cut('a TCP reset', (await upstream.answer(JSON_WATCH)).response, Buffer.alloc(0));
    const error = Buffer.from(`{"type":"ERROR","object":{"kind":"Status","code":${code},"reason":"${reason}"}}\n`);
    (await upstream.answer(JSON_WATCH, error)).response.end();
    t.equal(await client.ended, 'complete');
    t.ok((await client.has(1)).equals(error));
  });
}

const clock = new FakeClock();
story(
  'a server that ends every answer at once is asked at a growing distance',
  async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    const times: number[] = [];
    for (let round = 0; round < 8; round++) {
      const arrival = await clock.passUntil(upstream.answer(JSON_WATCH));
      times.push(clock.monotonic());
      arrival.response.end();
    }
    const pauses = times.slice(2).map((time, index) => time - (times[index + 1] ?? 0));
    t.ok((pauses.at(-1) ?? 0) > 3000, `the last pause was ${pauses.at(-1)} ms`);
    const last = await clock.passUntil(upstream.answer(JSON_WATCH, jsonEvent('ADDED', 101)));
    await client.has(1);
    cut('a TCP reset', last.response, Buffer.alloc(0));
    const before = clock.monotonic();
    const next = await clock.passUntil(upstream.answer(JSON_WATCH));
    t.ok(clock.monotonic() - before < 1000, 'an event is a success: it goes on at once');
    client.leave();
    await once(next.response, 'close');
  },
  { clock },
);

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

const learned: number[] = [];

story(
  'cuts tell when the gateway cuts; a watch that its server ends in an orderly way does not',
  async (t, { at, upstream }) => {
    const client = new Client(at, WATCH);
    let version = 100;
    for (const [form, cuts] of [
      ['a clean end of the body', 0],
      ['a TCP reset', 1],
      ['a FIN without the last chunk', 2],
      ['a clean end of the body', 2],
    ] as const) {
      const { response } = await upstream.answer(JSON_WATCH, jsonEvent('ADDED', ++version));
      await client.has(jsonEvent('ADDED', version).length * (version - 100));
      cut(form, response, Buffer.alloc(0));
      const next = await upstream.next();
      t.equal(learned.length, cuts, form);
      next.request.socket.destroy();
    }
    client.leave();
  },
  { onCut: (ageMs) => learned.push(ageMs) },
);
