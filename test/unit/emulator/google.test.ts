import { once } from 'node:events';
import t from 'tap';
import { parse } from 'yaml';
import type { Clock } from '../../../src/base/clock.js';
import { systemClock } from '../../../src/base/clock.js';
import { ERROR_NAMES } from '../../../src/emulator/google/error-catalogue.js';
import { CUT_FORMS } from '../../../src/emulator/google/faults.js';
import { EDGE, memberOf, openGoogleBench, PROD, PROJECT } from './google-bench.js';

const HUB = `/v1/projects/${PROJECT.projectId}/locations`;

interface ErrorBody {
  readonly error: { readonly code: number; readonly status: string; readonly message: string };
}

function errorOf(body: string): ErrorBody['error'] {
  return (JSON.parse(body) as ErrorBody).error;
}

t.test('the hub lists memberships, whole or by page, and leaves out what cannot be reached', async (t) => {
  const bench = await openGoogleBench(t);
  const all = (await bench.json(`${HUB}/-/memberships?alt=json`)) as { resources: { name: string }[] };
  t.same(
    all.resources.map(({ name }) => name),
    [
      'projects/demo-project/locations/europe-west1/memberships/datacenter',
      'projects/demo-project/locations/global/memberships/edge-store',
      'projects/demo-project/locations/us-central1/memberships/prod',
    ],
  );
  t.match(all.resources[2], {
    uniqueId: 'u-1',
    state: { code: 'READY' },
    endpoint: {
      gkeCluster: { resourceLink: /container\.googleapis\.com/ },
      kubernetesMetadata: { kubernetesApiServerVersion: 'v1.36.2' },
    },
  });
  t.match(all.resources[0], { endpoint: { onPremCluster: { clusterType: 'USER' } } });
  const first = await bench.json(`${HUB}/-/memberships?pageSize=2`);
  t.equal((first['resources'] as unknown[]).length, 2);
  const last = await bench.json(`${HUB}/-/memberships?pageSize=2&pageToken=${String(first['nextPageToken'])}`);
  t.equal((last['resources'] as unknown[]).length, 1);
  t.notOk(last['nextPageToken']);
  const global = await bench.json(`/v1beta/projects/${PROJECT.projectNumber}/locations/global/memberships`);
  t.equal((global['resources'] as unknown[]).length, 1, 'one location, by project number, by the beta API');
  bench.emulator.faults.add({ unreachable: ['us-central1'], times: 1 });
  const partial = await bench.json(`${HUB}/-/memberships`);
  t.same(partial['unreachable'], ['us-central1']);
  t.equal((partial['resources'] as unknown[]).length, 2);
  t.notOk((await bench.json(`${HUB}/-/memberships`))['unreachable'], 'once only');
  t.match(await bench.json(`${HUB}/us-central1/memberships/prod`), { uniqueId: 'u-1' });
  t.equal((await bench.call(`${HUB}/us-central1/memberships/none`)).status, 404);
});

t.test('memberships come and go while it runs', async (t) => {
  const bench = await openGoogleBench(t);
  bench.emulator.setMemberships([memberOf(bench.cluster, { id: 'new', clusterMissing: true, state: 'CREATING' })]);
  t.match(await bench.json(`${HUB}/-/memberships`), {
    resources: [{ state: { code: 'CREATING' }, endpoint: { gkeCluster: { clusterMissing: true } } }],
  });
  t.equal((await bench.call(`${PROD}/version`)).status, 404, 'the old one is gone from the data path');
});

