import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect as connectPlain, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { type CertificatePair, createAuthority, issueServerCertificate } from '../../../src/base/certificates.js';
import { type Listener, listen } from '../../../src/frontdoor/listener.js';
import { ServerTls } from '../../../src/frontdoor/server-tls.js';

const now = Date.now();
const authority = await createAuthority({ commonName: 'test', now, validDays: 2 });

function certificate(): Promise<CertificatePair> {
  return issueServerCertificate({ authority, commonName: 'here', hosts: ['127.0.0.1'], now, validDays: 1 });
}

async function endpoint(t: Test, tls: ServerTls): Promise<Listener> {
  const listener = await listen({
    address: '127.0.0.1',
    port: 0,
    tls,
    handlers: {
      request: (request, response) => void response.end(`${request.url} ${'encrypted' in request.socket}`),
      upgrade: (_request, socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\nhello'),
    },
  });
  t.teardown(() => listener.destroy());
  return listener;
}

/** Like a client: its connection, once the handshake is over. */
async function client({ port }: Listener, o: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...o });
  await once(socket, 'secureConnect');
  return socket;
}

async function get(socket: Socket, path = '/'): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: here\r\n\r\n`);
  return String((await once(socket, 'data'))[0]);
}

t.test(
  'another certificate: shown by all endpoints to who connects from now on; open connections keep theirs',
  async (t) => {
    const tls = new ServerTls(await certificate());
    const endpoints = [await endpoint(t, tls), await endpoint(t, tls)] as const;
    const before = await Promise.all(endpoints.map((one) => client(one)));
    const serials = (sockets: readonly TLSSocket[]): string[] =>
      sockets.map((socket) => socket.getPeerCertificate().serialNumber);
    tls.useCertificate(await certificate());
    const after = await Promise.all(endpoints.map((one) => client(one)));
    t.equal(new Set(serials(before)).size, 1);
    t.equal(new Set(serials(after)).size, 1);
    t.not(serials(before)[0], serials(after)[0]);
    for (const socket of [...before, ...after]) t.match(await get(socket), /\/ true$/);
    for (const socket of [...before, ...after]) socket.destroy();
  },
);

t.test('HTTP/1.1 is what is spoken, be it asked for among others or not at all', async (t) => {
  const listener = await endpoint(t, new ServerTls(await certificate()));
  for (const ALPNProtocols of [['h2', 'http/1.1'], ['http/1.1'], undefined]) {
    const socket = await client(listener, ALPNProtocols === undefined ? {} : { ALPNProtocols });
    t.equal(socket.alpnProtocol, ALPNProtocols === undefined ? false : 'http/1.1');
    t.match(await get(socket), /^HTTP\/1.1 200 /);
    socket.destroy();
  }
  await t.rejects(client(listener, { ALPNProtocols: ['h2'] }), { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
});

t.test('a TLS session is resumed, at any endpoint', async (t) => {
  const tls = new ServerTls(await certificate());
  const endpoints = [await endpoint(t, tls), await endpoint(t, tls)] as const;
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await client(endpoints[0], { maxVersion });
    // With TLS 1.3 it comes after the handshake.
    const told = once(first, 'session');
    await get(first);
    const session = first.getSession() ?? (await told)[0];
    first.destroy();
    for (const one of endpoints) {
      const again = await client(one, { maxVersion, session });
      t.equal(again.isSessionReused(), true, maxVersion);
      t.match(await get(again), /\/ true$/);
      again.destroy();
    }
  }
});

t.test('who does not get through the handshake is cut, and nobody else', async (t) => {
  const listener = await endpoint(t, new ServerTls(await certificate()));
  const open = await client(listener);
  await t.rejects(client(listener, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), { code: /^ERR_SSL_/ });
  await t.rejects(client(listener, { ca: [] }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  for (const words of ['GET / HTTP/1.1\r\nHost: here\r\n\r\n', '\x16\x03\x01\x02', '\0'.repeat(20_000)]) {
    const socket = connectPlain(listener.port, '127.0.0.1');
    const ended = once(socket, 'close');
    socket.on('error', () => {});
    socket.end(words);
    socket.resume();
    await ended;
  }
  const leaves = connectPlain(listener.port, '127.0.0.1');
  await once(leaves, 'connect');
  leaves.resetAndDestroy();
  t.match(await get(open, '/still'), /\/still true$/);
  t.match(await get(await client(listener), '/anew'), /\/anew true$/);
});

t.test(
  'a thousand connections in one turn of the event loop: the kernel keeps them all, none waits or is reset',
  { skip: process.platform === 'linux' ? false : 'the kernel tells of it in /proc' },
  async (t) => {
    const listener = await endpoint(t, new ServerTls(await certificate()));
    const kernelsLimit = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    const count = Math.min(1000, kernelsLimit);
    const way = { port: listener.port, host: '127.0.0.1', localAddress: CLIENTS.address };
    const sockets = Array.from({ length: count }, () => connectPlain(way));
    // Node connects in the ticks that these have asked for, and takes nothing from the listener before the next turn.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    const seen = new Set<string>();
    // The kernel's table is read in pieces: where it changes meanwhile, a row may come twice, or not at all.
    for (let reading = 0; reading < 10 && seen.size < count; reading++) {
      for (const client of established(listener.port)) seen.add(client);
    }
    t.equal(seen.size, count);
    for (const socket of sockets) socket.destroy();
  },
);

/** Nobody else on this machine connects from there. */
const CLIENTS = { address: '127.0.77.1', inProc: '014D007F' };

/** The far ends of their connections to the port, whether they have been taken or wait for it. */
function established(port: number): string[] {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((row) => row.trim().split(/\s+/));
  return rows.flatMap(([, address, remote = '', state]) =>
    address === local && remote.startsWith(CLIENTS.inProc) && state === '01' ? [remote] : [],
  );
}

t.test('a client that half closes an upgraded connection has closed it', async (t) => {
  const listener = await endpoint(t, new ServerTls(await certificate()));
  const socket = await client(listener, { allowHalfOpen: true } as ConnectionOptions);
  socket.write('GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n');
  await once(socket, 'data');
  socket.end();
  socket.resume();
  await once(socket, 'end');
  t.pass('the other side closes, too');
});

t.test('idle connections do not hold a close up, and none is left by a destroy', async (t) => {
  const tls = new ServerTls(await certificate());
  const [closed, destroyed] = [await endpoint(t, tls), await endpoint(t, tls)] as const;
  const idle = await client(closed);
  t.match(await get(idle), /^HTTP\/1.1 200 /);
  const [silent, used] = [await client(destroyed), await client(destroyed)];
  await get(used);
  const ends = [idle, silent, used].map((socket) => once(socket.on('error', () => {}).resume(), 'close'));
  await closed.close();
  destroyed.destroy();
  await Promise.all(ends);
  t.pass('all have ended');
});

for (const [spoken, encrypted] of [
  ['TLS', true],
  ['plain HTTP', false],
] as const) {
  t.test(`a close waits for a client that reads slowly, over ${spoken}: it gets all of its answer`, async (t) => {
    const body = Buffer.alloc(16 * 1024 * 1024, 'x');
    let answer: ServerResponse | undefined;
    const listener = await listen({
      address: '127.0.0.1',
      port: 0,
      ...(encrypted ? { tls: new ServerTls(await certificate()) } : {}),
      handlers: {
        request: (request, response) => {
          if (request.url === '/slow') answer = response;
          response.end(request.url === '/slow' ? body : '');
        },
        upgrade: (_request, socket) => void socket.destroy(),
      },
    });
    t.teardown(() => listener.destroy());
    const open = async (): Promise<Socket> => {
      if (encrypted) return client(listener);
      const socket = connectPlain(listener.port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    const [idle, slow] = [await open(), await open()];
    await get(idle);
    slow.write('GET /slow HTTP/1.1\r\nHost: here\r\n\r\n');
    await once(slow, 'readable');
    t.match(answer, { writableEnded: true, writableFinished: false });
    const closed = Promise.all([listener.close(), once(idle.on('error', () => {}).resume(), 'close')]);
    let received = 0;
    for await (const chunk of slow) received += (chunk as Buffer).length;
    t.ok(received > body.length, `${received} bytes`);
    await closed;
    t.pass('and the connections are closed');
  });
}
