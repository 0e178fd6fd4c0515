import t from 'tap';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { type Arrival, Client, story, type Upstream } from '../support/fault-scene.js';

/** Two streams are cut this often, in every form, in the middle of an event or line. */
const CUTS = Number(process.env['CGP_TEST_SOAK_CUTS'] ?? 50);
/** After this many cuts everything that is made once has been made. */
const WARM_UP = Math.max(10, Math.floor(CUTS / 10));
/** Heaps breathe; a leak of one small object for each cut would show as more. */
const HEAP_TOLERANCE_BYTES = 3 * 1024 * 1024;

const forms = Object.keys(CUT_FORMS) as CutForm[];

interface Figures {
  readonly heapMiB: number;
  readonly sockets: number;
  readonly timers: number;
}

function figures(): Figures {
  globalThis.gc?.();
  const resources = process.getActiveResourcesInfo();
  const count = (pattern: RegExp): number => resources.filter((name) => pattern.test(name)).length;
  return {
    heapMiB: process.memoryUsage().heapUsed / 1024 / 1024,
    sockets: count(/TCP|TLS/),
    timers: count(/Timeout/),
  };
}

function jsonEvent(resourceVersion: number): Buffer {
  return Buffer.from(
    `${JSON.stringify({ type: 'MODIFIED', object: { metadata: { resourceVersion: String(resourceVersion) } } })}\n`,
  );
}

async function answerNext(upstream: Upstream, version: number, line: number): Promise<Arrival | undefined> {
  const arrival = await upstream.next();
  const { response, url } = arrival;
  if (url.pathname.endsWith('/pods/hello')) {
    const state = { running: { startedAt: '2026-11-24T09:00:00Z' } };
    const pod = {
      kind: 'Pod',
      spec: { containers: [{ name: 'main' }] },
      status: { containerStatuses: [{ name: 'main', state }] },
    };
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(pod));
    return undefined;
  }
  const log = url.pathname.endsWith('/log');
  response.writeHead(200, {
    'Content-Type': log ? 'text/plain' : 'application/json',
    Date: 'Tue, 24 Nov 2026 10:00:00 GMT',
  });
  response.flushHeaders();
  const minute = String(Math.floor(line / 60) % 60).padStart(2, '0');
  const stamp = `2026-11-24T1${Math.floor(line / 3600)}:${minute}:${String(line % 60).padStart(2, '0')}Z`;
  const whole = log ? Buffer.from(`${stamp} line ${line}\n`) : jsonEvent(version);
  const unfinished = log ? Buffer.from('2026-11-24T23:59') : jsonEvent(version + 1).subarray(0, 20);
  response.write(whole);
  cut(forms[version % forms.length] ?? 'a TCP reset', response, unfinished);
  return arrival;
}

story(`${CUTS} cuts of a watch and of a followed log leave nothing behind`, async (t, { at, upstream }) => {
  const watch = new Client(at, '/api/v1/pods?watch=true&resourceVersion=1');
  const log = new Client(at, '/api/v1/namespaces/default/pods/hello/log?follow=true');
  await answerNext(upstream, 2, 0);
  await answerNext(upstream, 2, 0);
  await Promise.all([watch.response, log.response]);
  let before: Figures | undefined;
  let cuts = 2;
  for (let step = 1; cuts < CUTS; step++) {
    if ((await answerNext(upstream, step + 2, step)) !== undefined) cuts++;
    if (cuts >= WARM_UP) before ??= figures();
  }
  const after = figures();
  t.comment(`after ${WARM_UP} cuts: ${JSON.stringify(before)}; after ${cuts}: ${JSON.stringify(after)}`);
  t.ok(after.sockets <= (before?.sockets ?? 0) + 4, 'no socket is left behind');
  t.ok(after.timers <= (before?.timers ?? 0) + 4, 'no timer is left behind');
  const growth = (after.heapMiB - (before?.heapMiB ?? 0)) * 1024 * 1024;
  // Without --expose-gc the heap says nothing: `npm run soak` sets it.
  if (globalThis.gc !== undefined) t.ok(growth < HEAP_TOLERANCE_BYTES, `the heap grew by ${Math.round(growth)} bytes`);
  watch.leave();
  log.leave();
  // What the daemon had already asked for when its clients left.
  await new Promise((resolve) => setTimeout(resolve, 500));
  while (upstream.unannounced > 0) (await upstream.next()).response.destroy();
});

t.setTimeout(0);
