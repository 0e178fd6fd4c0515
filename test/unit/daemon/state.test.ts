import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { CodedError, UsageError } from '../../../src/base/errors.js';
import { writePrivateFile } from '../../../src/daemon/files.js';
import { lockInstance } from '../../../src/daemon/instance-lock.js';
import { portOwner } from '../../../src/daemon/port-owner.js';
import { namingOwner, PortBook } from '../../../src/daemon/ports.js';
import { State } from '../../../src/daemon/state.js';

const NOW = Date.UTC(2026, 10, 24);
const DAY = 24 * 60 * 60 * 1000;
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

t.test('a new state folder is private and keeps its secret and tokens', async (t) => {
  const folder = join(t.testdir({}), 'a', 'state');
  const state = State.open(folder);
  t.equal(mode(folder), '700');
  t.equal(mode(join(folder, 'secret')), '600');
  const again = State.open(folder);
  t.equal(again.tokens.hub, state.tokens.hub);
  t.equal(again.tokens.ofMembership('projects/1/m'), state.tokens.ofMembership('projects/1/m'));
  t.not(state.tokens.ofMembership('a'), state.tokens.ofMembership('b'));
  t.not(state.tokens.ofMembership('hub'), state.tokens.hub, 'a membership cannot be named like the hub');
});

t.test('a damaged secret is told with its path', async (t) => {
  const folder = t.testdir({ secret: 'xyz\n' });
  t.throws(() => State.open(folder), { code: 'usage', message: /secret is damaged/ });
  t.equal(State.read(join(folder, 'nowhere')), undefined);
  t.throws(() => State.open(join(folder, 'secret')), UsageError);
});

t.test('the certificate is made once, renewed a month before it ends, and its authority stays', async (t) => {
  const state = State.open(t.testdir({}));
  const first = await state.serverCertificate({ address: '127.0.0.1', now: NOW });
  const authority = new X509Certificate(state.authorityCertificate() ?? '');
  t.ok(new X509Certificate(first.certificate).verify(authority.publicKey));
  t.equal(new X509Certificate(first.certificate).checkIP('::1'), '::1');
  t.equal(
    (await state.serverCertificate({ address: '127.0.0.1', now: NOW + 50 * DAY })).certificate,
    first.certificate,
  );
  const renewed = await state.serverCertificate({ address: '127.0.0.1', now: NOW + 61 * DAY });
  t.not(renewed.certificate, first.certificate);
  t.ok(new X509Certificate(renewed.certificate).verify(authority.publicKey));
  const other = await state.serverCertificate({ address: '127.0.0.9', now: NOW + 61 * DAY });
  t.equal(
    new X509Certificate(other.certificate).checkIP('127.0.0.9'),
    '127.0.0.9',
    'another address needs another one',
  );
  for (const name of ['ca.pem', 'ca.key', 'server.key', 'server.pem']) t.equal(mode(state.path(name)), '600', name);
  writeFileSync(state.path('server.pem'), 'rubbish');
  t.match((await state.serverCertificate({ address: '127.0.0.1', now: NOW })).certificate, /BEGIN CERTIFICATE/);
});

t.test('files are replaced whole, also behind a symbolic link', async (t) => {
  const folder = t.testdir({ real: 'old', wide: t.fixture('file', 'x') });
  const link = join(folder, 'link');
  symlinkSync(join(folder, 'real'), link);
  writePrivateFile(link, 'new');
  t.equal(readFileSync(join(folder, 'real'), 'utf8'), 'new');
  t.equal(mode(join(folder, 'real')), '600');
  const blocked = join(folder, 'folder');
  mkdirSync(blocked);
  t.throws(() => writePrivateFile(blocked, 'x'));
  t.strictSame(existsSync(blocked), true);
});

t.test('one daemon per state folder', async (t) => {
  const path = join(t.testdir({}), 'daemon.lock');
  const take = (pid: number, answers: boolean, now = Date.now()): Promise<{ release(): void }> =>
    lockInstance({ path, pid, now, answers: async () => answers });
  const first = await take(process.ppid, true);
  await t.rejects(take(process.pid, false), { code: 'already-running' }, 'its holder has just started');
  const old = (Date.now() - 60_000) / 1000;
  utimesSync(path, old, old);
  await t.rejects(take(process.pid, true), { code: 'already-running' }, 'its holder answers');
  const second = await take(process.pid, false);
  t.equal(readFileSync(path, 'utf8'), `${process.pid}\n`, 'a process that is no daemon has lost it');
  first.release();
  t.ok(existsSync(path), 'somebody else cannot release it');
  second.release();
  t.notOk(existsSync(path));
  // The largest process number of Linux is 2^22.
  writeFileSync(path, '4194305\n');
  (await take(process.pid, true)).release();
  t.notOk(existsSync(path), 'the lock of a process that is gone is taken over');
});

function book(remembered: unknown, range = { first: 7500, last: 7503 }): { ports: PortBook; saved: unknown[] } {
  const saved: unknown[] = [];
  return { saved, ports: new PortBook({ range, remembered, save: (ports) => saved.push({ ...ports }) }) };
}

const taken = (port: number): CodedError => new CodedError({ code: 'port-taken', message: `port ${port} is taken` });

t.test('ports are given in order, remembered, and never shared', async (t) => {
  const { ports, saved } = book({ b: 7501, odd: 'x' });
  const opened: number[] = [];
  const listen = async (port: number): Promise<number> => {
    if (port === 7502) throw taken(port);
    opened.push(port);
    return port;
  };
  const got = await Promise.all(['a', 'b', 'c'].map((name) => ports.open({ name }, listen)));
  t.strictSame(got, [7500, 7501, 7503]);
  t.strictSame(saved.at(-1), { a: 7500, b: 7501, c: 7503 });
  await t.rejects(ports.open({ name: 'd' }, listen), { code: 'ports-exhausted', message: /membership-ports/ });
});

t.test('a remembered or pinned port that is taken is an error that names its owner', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { ports } = book({ a: port }, { first: port, last: port });
  const listen = async (wanted: number): Promise<number> => {
    throw taken(wanted);
  };
  const owner = process.platform === 'linux' ? new RegExp(`is taken: .*\\(process ${process.pid}\\)`) : /is taken/;
  await t.rejects(ports.open({ name: 'a' }, listen), { code: 'port-taken', message: owner });
  await t.rejects(ports.open({ name: 'p', port }, listen), { code: 'port-taken', message: owner });
  await t.rejects(
    namingOwner(port, async () => {
      throw new Error('other');
    }),
    { message: 'other' },
  );
  t.equal(portOwner(port, '/no/such/proc'), undefined);
});

t.test('the range 0-0 takes any free port and remembers none', async (t) => {
  const { ports, saved } = book(undefined, { first: 0, last: 0 });
  t.equal(await ports.open({ name: 'a' }, async (port) => port + 40_000), 40_000);
  t.strictSame(saved, []);
});