t.test('generateCredentials names the URL of the data path and a kubeconfig for it', async (t) => {
  const bench = await openGoogleBench(t);
  const gke = await bench.json(`${HUB}/us-central1/memberships/prod:generateCredentials?alt=json&forceUseAgent=False`);
  t.equal(gke['endpoint'], `${bench.emulator.url}${PROD}`);
  const kubeconfig: unknown = parse(Buffer.from(String(gke['kubeconfig']), 'base64').toString());
  t.match(kubeconfig, {
    'current-context': 'connectgateway_demo-project_us-central1_prod',
    clusters: [{ cluster: { server: gke['endpoint'] } }],
    users: [{ user: { exec: { command: 'gke-gcloud-auth-plugin' } } }],
  });
  const agent = await bench.json(
    `${EDGE.replace('v1', 'v1beta1')}:generateCredentials?kubernetesNamespace=shop&impersonatedServiceAccount=a@p.iam.gserviceaccount.com`,
  );
  t.match(agent['endpoint'], /\/v1beta1\/projects\/123456789012\/locations\/global\/memberships\/edge-store$/);
  t.match(parse(Buffer.from(String(agent['kubeconfig']), 'base64').toString()), {
    contexts: [{ name: /_ns-shop$/, context: { namespace: 'shop' } }],
    users: [{ user: { exec: { args: ['--impersonate_service_account=a@p.iam.gserviceaccount.com'] } } }],
  });
  const wrongHost = await bench.call(`${HUB}/us-central1/memberships/prod:generateCredentials`, {
    headers: { Host: 'connectgateway.googleapis.com' },
  });
  t.equal(wrongHost.status, 400, 'a regional membership on the global host');
  t.match(errorOf(wrongHost.body), { message: 'Request contains an invalid argument.' });
});

t.test('projects, permissions and services answer as Google does', async (t) => {
  const bench = await openGoogleBench(t);
  t.match(await bench.json(`/v1/projects/${PROJECT.projectId}`), { projectNumber: PROJECT.projectNumber });
  t.match(await bench.json(`/v3/projects/${PROJECT.projectNumber}`), {
    name: `projects/${PROJECT.projectNumber}`,
    projectId: PROJECT.projectId,
  });
  t.equal((await bench.call('/v1/projects/other')).status, 403);
  const body = JSON.stringify({ permissions: ['gkehub.gateway.get'] });
  t.same(await bench.json(`/v1/projects/demo-project:testIamPermissions`, { method: 'POST', body }), {
    permissions: ['gkehub.gateway.get'],
  });
  t.match(await bench.json('/v1/projects/demo-project/services/connectgateway.googleapis.com'), { state: 'ENABLED' });
  t.match(await bench.json('/oauth2/v3/userinfo'), { email: 'dev@example.com' });
  t.match((await bench.call('/nothing')).headers, { 'content-type': /text\/html/ });
});

t.test('a request reaches the cluster byte for byte, without prefix and credential', async (t) => {
  const bench = await openGoogleBench(t);
  const token = bench.emulator.issueToken({ user: 'viewer@example.com', groups: ['team@example.com'] });
  for (const rest of ['/api/v1/namespaces/a%2Fb//pods/../x?labelSelector=a%3Db&q=%zz', '/', '/version']) {
    const heard = await bench.raw([
      `GET ${EDGE}${rest} HTTP/1.1`,
      'Host: x',
      `Authorization: Bearer ${token}`,
      'Impersonate-Group: a',
      'impersonate-group: b',
      'Connection: close',
    ]);
    const body = JSON.parse(heard.bytes.toString().split('\r\n\r\n')[1] ?? '') as Record<string, unknown>;
    t.equal(body['target'], rest);
    t.same(body['caller'], { user: 'viewer@example.com', groups: ['team@example.com'] });
    t.same(body['headers'], ['Host', 'x', 'Impersonate-Group', 'a', 'impersonate-group', 'b', 'Connection', 'close']);
  }
  t.match(bench.emulator.requests.at(-1), {
    method: 'GET',
    target: `${EDGE}/version`,
    membership: 'edge-store',
    kind: 'request',
    status: 200,
  });
  for (const version of ['v1beta1', 'v1alpha1']) {
    t.equal((await bench.call(`${PROD.replace('v1', version)}/version`)).status, 200, version);
  }
});

