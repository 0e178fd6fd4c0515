import { once } from 'node:events';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { FakeClock } from '../support/fake-clock.js';
import { type Arrival, Client, story, type Upstream, writeUntilStalled } from '../support/fault-scene.js';

const LOGS = '/api/v1/namespaces/default/pods/hello/log?follow=true&container=main&tailLines=100';
const STARTED = '2026-11-24T09:00:00Z';

/** Lines as the kubelet keeps them: several of one time, one without text, a long one. */
const LOG = Array.from({ length: 24 }, (_item, index) => {
  const second = String(Math.floor(index / 4)).padStart(2, '0');
  const text = index % 7 === 3 ? '' : `line ${index} ${'x'.repeat(index * 5)}`;
  return Buffer.from(`2026-11-24T10:00:${second}.50000000${index % 2}Z ${text}\n`);
});
const plain = Buffer.concat(LOG.map((line) => line.subarray(line.indexOf(' ') + 1)));

/** What the server answers: `sinceTime` is cut to whole seconds. */
function linesSince(arrival: Arrival): Buffer {
  const since = (arrival.url.searchParams.get('sinceTime') ?? '').slice(0, 19);
  return Buffer.concat(LOG.filter((line) => line.toString().slice(0, 19) >= since));
}

async function beginLog(upstream: Upstream): Promise<Arrival> {
  const arrival = await upstream.next();
  arrival.response.writeHead(200, { 'Content-Type': 'text/plain', Date: 'Tue, 24 Nov 2026 09:59:59 GMT' });
  arrival.response.flushHeaders();
  return arrival;
}

/** Answers the question whether the container is still there. */
async function showPod(upstream: Upstream, state: unknown, lastState: unknown = {}): Promise<void> {
  const { response, url } = await upstream.next();
  if (!url.pathname.endsWith('/pods/hello')) throw new Error(`expected a look at the pod, not ${url}`);
  const pod = {
    kind: 'Pod',
    spec: { containers: [{ name: 'main' }] },
    status: { containerStatuses: [{ name: 'main', state, lastState }] },
  };
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(pod));
}

const running = { running: { startedAt: STARTED } };

for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
  story(`a followed log that is cut by ${form} every few bytes shows every line once`, async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    let arrival = await beginLog(upstream);
    t.equal(arrival.url.searchParams.get('timestamps'), 'true');
    t.equal(arrival.url.searchParams.get('tailLines'), '100');
    // Each round gets a little further than the one before and is cut in the middle of a line.
    for (let further = 60; ; further += 170) {
      const bytes = linesSince(arrival);
      const all = Buffer.concat(LOG);
      const upTo = further - (all.length - bytes.length);
      if (upTo >= bytes.length) break;
      cut(form, arrival.response, bytes.subarray(0, Math.max(0, upTo)));
      await showPod(upstream, running);
      arrival = await beginLog(upstream);
      t.equal(arrival.url.searchParams.get('follow'), 'true');
      t.equal(arrival.url.searchParams.get('tailLines'), arrival.url.searchParams.has('sinceTime') ? null : '100');
    }
    arrival.response.end(linesSince(arrival));
    await showPod(upstream, { terminated: { exitCode: 0 } });
    const rest = await beginLog(upstream);
    rest.response.end(linesSince(rest));
    t.equal(await client.ended, 'complete', 'it ends when the container has ended');
    t.equal((await client.has(plain.length)).toString(), plain.toString());
  });
}

story('a client that asked for timestamps gets them, once', async (t, { at, upstream }) => {
  const client = new Client(at, `${LOGS}&timestamps=true`);
  const first = await beginLog(upstream);
  cut('a TCP reset', first.response, Buffer.concat(LOG).subarray(0, 100));
  await showPod(upstream, running);
  const second = await beginLog(upstream);
  second.response.write(linesSince(second));
  const all = Buffer.concat(LOG);
  t.equal((await client.has(all.length)).toString(), all.toString());
  client.leave();
  await once(second.response, 'close');
});

story('the limit of the client counts what the client gets', async (t, { at, upstream }) => {
  const client = new Client(at, `${LOGS}&limitBytes=50`);
  const first = await beginLog(upstream);
  t.equal(first.url.searchParams.get('limitBytes'), null);
  first.response.write(Buffer.concat(LOG));
  t.equal(await client.ended, 'complete');
  t.equal((await client.has(50)).toString(), plain.subarray(0, 50).toString());
});

story('a pod that is gone ends the log', async (t, { at, upstream }) => {
  const client = new Client(at, LOGS);
  const first = await beginLog(upstream);
  cut('a clean end of the body', first.response, LOG[0] ?? Buffer.alloc(0));
  const { response } = await upstream.next();
  response.writeHead(404, { 'Content-Type': 'application/json' });
  response.end('{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}');
  t.equal(await client.ended, 'complete');
});

