import { once } from 'node:events';
import { connect } from 'node:tls';
import t from 'tap';
import { createAuthority, issueServerCertificate } from '../../../src/base/certificates.js';
import { Client, Upstream } from '../../support/fault-scene.js';
import { GATEWAY_PREFIX, openTestFrontDoor } from '../../support/front-door.js';
import { send } from '../../support/raw-http.js';

t.test('without the local token nothing is served but the probes', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', () => t.fail('nothing may reach the gateway'));
  const cases: [string, number, string[], number][] = [
    ['/api', at.port, [], 401],
    ['/api', at.port, ['Authorization', 'Bearer wrong'], 401],
    ['/api', at.port, ['Authorization', 'Basic bG9jYWwtcHJvZA=='], 401],
    ['/api', at.port, ['Authorization', 'Bearer local-prod', 'Authorization', 'Bearer local-prod'], 401],
    ['/api', at.port, ['Authorization', 'Bearer hub-token'], 401],
    [`${GATEWAY_PREFIX}/api`, at.hubPort, ['Authorization', 'Bearer local-other'], 401],
    ['/-/memberships', at.hubPort, [], 401],
    ['/-/livez', at.hubPort, [], 200],
    ['/-/readyz', at.hubPort, [], 200],
    ['/-/startupz', at.hubPort, [], 200],
    ['/-/memberships', at.hubPort, ['Authorization', 'Bearer hub-token'], 200],
  ];
  for (const [target, port, headers, status] of cases) {
    const answer = await send(at, { target, port, headers });
    t.equal(answer.status, status, `${target} with ${JSON.stringify(headers)}`);
    if (status === 401) t.match(JSON.parse(answer.body), { kind: 'Status', reason: 'Unauthorized' });
  }
});

t.test('a renewed certificate is shown at the hub and at every membership', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const now = Date.now();
  const authority = await createAuthority({ commonName: 'another', now, validDays: 2 });
  at.door.useCertificate(
    await issueServerCertificate({ authority, commonName: 'here', hosts: ['127.0.0.1'], now, validDays: 1 }),
  );
  for (const port of [at.hubPort, at.port]) {
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate });
    await once(socket, 'secureConnect');
    t.equal(socket.getPeerCertificate().subject.CN, 'here');
    socket.destroy();
  }
});

t.test('what a web page could send is refused although it holds the token', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (_request, response) => response.end('reached'));
  const token = ['Authorization', 'Bearer local-prod'];
  const cases: [string[], number][] = [
    [['Host', 'evil.example', ...token], 403],
    [['Host', `evil.example:${at.port}`, ...token], 403],
    [['Host', `127.0.0.1.evil.example:${at.port}`, ...token], 403],
    [[...token, 'Origin', 'https://evil.example'], 403],
    [[...token, 'Origin', 'null'], 403],
    [[...token, 'Sec-Fetch-Site', 'cross-site'], 403],
    [[...token, 'Sec-Fetch-Site', 'same-site'], 403],
    [['Host', `localhost:${at.port}`, ...token], 200],
    [['Host', `[::1]:${at.port}`, ...token], 200],
    [['Host', `127.0.0.1:${at.port}`, ...token, 'Origin', `https://127.0.0.1:${at.port}`], 200],
    // As Python's websocket-client says it.
    [['Host', `127.0.0.1:${at.port}`, ...token, 'Origin', `http://127.0.0.1:${at.port}`], 200],
    [['Host', `127.0.0.1:${at.port}`, ...token, 'Origin', `http://127.0.0.1:${at.port + 1}`], 403],
    [[...token, 'Sec-Fetch-Site', 'none'], 200],
  ];
  for (const [headers, status] of cases) {
    const answer = await send(at, { target: '/version', headers });
    t.equal(answer.status, status, JSON.stringify(headers));
    if (status === 403) t.match(JSON.parse(answer.body), { kind: 'Status', reason: 'Forbidden' });
  }
});

t.test('the hub serves each membership under its path, with either collection and any API version', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (request, response) => response.end(request.url));
  for (const prefix of [
    GATEWAY_PREFIX,
    '/v1/projects/demo-fleet/locations/global/memberships/prod',
    '/v1beta1/projects/123456789012/locations/global/gkeMemberships/prod',
  ]) {
    const answer = await send(at, { target: `${prefix}/api/v1/pods?a=%2F`, port: at.hubPort });
    t.equal(answer.body, `${GATEWAY_PREFIX}/api/v1/pods?a=%2F`, prefix);
  }
});

