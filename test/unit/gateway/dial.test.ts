import { once } from 'node:events';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as net from 'node:net';
import * as tls from 'node:tls';
import t, { type Test } from 'tap';
import { createAuthority, issueServerCertificate } from '../../../src/base/certificates.js';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer } from '../../../src/gateway/dial.js';
import { forwardProxyFor, forwardProxySettings } from '../../../src/gateway/forward-proxy.js';

const never = new AbortController().signal;

async function listening(t: Test, server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

t.test('an endpoint is taken apart without losing its path', async (t) => {
  t.strictSame(upstreamAddress('https://connectgateway.googleapis.com/v1/projects/1/locations/global/memberships/m/'), {
    origin: 'https://connectgateway.googleapis.com',
    secure: true,
    hostname: 'connectgateway.googleapis.com',
    port: 443,
    host: 'connectgateway.googleapis.com',
    pathPrefix: '/v1/projects/1/locations/global/memberships/m',
  });
  t.match(upstreamAddress('http://[::1]:8080'), { hostname: '::1', port: 8080, host: '[::1]:8080', pathPrefix: '' });
  for (const bad of ['', 'prod', 'ftp://x', 'https://x/?a=1'])
    t.throws(() => upstreamAddress(bad), { code: 'endpoint-malformed' });
});

t.test('HTTPS_PROXY and NO_PROXY are read as curl reads them', async (t) => {
  const settings = forwardProxySettings({
    HTTPS_PROXY: 'http://upper:1',
    https_proxy: 'http://ann:s%40fe@proxy.example:3128',
    NO_PROXY: 'internal.example,.corp.example, 10.0.0.1:8443',
  });
  const to = (hostname: string, port = 443): unknown =>
    forwardProxyFor({ hostname, port, secure: true }, settings)?.hostname;
  t.equal(to('gkehub.googleapis.com'), 'proxy.example');
  t.equal(to('internal.example'), undefined);
  t.equal(to('deep.internal.example'), undefined);
  t.equal(to('notinternal.example'), 'proxy.example');
  t.equal(to('a.corp.example'), undefined);
  t.equal(to('10.0.0.1', 8443), undefined);
  t.equal(to('10.0.0.1', 443), 'proxy.example');
  t.equal(to('127.0.0.1'), undefined, 'loopback is always direct');
  t.equal(
    forwardProxyFor({ hostname: 'x', port: 443, secure: true }, settings)?.authorization,
    `Basic ${Buffer.from('ann:s@fe').toString('base64')}`,
  );
  t.equal(forwardProxyFor({ hostname: 'x', port: 80, secure: false }, settings), undefined);
  t.equal(
    forwardProxyFor({ hostname: 'x', port: 443, secure: true }, { httpsProxy: 'http://p', noProxy: '*' }),
    undefined,
  );
  t.throws(() => forwardProxyFor({ hostname: 'x', port: 443, secure: true }, { httpsProxy: 'socks5://p:1' }), {
    code: 'proxy-malformed',
  });
});

t.test('a server whose certificate is not trusted is refused, and trusted once its CA is configured', async (t) => {
  const now = Date.now();
  const authority = await createAuthority({ commonName: 'dial test', now, validDays: 2 });
  const leaf = await issueServerCertificate({ authority, commonName: 'x', hosts: ['127.0.0.1'], now, validDays: 1 });
  const port = await listening(
    t,
    tls.createServer({ cert: leaf.certificate, key: leaf.privateKey }, (socket) => socket.end('hi')),
  );
  const address = { hostname: '127.0.0.1', port, secure: true };
  await t.rejects(createDialer({ proxy: {} }).dial(address, never), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  const socket = await createDialer({ proxy: {}, extraCa: authority.certificate }).dial(address, never);
  const [data] = (await once(socket, 'data')) as [Buffer];
  t.equal(data.toString(), 'hi');
  socket.destroy();
});

t.test('through a proxy the connection is a CONNECT tunnel; its refusal names the proxy', async (t) => {
  const asked: string[] = [];
  const proxy = http.createServer();
  proxy.on('connect', (request, socket) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`);
    if (request.url?.startsWith('forbidden')) socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    else socket.end('HTTP/1.1 200 OK\r\n\r\nearly');
  });
  const port = await listening(t, proxy);
  const dialer = createDialer({ proxy: { httpProxy: `http://u:p@127.0.0.1:${port}` } });
  const socket = await dialer.dial({ hostname: 'gateway.example', port: 80, secure: false }, never);
  const [data] = (await once(socket, 'data')) as [Buffer];
  t.equal(data.toString(), 'early', 'bytes behind the 200 are not lost');
  await t.rejects(dialer.dial({ hostname: 'forbidden.example', port: 80, secure: false }, never), {
    code: 'proxy-refused',
    message: /127\.0\.0\.1.*HTTP 403.*NO_PROXY/,
  });
  t.strictSame(asked, ['gateway.example:80 Basic dTpw', 'forbidden.example:80 Basic dTpw']);
});

t.test('a dial that is given up ends its socket', async (t) => {
  const server = net.createServer();
  const port = await listening(t, server);
  const connected = once(server, 'connection');
  const giveUp = new AbortController();
  // A TLS handshake that is never answered.
  const dial = createDialer({ proxy: {} }).dial({ hostname: '127.0.0.1', port, secure: true }, giveUp.signal);
  const [socket] = (await connected) as [net.Socket];
  socket.resume();
  giveUp.abort(new Error('enough'));
  await t.rejects(dial, { message: 'enough' });
  await once(socket, 'close');
  await t.rejects(createDialer({ proxy: {} }).dial({ hostname: '127.0.0.1', port, secure: false }, giveUp.signal), {
    message: 'enough',
  });
});