t.test('who has no good token gets 401 in Google’s form', async (t) => {
  let ahead = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + ahead };
  const bench = await openGoogleBench(t, { clock });
  const brief = bench.emulator.issueToken({ user: 'a@example.com', expiresInSeconds: 60 });
  for (const token of [null, 'wrong', '']) {
    const heard = await bench.call(`${PROD}/version`, { token });
    t.equal(heard.status, 401);
    t.equal(errorOf(heard.body).status, 'UNAUTHENTICATED');
  }
  t.equal((await bench.call(`${PROD}/version`, { token: brief })).status, 200);
  ahead = 61_000;
  t.equal((await bench.call(`${PROD}/version`, { token: brief })).status, 401, 'expired');
  bench.emulator.faults.add({ tokenExpired: true, times: 1 });
  t.equal((await bench.call(`${PROD}/version`)).status, 401, 'by a fault');
  t.equal((await bench.call(`${PROD}/version`)).status, 200);
  t.equal(bench.cluster.calls.length, 2);
});

t.test('a wrong URL, collection or method, and headers over 8 KB, are refused as by the gateway', async (t) => {
  const bench = await openGoogleBench(t);
  const page = await bench.call(PROD.replace('gkeMemberships', 'members'));
  t.equal(page.status, 404);
  t.match(page.body, /<title>Error 404 \(Not Found\)!!1<\/title>/);
  t.match(page.body, /The requested URL <code>.*<\/code> was not found on this server/);
  const wrong = await bench.call(`${PROD.replace('gkeMemberships', 'memberships')}/api`);
  t.match(errorOf(wrong.body).message, /No active connections found/);
  t.equal((await bench.call(`${PROD}/api`, { method: 'OPTIONS' })).status, 404);
  for (const size of [8_300, 100_000, 200_000]) {
    const big = await bench.call(`${PROD}/api`, { headers: { 'X-Big': 'x'.repeat(size) } });
    t.equal(big.status, 400, `${size} bytes`);
    t.match(big.headers, { 'content-type': /text\/html/ });
  }
  const groups = Array.from({ length: 400 }, (_, i) => `a-rather-long-group-name-${i}@example.com`);
  const member = await bench.call(`${PROD}/api`, {
    token: bench.emulator.issueToken({ user: 'a@example.com', groups }),
  });
  t.match(errorOf(member.body).message, /gke-security-groups/);
  t.equal(bench.cluster.calls.length, 0);
});

t.test('the minute’s requests are counted for the fleet host project', async (t) => {
  let ahead = 0;
  const clock: Clock = { ...systemClock, monotonic: () => performance.now() + ahead };
  const bench = await openGoogleBench(t, { clock, limits: { requestsPerMinute: 2 } });
  t.equal((await bench.call(`${PROD}/version`)).status, 200);
  t.equal((await bench.call(`${EDGE}/version`)).status, 200);
  const over = await bench.call(`${PROD}/version`);
  t.equal(over.status, 429);
  t.equal(errorOf(over.body).status, 'RESOURCE_EXHAUSTED');
  ahead = 60_001;
  t.equal((await bench.call(`${PROD}/version`)).status, 200);
});

t.test('upgrades are active streams and give their place back; watches and followed logs are none', async (t) => {
  const bench = await openGoogleBench(t, { limits: { activeStreams: 2 } });
  const watch = await bench.open(`${PROD}/api/v1/pods?watch=true`);
  const log = await bench.open(`${PROD}/api/v1/namespaces/a/pods/b/log?follow=true`);
  t.equal(bench.emulator.activeStreams(), 0);
  const sockets = [PROD, EDGE].map((at) => bench.webSocket(`${at}/api/v1/namespaces/a/pods/b/exec`));
  for (const socket of sockets) await once(socket, 'open');
  t.equal(bench.emulator.activeStreams(), 2);
  const over = await bench.rawWebSocket(`${PROD}/api/v1/namespaces/a/pods/b/exec`);
  t.match(over.head, /^HTTP\/1\.1 429 /);
  t.match(over.bytes.toString(), /generic::resource_exhausted: .*active_streams/);
  t.equal((await bench.call(`${PROD}/api/v1/pods`)).status, 200, 'a plain request is no stream');
  const signals = bench.cluster.calls.slice(2, 4).map(({ context }) => context.signal);
  for (const socket of sockets) socket.terminate();
  await Promise.all(signals.map((signal) => signal.aborted || once(signal, 'abort')));
  t.equal(bench.emulator.activeStreams(), 0);
  watch.destroy();
  log.destroy();
});