t.test('an unknown membership is a 404 Status that lists close names', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const answer = await send(at, {
    target: '/v1/projects/demo-fleet/locations/global/memberships/prd/api',
    port: at.hubPort,
  });
  t.equal(answer.status, 404);
  t.match(JSON.parse(answer.body), { kind: 'Status', reason: 'NotFound' });
  t.match(answer.body, 'memberships/prod');
  t.equal((await send(at, { target: '/favicon.ico', port: at.hubPort })).status, 404);
});

t.test('a target that is absolute, or that climbs out of the membership in any spelling, is refused', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const reached: string[] = [];
  at.gateway.server.on('request', (request, response) => {
    reached.push(request.url ?? '');
    response.end();
  });
  const status = async (target: string, port: number): Promise<string> => {
    const socket = await at.connect(port);
    socket.write(
      `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer local-prod\r\nConnection: close\r\n\r\n`,
    );
    const [data] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return data.toString('latin1').slice(9, 12);
  };
  for (const target of [
    'http://127.0.0.1/api',
    '/..',
    '/../other/api',
    '/api/../../other',
    '/%2e%2e/other',
    '/api/%2E./..%2f../other',
    '/api/..\\..\\other',
    '/a//../../other',
    '/%252e%252e/other',
    '/./../x',
  ]) {
    t.equal(await status(target, at.port), '400', target);
    if (target.startsWith('/')) t.equal(await status(GATEWAY_PREFIX + target, at.hubPort), '400', `hub ${target}`);
  }
  t.strictSame(reached, []);
  for (const target of ['/api/v1/../v1/pods', '/api//v1/pods', '/apis/x%2Fy', '/api/v1/namespaces/a..b/pods']) {
    t.equal(await status(target, at.port), '200', target);
  }
  t.strictSame(
    reached,
    ['/api/v1/../v1/pods', '/api//v1/pods', '/apis/x%2Fy', '/api/v1/namespaces/a..b/pods'].map(
      (target) => GATEWAY_PREFIX + target,
    ),
    'what stays inside goes on as it came',
  );
});

t.test('malformed HTTP and CONNECT are answered with a Status', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  for (const [bytes, status] of [
    ['NONSENSE\r\n\r\n', '400'],
    ['CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n', '405'],
    [`GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`, '431'],
  ] as const) {
    const socket = await at.connect();
    socket.write(bytes);
    const [data] = (await once(socket, 'data')) as [Buffer];
    t.equal(data.toString('latin1').slice(9, 12), status);
    t.match(data.toString('latin1'), '"kind":"Status"');
    socket.destroy();
  }
});

t.test('a port that another program holds is an error with a code', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  await t.rejects(at.door.openHub(at.port), { code: 'port-taken' });
});

t.test('draining does not wait for what never ends: a watch ends, a followed log is broken off', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const upstream = new Upstream(at);
  const watch = new Client(at, '/api/v1/pods?watch=true&resourceVersion=1');
  const event = Buffer.from('{"type":"ADDED","object":{"metadata":{"resourceVersion":"2"}}}\n');
  await upstream.answer('application/json', event);
  const log = new Client(at, '/api/v1/namespaces/default/pods/box/log?follow=true');
  await upstream.answer('text/plain', Buffer.from('2026-11-24T10:00:00Z line\n'));
  await Promise.all([watch.has(event.length), log.has(5)]);
  await at.door.drain(new AbortController().signal);
  t.equal(await watch.ended, 'complete', 'its client asks the next daemon');
  t.equal(await log.ended, 'broken', 'an end would look like the end of the log');
  t.strictSame(
    at.sessions.ended().map(({ reason }) => reason),
    ['the daemon is stopping', 'the daemon is stopping'],
  );
  t.equal(upstream.unannounced, 0);
});

t.test('draining lets a running request end and takes no new one', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const arrived = once(at.gateway.server, 'request');
  const running = send(at, { target: '/api/v1/pods' });
  const [, response] = await arrived;
  const drained = at.door.drain(new AbortController().signal);
  await t.rejects(send(at, { target: '/version' }), { code: 'ECONNREFUSED' });
  response.end('done');
  t.equal((await running).body, 'done');
  await drained;
});