story(
  'a pod that is gone after a broken connection: the end of its log may be lost, and does not look whole',
  async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    cut('a TCP reset', (await beginLog(upstream)).response, LOG[0] ?? Buffer.alloc(0));
    const { response } = await upstream.next();
    response.writeHead(404, { 'Content-Type': 'application/json' });
    response.end('{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}');
    t.equal(await client.ended, 'broken');
  },
);

const ENDED = { terminated: { exitCode: 1, startedAt: STARTED } };

for (const [what, state] of [
  ['was started again', { running: { startedAt: '2026-11-24T11:00:00Z' } }],
  ['was started again and has ended', { terminated: { exitCode: 0, startedAt: '2026-11-24T11:00:00Z' } }],
  ['waits for a start', { waiting: { reason: 'CrashLoopBackOff' } }],
] as const) {
  for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
    story(
      `a container that ${what} ends the log after the rest of its last instance, ${form}`,
      async (t, { at, upstream }) => {
        const client = new Client(at, LOGS);
        cut(form, (await beginLog(upstream)).response, Buffer.concat(LOG.slice(0, 2)));
        await showPod(upstream, state, ENDED);
        const rest = await beginLog(upstream);
        t.equal(rest.url.searchParams.get('previous'), 'true');
        cut(form, rest.response, linesSince(rest).subarray(0, 400));
        // Cut or not: as long as it brings something new, it may not be all.
        await showPod(upstream, state, ENDED);
        const more = await beginLog(upstream);
        more.response.end(linesSince(more));
        await showPod(upstream, state, ENDED);
        const last = await beginLog(upstream);
        last.response.end(linesSince(last));
        t.equal(await client.ended, 'complete');
        t.equal((await client.has(plain.length)).toString(), plain.toString());
      },
    );
  }
}

story('a container that was started twice in a gap: the rest of its log is gone', async (t, { at, upstream }) => {
  const client = new Client(at, LOGS);
  cut('a TCP reset', (await beginLog(upstream)).response, LOG[0] ?? Buffer.alloc(0));
  const younger = { startedAt: '2026-11-24T11:00:00Z' };
  await showPod(upstream, { running: younger }, { terminated: { exitCode: 1, ...younger } });
  t.equal(await client.ended, 'broken');
});

for (const form of Object.keys(CUT_FORMS) as CutForm[]) {
  story(`a followed log that is cut by ${form} while it resumes goes on all the same`, async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    cut(form, (await beginLog(upstream)).response, Buffer.concat(LOG.slice(0, 3)).subarray(0, -4));
    (await upstream.next()).request.socket.destroy();
    await showPod(upstream, running);
    (await upstream.next()).request.socket.destroy();
    await showPod(upstream, running);
    cut(form, (await beginLog(upstream)).response, Buffer.alloc(0));
    await showPod(upstream, running);
    const half = await beginLog(upstream);
    cut(form, half.response, linesSince(half).subarray(0, 20));
    await showPod(upstream, running);
    const last = await beginLog(upstream);
    last.response.write(linesSince(last));
    t.equal((await client.has(plain.length)).toString(), plain.toString());
    client.leave();
    await once(last.response, 'close');
  });

  story(`a slow client slows a followed log, also after a cut by ${form}`, async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    const fat = (n: number): string =>
      `2026-11-24T10:${String(Math.floor(n / 60)).padStart(2, '0')}:${String(n % 60).padStart(2, '0')}Z `;
    const line = (n: number): Buffer => Buffer.from(`${fat(n)}${n} ${'x'.repeat(64 * 1024)}\n`);
    let n = 0;
    let arrival = await beginLog(upstream);
    await client.pause();
    let taken = await writeUntilStalled(arrival.response, () => line(n++));
    t.ok(taken < 32 * 1024 * 1024, `${taken} bytes were taken on the way to a client that reads nothing`);
    cut(form, arrival.response, Buffer.alloc(0));
    const looked = showPod(upstream, running);
    // A connection that is not read cannot be seen to end.
    await client.resume();
    await looked;
    arrival = await beginLog(upstream);
    await client.pause();
    const since = Date.parse(arrival.url.searchParams.get('sinceTime') ?? '');
    n = (since - Date.parse('2026-11-24T10:00:00Z')) / 1000;
    taken = await writeUntilStalled(arrival.response, () => line(n++));
    t.ok(taken < 32 * 1024 * 1024, `after the cut: ${taken} bytes`);
    await client.resume();
    const size = Array.from({ length: n }, (_item, index) => line(index).length - fat(index).length).reduce(
      (a, b) => a + b,
    );
    const numbers = (await client.has(size)).toString('latin1').match(/^\d+/gm)?.map(Number);
    t.strictSame(
      numbers,
      Array.from({ length: n }, (_item, index) => index),
    );
    client.leave();
    await once(arrival.response, 'close');
  });
}