t.test('an upgrade to anything but WebSocket gets the 404 page', async (t) => {
  const bench = await openGoogleBench(t);
  const { bytes } = await bench.raw([
    `POST ${PROD}/api/v1/namespaces/a/pods/b/exec HTTP/1.1`,
    'Host: x',
    `Authorization: Bearer ${bench.emulator.accessToken}`,
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    'Content-Length: 0',
  ]);
  t.match(bytes.toString(), /^HTTP\/1\.1 404 Not Found\r\n/);
  t.match(bytes.toString(), /Error 404 \(Not Found\)!!1/);
  t.match(bench.emulator.requests.at(-1), { kind: 'upgrade', status: 404, method: 'POST' });
});

t.test('a WebSocket passes both ways, large messages and refusals included', async (t) => {
  const bench = await openGoogleBench(t);
  const socket = bench.webSocket(`${PROD}/exec`);
  await once(socket, 'open');
  const sent = Buffer.alloc(3_000_000, 'abc');
  socket.send(sent);
  const [back] = (await once(socket, 'message')) as [Buffer];
  t.ok(sent.equals(back));
  socket.close(1000);
  const [code] = (await once(socket, 'close')) as [number];
  t.equal(code, 1000);
  t.match(bench.emulator.requests.at(-1), { kind: 'upgrade', status: 101, membership: 'prod' });
  const refused = bench.webSocket(`${PROD}/refuse`);
  const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
  t.equal(response.statusCode, 403);
});

t.test('an upgraded connection is cut after exactly so many bytes, in every form', async (t) => {
  const bench = await openGoogleBench(t);
  const message = Buffer.alloc(300, 'x');
  // 4 bytes of header and 300 of payload a frame.
  const cases = { reset: 1000, fin: 1000, 'close-1006': 1000, 'rst-stream': 1000, goaway: 1000 } as const;
  for (const [form, length] of Object.entries(cases)) {
    const id = bench.emulator.faults.add({ cutAfterBytes: 1000, form: form as 'reset', times: 1 });
    const came = bench.cluster.next();
    const heard = bench.rawWebSocket(`${PROD}/exec`);
    const { context } = await came;
    const webSocket = bench.cluster.sockets.at(-1);
    for (let i = 0; i < 10; i++) webSocket?.send(message);
    const { bytes, error } = await heard;
    t.equal(bytes.length, length, form);
    t.equal(
      error?.code,
      ['reset', 'rst-stream', 'goaway'].includes(form) ? 'ECONNRESET' : undefined,
      `${form}: ${error?.code}`,
    );
    t.ok(context.signal.aborted);
    t.notOk(bench.emulator.faults.remove(id), 'used up');
  }
  const speaking = { 'close-1000': 1000, 'close-1001': 1001, 'close-1011': 1011, 'clean-end': 1005 } as const;
  for (const [form, code] of Object.entries(speaking)) {
    bench.emulator.faults.add({ cutAfterBytes: 1000, form: form as 'close-1000', times: 1 });
    const came = bench.cluster.next();
    const socket = bench.webSocket(`${PROD}/exec`);
    let messages = 0;
    socket.on('message', () => messages++);
    await came;
    for (let i = 0; i < 10; i++) bench.cluster.sockets.at(-1)?.send(message);
    const [heard, reason] = (await once(socket, 'close')) as [number, Buffer];
    t.equal(heard, code, form);
    t.equal(messages, 4, 'the frame under way is finished: 4 x 304 bytes');
    if (code === 1011) t.match(reason.toString(), /agent connection failed/);
  }
  bench.emulator.faults.add({ cutAfterBytes: 0, times: 1 });
  const { bytes } = await bench.rawWebSocket(`${PROD}/exec`);
  t.equal(bytes.length, 0, 'right behind the 101');
  t.equal(bench.emulator.activeStreams(), 0);
});

