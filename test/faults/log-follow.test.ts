import { once } from 'node:events';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { type Arrival, Client, story, type Upstream } from '../support/fault-scene.js';

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
async function showPod(upstream: Upstream, state: unknown): Promise<void> {
  const { response, url } = await upstream.next();
  if (!url.pathname.endsWith('/pods/hello')) throw new Error(`expected a look at the pod, not ${url}`);
  const pod = {
    kind: 'Pod',
    spec: { containers: [{ name: 'main' }] },
    status: { containerStatuses: [{ name: 'main', state }] },
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
  'a container that was started again ends the log, after the rest of its last instance',
  async (t, { at, upstream }) => {
    const client = new Client(at, LOGS);
    const first = await beginLog(upstream);
    cut('a TCP reset', first.response, Buffer.concat(LOG.slice(0, 2)));
    await showPod(upstream, { running: { startedAt: '2026-11-24T11:00:00Z' } });
    const rest = await beginLog(upstream);
    t.equal(rest.url.searchParams.get('previous'), 'true');
    rest.response.end(linesSince(rest));
    t.equal(await client.ended, 'complete');
    t.equal((await client.has(plain.length)).toString(), plain.toString());
  },
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
