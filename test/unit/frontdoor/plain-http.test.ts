import { once } from 'node:events';
import type * as http from 'node:http';
import * as net from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor, testMembership } from '../../support/front-door.js';

const SECRET = '/secret-prod';

interface Scene extends TestFrontDoor {
  readonly plainPort: number;
  /** What has reached the gateway. */
  readonly reached: http.IncomingMessage[];
  ask(target: string, headers?: readonly string[], method?: string): Promise<{ status: number; body: string }>;
  knock(target: string, headers: readonly string[]): Promise<net.Socket>;
}

async function scene(t: Test): Promise<Scene> {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const plainPort = await at.door.openPlain(0);
  const reached: http.IncomingMessage[] = [];
  at.gateway.server.on('request', (request, response) => {
    reached.push(request);
    response.end(request.url);
  });
  const knock = async (target: string, headers: readonly string[], method = 'GET'): Promise<net.Socket> => {
    const socket = net.connect(plainPort, '127.0.0.1');
    await once(socket, 'connect');
    const host = headers.some((line) => line.startsWith('Host:')) ? [] : [`Host: 127.0.0.1:${plainPort}`];
    socket.write([`${method} ${target} HTTP/1.1`, ...host, ...headers, '', ''].join('\r\n'));
    return socket;
  };
  return {
    ...at,
    plainPort,
    reached,
    knock,
    ask: async (target, headers = [], method = 'GET') => {
      const answer = await text(await knock(target, [...headers, 'Connection: close'], method));
      return { status: Number(answer.slice(9, 12)), body: answer.slice(answer.indexOf('\r\n\r\n') + 4) };
    },
  };
}

t.test('over plain HTTP the path proves who asks, and goes no further', async (t) => {
  const at = await scene(t);
  for (const [target, upstream] of [
    [`${SECRET}/api/v1/pods?a=%2F`, '/api/v1/pods?a=%2F'],
    [`${SECRET}//api//v1`, '//api//v1'],
    [`${SECRET}/`, '/'],
    [SECRET, '/'],
    [`${SECRET}?a=b`, '/?a=b'],
  ] as const) {
    t.match(await at.ask(target, ['Authorization: Bearer of-the-tool']), { status: 200 }, target);
    const request = at.reached.pop();
    t.equal(request?.url, GATEWAY_PREFIX + upstream);
    t.match(request?.headers, { authorization: /^Bearer google-token/ });
    t.notMatch(JSON.stringify(request?.rawHeaders), /of-the-tool|secret-prod/);
  }
});

t.test('without the secret, or from elsewhere, nothing is served', async (t) => {
  const at = await scene(t);
  for (const [target, headers, status] of [
    ['/', [], 401],
    ['/version', [], 401],
    ['/secret-other/version', [], 401],
    ['/secret-pro/version', [], 401],
    ['/secret-prod2/version', [], 401],
    ['/Secret-prod/version', [], 401],
    ['/version', ['Authorization: Bearer local-prod'], 401],
    [`${GATEWAY_PREFIX}/version`, ['Authorization: Bearer hub-token'], 401],
    ['/-/memberships', ['Authorization: Bearer hub-token'], 401],
    ['/-/livez', [], 401],
    [`${SECRET}/-/memberships`, ['Origin: http://evil.example'], 403],
    [`${SECRET}/version`, ['Host: evil.example'], 403],
    [`${SECRET}/version`, ['Sec-Fetch-Site: cross-site'], 403],
    [`${SECRET}/../version`, [], 400],
    [`${SECRET}/%2e%2e/version`, [], 400],
    [`/x/..${SECRET}/version`, [], 400],
    [`http://127.0.0.1${SECRET}/version`, [], 400],
  ] as const) {
    const { status: got, body } = await at.ask(target, headers);
    t.equal(got, status, target);
    t.match(JSON.parse(body), { kind: 'Status' }, target);
    t.notMatch(body, 'secret-prod', 'no answer tells a path');
  }
  t.equal((await at.ask(`${SECRET}/version`, [], 'TRACE')).status, 405);
  t.strictSame(at.reached, []);
});

t.test('upgrades, policies and a membership that leaves are as on the other ports', async (t) => {
  const at = await scene(t);
  const arrived = once(at.gateway.server, 'upgrade');
  const socket = await at.knock(`${SECRET}/api/v1/namespaces/d/services/web/proxy/ws`, [
    'Connection: Upgrade',
    'Upgrade: websocket',
  ]);
  const [request, upstream] = (await arrived) as [http.IncomingMessage, net.Socket];
  t.equal(request.url, `${GATEWAY_PREFIX}/api/v1/namespaces/d/services/web/proxy/ws`);
  upstream.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
  t.match(await text(socket), /^HTTP\/1\.1 101 [\s\S]*hello$/);
  const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
  const java = await at.knock(`${SECRET}/version`, h2c);
  t.match(String((await once(java, 'data'))[0]), /^HTTP\/1\.1 200 /, 'an offer of HTTP/2 is declined');
  java.write(`POST ${SECRET}/x HTTP/1.1\r\nHost: 127.0.0.1\r\n${h2c.join('\r\n')}\r\nContent-Length: 2\r\n\r\nhi`);
  t.match(String((await once(java, 'data'))[0]), /^HTTP\/1\.1 200 /, 'with a body, on the same connection');
  java.destroy();
  const refused = await at.knock('/secret-other/x', ['Connection: Upgrade', 'Upgrade: websocket']);
  t.match(await text(refused), /^HTTP\/1\.1 401 /);

  const membership = testMembership(at.gateway.url + GATEWAY_PREFIX, { policy: 'read-only' });
  at.door.update({ membership, address: upstreamAddress(membership.endpoint), tokens: at.tokens });
  t.equal((await at.ask(`${SECRET}/api/v1/namespaces/d/pods/p`, [], 'DELETE')).status, 403);
  at.door.close(membership.name);
  t.equal((await at.ask(`${SECRET}/version`)).status, 401);
});

t.test('a drain takes it along', async (t) => {
  const at = await scene(t);
  await at.door.drain(new AbortController().signal);
  await t.rejects(at.ask(`${SECRET}/version`), { code: 'ECONNREFUSED' });
});

t.test('a taken port is an error with a code', async (t) => {
  const at = await scene(t);
  await t.rejects(at.door.openPlain(at.port), { code: 'port-taken' });
});
