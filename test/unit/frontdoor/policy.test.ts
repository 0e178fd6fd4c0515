import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor, testMembership } from '../../support/front-door.js';
import { send } from '../../support/raw-http.js';

const POD = '/api/v1/namespaces/default/pods/box';

async function sceneWith(t: Test, policy: 'no-exec' | 'read-only'): Promise<TestFrontDoor & { reached: string[] }> {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const reached: string[] = [];
  at.gateway.server.on('request', (request, response) => {
    reached.push(`${request.method} ${request.url?.slice(GATEWAY_PREFIX.length)}`);
    response.end('{}');
  });
  at.gateway.server.on('upgrade', (request, socket) => {
    reached.push(`upgrade ${request.url}`);
    socket.destroy();
  });
  const membership = testMembership(at.gateway.url + GATEWAY_PREFIX, { policy });
  at.door.update({ membership, address: upstreamAddress(membership.endpoint), tokens: at.tokens });
  return { ...at, reached };
}

/** By hand: what a client library would tidy up arrives as it stands here. */
async function raw(
  at: TestFrontDoor,
  o: { line: string; headers?: readonly string[]; port?: number },
): Promise<string> {
  const socket = await at.connect(o.port ?? at.port);
  const own = ['Host: 127.0.0.1', 'Authorization: Bearer local-prod'];
  const close = o.headers?.some((line) => line.startsWith('Connection')) ? [] : ['Connection: close'];
  socket.write([`${o.line} HTTP/1.1`, ...own, ...close, ...(o.headers ?? []), '', ''].join('\r\n'));
  const answer = await text(socket);
  socket.destroy();
  return answer;
}

t.test('read-only: reads go on, all else is a 403 Status and never reaches the gateway', async (t) => {
  const at = await sceneWith(t, 'read-only');
  for (const port of [at.port, at.hubPort]) {
    const prefix = port === at.hubPort ? GATEWAY_PREFIX : '';
    t.equal((await send(at, { target: `${prefix}${POD}`, port })).status, 200);
    const refused = await send(at, { method: 'DELETE', target: `${prefix}${POD}`, port });
    t.equal(refused.status, 403);
    t.match(JSON.parse(refused.body), {
      kind: 'Status',
      status: 'Failure',
      reason: 'Forbidden',
      code: 403,
      message:
        /policy read-only of membership prod refuses this DELETE.*policy: of projects\/123456789012\/.*memberships:/,
    });
  }
  t.strictSame(at.reached.splice(0), [`GET ${POD}`, `GET ${POD}`]);
  for (const line of [
    `GET ${POD}/proxy/`,
    `GET ${POD}//exec`,
    `GET ${POD}/`,
    `GET ${POD}%2Fexec`,
    `GET ${POD};/exec`,
    `GET /api/v1/./pods`,
    `GET //api/v1/pods`,
    `GET /api/v1/namespaces/default/services/web:80/proxy/x`,
    `GET /api/v1/watch/namespaces/default/pods/box/exec`,
    `POST ${POD}/eviction`,
    `PATCH ${POD}?dryRun=All`,
    `OPTIONS ${POD}`,
    `GET ${POD}?$httpMethod=DELETE`,
  ]) {
    t.match(await raw(at, { line }), /^HTTP\/1\.1 403 .*"kind":"Status"/s, line);
  }
  t.match(await raw(at, { line: `GET ${POD}`, headers: ['X-HTTP-Method-Override: DELETE'] }), /^HTTP\/1\.1 403 /);
  t.strictSame(at.reached, []);
});

for (const policy of ['read-only', 'no-exec'] as const) {
  t.test(`${policy}: every upgrade is refused before anything is dialled, on both ports`, async (t) => {
    const at = await sceneWith(t, policy);
    for (const upgrade of ['websocket', 'SPDY/3.1', 'websocket, h2c', 'anything']) {
      for (const method of ['GET', 'POST']) {
        for (const target of [`${POD}/exec?command=sh`, `${POD}/portforward`, `${POD}/log?follow=true`, POD]) {
          const headers = ['Connection: Upgrade', `Upgrade: ${upgrade}`];
          const answer = await raw(at, { line: `${method} ${target}`, headers });
          t.match(
            answer,
            new RegExp(`^HTTP/1.1 403 .*the policy ${policy} of membership prod`, 's'),
            `${method} ${target}`,
          );
          const onHub = await raw(at, { line: `${method} ${GATEWAY_PREFIX}${target}`, headers, port: at.hubPort });
          t.match(onHub, /^HTTP\/1\.1 403 /);
        }
      }
    }
    t.strictSame(at.reached, []);
  });
}

t.test('an offer of HTTP/2 is not taken, and hides nothing from the policy', async (t) => {
  const at = await sceneWith(t, 'read-only');
  const headers = ['Connection: Upgrade, HTTP2-Settings, close', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
  for (const line of [`GET ${POD}/exec?command=sh`, `POST ${POD}/portforward`, `DELETE ${POD}`]) {
    t.match(await raw(at, { line, headers }), /^HTTP\/1\.1 403 .*the policy read-only/s, line);
  }
  t.match(await raw(at, { line: `GET ${POD}`, headers }), /^HTTP\/1\.1 200 /);
  t.strictSame(at.reached, [`GET ${POD}`]);
});

t.test('no-exec: writes go on', async (t) => {
  const at = await sceneWith(t, 'no-exec');
  for (const [method, target] of [
    ['DELETE', POD],
    ['POST', '/api/v1/namespaces/default/pods'],
    ['POST', `${POD}/eviction`],
  ] as const) {
    t.equal((await send(at, { method, target })).status, 200, `${method} ${target}`);
  }
  t.equal((await send(at, { method: 'PATCH', target: `${POD}/ephemeralcontainers` })).status, 403);
  t.equal((await send(at, { target: '/api/v1/nodes/n:10250/proxy/run/default/box/c' })).status, 403);
  t.equal(at.reached.length, 3);
});

t.test('a policy that comes later holds for the next call on an open connection', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('request', (_request, response) => response.end('{}'));
  const socket = await at.connect();
  const ask = async (): Promise<string> => {
    socket.write(`DELETE ${POD} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer local-prod\r\n\r\n`);
    const [data] = (await once(socket, 'data')) as [Buffer];
    return data.toString('latin1').slice(9, 12);
  };
  t.equal(await ask(), '200');
  const membership = testMembership(at.gateway.url + GATEWAY_PREFIX, { policy: 'read-only' });
  at.door.update({ membership, address: upstreamAddress(membership.endpoint), tokens: at.tokens });
  t.equal(await ask(), '403');
  socket.destroy();
});