t.test('a watch is cut after exactly so many bytes, in every form', async (t) => {
  const bench = await openGoogleBench(t);
  for (const form of CUT_FORMS) {
    bench.emulator.faults.add({ cutAfterBytes: 25, form, match: 'watch', times: 1 });
    const came = bench.cluster.next();
    const heard = bench.call(`${PROD}/api/v1/pods?watch=true`);
    const { response, context } = await came;
    for (let i = 0; i < 10; i++) response?.write(`line ${i} of it\n`);
    const { body, error } = await heard;
    t.equal(body.length, 25, form);
    const orderly = form === 'clean-end' || form === 'close-1000' || form === 'close-1001';
    t.equal(error === undefined, orderly, `${form}: ${error?.message}`);
    t.ok(context.signal.aborted);
  }
  t.equal(bench.emulator.activeStreams(), 0);
});

t.test('streams are cut after a time, and all that are open at once', async (t) => {
  const timers: { ms: number; fn: () => void }[] = [];
  const clock: Clock = {
    ...systemClock,
    after(ms, fn) {
      if (ms !== 20 * 60_000) return systemClock.after(ms, fn);
      timers.push({ ms, fn });
      return () => {};
    },
  };
  const bench = await openGoogleBench(t, { clock });
  bench.emulator.faults.add({ cutAfterMs: 20 * 60_000, form: 'close-1011', membership: 'prod' });
  const socket = bench.webSocket(`${PROD}/exec`);
  await once(socket, 'open');
  await bench.call(`${PROD}/version`);
  t.equal(timers.length, 1, 'a plain request is not cut');
  timers[0]?.fn();
  const [code] = (await once(socket, 'close')) as [number];
  t.equal(code, 1011);

  const came = Promise.all([1, 2, 3].map(() => bench.cluster.next()));
  const watches = [EDGE, EDGE, PROD].map((at) => bench.call(`${at}/api/v1/pods?watch=true`));
  await came;
  t.equal(bench.emulator.faults.cutNow('clean-end', { membership: 'edge-store' }), 2);
  t.equal(bench.emulator.faults.cutNow('reset', { match: 'watch' }), 1);
  const [first, , third] = await Promise.all(watches);
  t.notOk(first?.error);
  t.equal(third?.error?.code, 'ECONNRESET');
});

