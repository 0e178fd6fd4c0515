import { once } from 'node:events';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as net from 'node:net';
import * as tls from 'node:tls';
import t, { type Test } from 'tap';
import { createAuthority, issueServerCertificate } from '../../../src/base/certificates.js';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer, type DialTarget } from '../../../src/gateway/dial.js';
import { assertProxyUsable, forwardProxyFor, forwardProxySettings } from '../../../src/gateway/forward-proxy.js';

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

t.test('NO_PROXY knows addresses of both families, networks, suffixes and ports', async (t) => {
  const goes = (hostname: string, noProxy: string, port = 443): string | undefined =>
    forwardProxyFor({ hostname, port, secure: true }, { httpsProxy: 'http://p.example:1', noProxy })?.hostname;
  for (const [hostname, noProxy] of [
    ['10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '192.168.0.0/16,10.1.2.3/32'],
    ['2001:db8::1', '2001:db8::/32'],
    ['2001:db8::1', '2001:DB8:0:0::1'],
    ['2001:db8::1', '[2001:db8::1]'],
    ['2001:db8::1', '[2001:db8::1]:443'],
    ['gkehub.googleapis.com', '.googleapis.com'],
    ['gkehub.googleapis.com', '*.googleapis.com'],
    ['gkehub.googleapis.com', 'GoogleAPIs.com:443'],
    ['gkehub.googleapis.com', 'a.example\tgoogleapis.com'],
    ['x', '*'],
  ] as const) {
    t.equal(goes(hostname, noProxy), undefined, `${hostname} past ${noProxy}`);
  }
  for (const [hostname, noProxy] of [
    ['11.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '10.0.0.0/33'],
    ['10.1.2.3', '10.0.0.0/'],
    ['10.1.2.3', '2001:db8::/32'],
    ['10.1.2.3', '10.1.2'],
    ['2001:db8::1', '[2001:db8::1]:8443'],
    ['2001:db8::1', '2001:db9::/32'],
    ['gkehub.googleapis.com', 'ogleapis.com'],
    ['gkehub.googleapis.com', 'googleapis.com:8443'],
    ['gkehub.googleapis.com', '10.0.0.0/8'],
    ['x', ''],
  ] as const) {
    t.equal(goes(hostname, noProxy), 'p.example', `${hostname} not past ${JSON.stringify(noProxy)}`);
  }
});

t.test('a proxy has its port, its credentials and its family from its URL', async (t) => {
  const proxy = (httpsProxy: string): unknown =>
    forwardProxyFor({ hostname: 'x.example', port: 443, secure: true }, { httpsProxy });
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  t.match(proxy('proxy.example'), { hostname: 'proxy.example', port: 80, secure: false, variable: 'HTTPS_PROXY' });
  t.match(proxy('proxy.example:3128/'), { hostname: 'proxy.example', port: 3128 });
  t.match(proxy('https://proxy.example'), { port: 443, secure: true });
  t.match(proxy('http://[fd00::1]:3128'), { hostname: 'fd00::1', port: 3128 });
  t.match(proxy('http://ann:s%40fe%3A@p:1'), { authorization: basic('ann:s@fe:') });
  t.match(proxy('http://ann@p:1'), { authorization: basic('ann:') });
  t.match(proxy('http://ann:100%@p:1'), { authorization: basic('ann:100%') });
  for (const wrong of ['socks5://p:1', 'http://', 'http://p:99999', '://x']) {
    t.throws(() => proxy(wrong), { code: 'proxy-malformed', message: /^HTTPS_PROXY is set to something/ }, wrong);
    t.throws(() => assertProxyUsable({ httpsProxy: wrong }), { code: 'proxy-malformed' });
  }
  t.doesNotThrow(() => assertProxyUsable({ httpProxy: 'socks5://p:1' }), 'what nothing goes through');
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
    else if (request.url?.startsWith('stranger')) socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    else if (request.url?.startsWith('created')) socket.end('HTTP/1.1 201 Tunnel\r\n\r\n');
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
  const dial = (hostname: string): Promise<unknown> => dialer.dial({ hostname, port: 80, secure: false }, never);
  await t.rejects(dial('stranger.example'), { code: 'proxy-refused', message: /HTTP 407; put user and password into/ });
  const created = (await dial('created.example')) as net.Socket;
  created.destroy();
  const dead = createDialer({ proxy: { httpProxy: 'http://127.0.0.1:1' } });
  await t.rejects(dead.dial({ hostname: 'x.example', port: 80, secure: false }, never), {
    code: 'proxy-unreachable',
    message: /the proxy 127\.0\.0\.1:1 \(HTTP_PROXY\) cannot be reached: .*ECONNREFUSED/,
  });
});

t.test('what a connection reads is lent, and is its own where a proxy stands between', async (t) => {
  const now = Date.now();
  const authority = await createAuthority({ commonName: 'lent', now, validDays: 1 });
  const pair = await issueServerCertificate({
    authority,
    commonName: 'lent',
    hosts: ['127.0.0.1', 'gateway.example'],
    now,
    validDays: 1,
  });
  const say = (socket: net.Socket): void => {
    socket.on('error', () => {});
    socket.write('first');
    socket.once('data', (asked) => socket.end(`second to ${asked}`));
  };
  const secure = await listening(t, tls.createServer({ cert: pair.certificate, key: pair.privateKey }, say));
  const plain = await listening(t, net.createServer(say));
  const proxy = http.createServer();
  proxy.on('connect', (_request, client: net.Socket) => {
    const onward = net.connect(secure, '127.0.0.1');
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    onward.pipe(client).pipe(onward);
    for (const end of [onward, client]) end.on('error', () => {});
  });
  const proxyPort = await listening(t, proxy);
  const heard = async (o: { target: DialTarget; proxied?: boolean; name: string }): Promise<unknown> => {
    const lent: string[] = [];
    const own: string[] = [];
    const memory = new Set<ArrayBufferLike>();
    const dialer = createDialer({
      extraCa: authority.certificate,
      proxy: o.proxied === true ? { httpsProxy: `http://127.0.0.1:${proxyPort}` } : {},
    });
    const lend = (bytes: Buffer): void => {
      memory.add(bytes.buffer);
      lent.push(bytes.toString());
    };
    const socket = await dialer.dial({ ...o.target, lend }, never);
    socket.on('data', (bytes: Buffer) => own.push(bytes.toString()));
    socket.write(o.name);
    await once(socket, 'end');
    socket.destroy();
    t.equal(memory.size, o.proxied === true ? 0 : 1);
    for (const one of memory) places.add(one);
    return { lent: lent.join(' '), own: own.join(' ') };
  };
  const places = new Set<ArrayBufferLike>();
  const direct = { hostname: '127.0.0.1', port: secure, secure: true };
  t.strictSame(
    await Promise.all([
      heard({ target: direct, name: 'a' }),
      heard({ target: direct, name: 'b' }),
      heard({ target: { hostname: '127.0.0.1', port: plain, secure: false }, name: 'c' }),
    ]),
    ['a', 'b', 'c'].map((name) => ({ lent: `first second to ${name}`, own: '' })),
  );
  t.equal(places.size, 1);
  t.strictSame(
    await heard({ target: { hostname: 'gateway.example', port: 443, secure: true }, proxied: true, name: 'd' }),
    { lent: '', own: 'first second to d' },
  );
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