async function forbidPod(upstream: Upstream): Promise<void> {
  const { response } = await upstream.next();
  response.writeHead(403, { 'Content-Type': 'application/json' });
  response.end('{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}');
}

story(
  'where the pod may not be looked at, the log goes on until it ends at once and empty',
  async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    cut('a clean end of the body', (await beginLog(upstream)).response, Buffer.concat(LOG.slice(0, 3)));
    await forbidPod(upstream);
    const second = await beginLog(upstream);
    second.response.end(linesSince(second));
    await forbidPod(upstream);
    const third = await beginLog(upstream);
    third.response.end(linesSince(third));
    await forbidPod(upstream);
    t.equal(await client.ended, 'complete');
    t.equal((await client.has(plain.length)).toString(), plain.toString());
  },
);

story('the kubelet’s own words reach the client and end the log', async (t, { at, upstream }) => {
  const client = new Client(at, LOGS);
  const words = 'failed to create fsnotify watcher: too many open files';
  (await beginLog(upstream)).response.end(Buffer.concat([...LOG.slice(0, 1), Buffer.from(words)]));
  t.equal(await client.ended, 'complete');
  t.match((await client.has(1)).toString(), /^line 0 \nfailed to create fsnotify watcher/);
});

story('a log that has said nothing yet: what is said in the gap is not lost', async (t, { at, upstream }) => {
  const client = new Client(at, LOGS.replace('tailLines=100', 'tailLines=0'));
  cut('a TCP reset', (await beginLog(upstream)).response, Buffer.alloc(0));
  await showPod(upstream, running);
  const second = await beginLog(upstream);
  t.equal(second.url.searchParams.get('tailLines'), null);
  t.equal(second.url.searchParams.get('sinceTime'), '2026-11-24T09:59:59Z', 'since its first answer');
  second.response.write(Buffer.concat(LOG));
  t.equal((await client.has(plain.length)).toString(), plain.toString());
  client.leave();
  await once(second.response, 'close');
});

const clock = new FakeClock();
story(
  'a quiet log, of which not even a head has come, outlives any number of cuts',
  async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    for (let round = 0; round < 4; round++) {
      const { request } = await clock.passUntil(upstream.next());
      clock.advance(20 * 60_000);
      request.socket.destroy();
    }
    const last = await clock.passUntil(beginLog(upstream));
    last.response.write(Buffer.concat(LOG));
    t.equal((await client.has(plain.length)).toString(), plain.toString());
    client.leave();
    await once(last.response, 'close');
  },
  { clock },
);

story(
  'a lost agent is a pause; a refusal breaks the body, because an end would look like the end of the log',
  async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    const first = await beginLog(upstream);
    cut('a TCP reset', first.response, LOG[0] ?? Buffer.alloc(0));
    const lost = await upstream.next();
    lost.response.writeHead(404, { 'Content-Type': 'application/json' });
    lost.response.end('{"error":{"code":404,"message":"No active connections","status":"NOT_FOUND"}}');
    await showPod(upstream, running);
    const { response } = await upstream.next();
    response.writeHead(403, { 'Content-Type': 'application/json' });
    response.end('{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}');
    t.equal(await client.ended, 'broken');
  },
);

story('the log of a previous instance is carried as it is', async (t, { at, upstream }) => {
  const client = new Client(at, `${LOGS}&previous=true`);
  const first = await beginLog(upstream);
  t.equal(first.url.searchParams.get('timestamps'), null);
  first.response.end('just text\n');
  t.equal(await client.ended, 'complete');
});

for (const [what, target] of [
  ['a followed log that has said nothing', '/api/v1/namespaces/default/pods/hello/log?follow=true'],
  ['a watch that has not been answered', '/api/v1/pods?watch=true&resourceVersion=1'],
] as const) {
  story(`${what} does not hold up the daemon's stop, and hears why`, async (t, { at, upstream }) => {
    const client = new Client(at, target);
    await upstream.next();
    const gone = new Client(at, target);
    gone.response.catch(() => {});
    gone.ended.catch(() => {});
    const { request } = await upstream.next();
    gone.leave();
    await once(request.socket, 'close');
    await at.door.drain(new AbortController().signal);
    t.equal((await client.response).statusCode, 503);
    t.equal(await client.ended, 'complete');
    t.match(JSON.parse((await client.has(1)).toString()), { kind: 'Status', message: /the daemon is stopping/ });
  });
}