t.test('faults hold for the membership and the kind of call that they name', async (t) => {
  const bench = await openGoogleBench(t);
  const { faults } = bench.emulator;
  faults.add({ agentLost: true, membership: 'edge-store' });
  const lost = await bench.call(`${EDGE}/api`);
  t.equal(lost.status, 404);
  t.equal(
    errorOf(lost.body).message,
    'cannot connect to agent or connection unexpectedly terminated for (project: 123456789012, membership: edge-store)',
  );
  t.equal((await bench.call(`${PROD}/api`)).status, 200);
  t.equal((await bench.call(`${HUB}/global/memberships/edge-store`)).status, 200, 'the hub does not know of it');
  faults.clear();
  faults.add({ answer: 'stream-permission-denied', match: 'upgrade' });
  const refused = bench.webSocket(`${PROD}/exec`);
  const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
  t.equal(response.statusCode, 403);
  t.equal((await bench.call(`${PROD}/api`)).status, 200);
  faults.clear();
  faults.add({ answer: 'list-permission-denied', match: 'control', times: 1 });
  t.equal((await bench.call(`${PROD}/api`)).status, 200);
  const denied = await bench.call(`${HUB}/-/memberships`);
  t.match(errorOf(denied.body).message, /gkehub\.memberships\.list' denied on 'projects\/demo-project\/locations\/-\//);
});

t.test('every row of the catalogue can be answered', async (t) => {
  const bench = await openGoogleBench(t);
  for (const answer of ERROR_NAMES) {
    bench.emulator.faults.add({ answer, times: 1 });
    const heard = await bench.call(`${PROD}/api/v1/pods`);
    t.ok(heard.status >= 400, `${answer}: ${heard.status} ${heard.headers['content-type']}`);
    if (heard.headers['content-type']?.includes('json')) t.doesNotThrow(() => JSON.parse(heard.body));
  }
  t.equal(bench.cluster.calls.length, 0);
});

t.test('slow headers and a long way are waited out', async (t) => {
  const waits: number[] = [];
  const clock: Clock = {
    ...systemClock,
    after(ms, fn) {
      waits.push(ms);
      return systemClock.after(0, fn);
    },
  };
  const bench = await openGoogleBench(t, { clock });
  bench.emulator.faults.add({ slowHeadersMs: 5000, membership: 'prod' });
  bench.emulator.faults.add({ rttMs: 40 });
  t.equal((await bench.call(`${PROD}/api`)).status, 200);
  t.same(waits.slice(0, 2), [80, 5040], 'two round trips to connect, one and the pause for the answer');
  const socket = bench.webSocket(`${EDGE}/exec`);
  await once(socket, 'open');
  socket.send('there and back');
  t.equal(String(((await once(socket, 'message')) as [Buffer])[0]), 'there and back');
  socket.terminate();
});

t.test('faults are switched over HTTP with the admin token only', async (t) => {
  const bench = await openGoogleBench(t);
  const at = '/-/emulator/faults';
  t.equal((await bench.call(at)).status, 401, 'the access token is not enough');
  const token = bench.emulator.adminToken;
  const post = (body: string) => bench.call(at, { method: 'POST', token, body });
  const added = await post('{"answer":"agent-missing","membership":"prod","times":2}');
  t.equal(added.status, 201);
  t.equal((await bench.call(`${PROD}/api`)).status, 404);
  t.match(await bench.json(at, { token }), { faults: [{ answer: 'agent-missing', times: 1 }], activeStreams: 0 });
  const { id } = JSON.parse(added.body) as { id: string };
  t.equal((await bench.call(`${at}/${id}`, { method: 'DELETE', token })).status, 200);
  t.equal((await bench.call(`${at}/${id}`, { method: 'DELETE', token })).status, 404);
  t.equal((await bench.call(`${PROD}/api`)).status, 200);
  const bad = {
    '[]': /JSON object/,
    '{"agentlost":true}': /unknown key "agentlost"/,
    '{"cutAfterMs":"1"}': /whole number/,
    '{"cutAfterMs":1,"form":"gone"}': /one of reset/,
    '{"answer":"nope"}': /unknown answer/,
    '{"membership":"prod"}': /at least one thing/,
    '{': /not JSON/,
  };
  for (const [body, message] of Object.entries(bad)) {
    const heard = await post(body);
    t.equal(heard.status, 400, body);
    t.match(errorOf(heard.body).message, message);
  }
  const watch = bench.call(`${PROD}/api/v1/pods?watch=true`);
  await bench.cluster.next();
  const cut = await bench.json('/-/emulator/cut', { method: 'POST', token, body: '{"form":"fin"}' });
  t.same(cut, { cut: 1 });
  t.ok((await watch).error);
});

t.test('closing drops every connection and closes the clusters', async (t) => {
  const bench = await openGoogleBench(t);
  const watch = bench.call(`${PROD}/api/v1/pods?watch=true`);
  const { context } = await bench.cluster.next();
  await bench.emulator.close();
  t.ok((await watch).error);
  t.ok(context.signal.aborted);
  t.ok(bench.cluster.closed);
});
