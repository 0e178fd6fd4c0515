import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLogger, silentLogger } from '../../../src/base/log.js';
import { createServiceNotifier } from '../../../src/daemon/service-notify.js';
import { inheritedSockets } from '../../../src/daemon/socket-activation.js';
import { FakeClock } from '../../support/fake-clock.js';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const row = (local: string, state: string, inode: number): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0 100 0 0 10 0\n`;

/** /proc/self of a process with these descriptors, from 3 on. */
function proc(t: Test, links: readonly string[], tables: { tcp?: string; tcp6?: string }): string {
  const folder = t.testdir({});
  mkdirSync(join(folder, 'fd'));
  mkdirSync(join(folder, 'net'));
  links.forEach((link, index) => {
    symlinkSync(link, join(folder, 'fd', String(3 + index)));
  });
  for (const [name, rows] of Object.entries(tables)) writeFileSync(join(folder, 'net', name), HEAD + rows);
  return folder;
}

t.test('sockets that systemd passes, by port and name', async (t) => {
  const folder = proc(t, ['socket:[71]', 'socket:[72]', 'socket:[73]'], {
    tcp: row('0100007F:1D13', '0A', 71) + row('0200007F:1D4C', '0A', 72) + row('0100007F:1F90', '01', 99),
    tcp6: row('00000000000000000000000001000000:1D4D', '0A', 73),
  });
  const env = { LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'hub:membership' };
  t.strictSame(inheritedSockets({ env, pid: 7, proc: folder }), [
    { fd: 3, port: 7443, name: 'hub' },
    { fd: 4, port: 7500, name: 'membership' },
    { fd: 5, port: 7501, name: '' },
  ]);
  t.strictSame(inheritedSockets({ env, pid: 8, proc: folder }), [], 'meant for another process');
  t.strictSame(inheritedSockets({ env: {}, pid: 7, proc: folder }), []);
});

t.test('a descriptor that would open us to others, or is no listening socket, stops the daemon', async (t) => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '1' };
  const one = (link: string, tables: { tcp?: string; tcp6?: string }): (() => unknown) => {
    const folder = proc(t, [link], tables);
    return () => inheritedSockets({ env, pid: 7, proc: folder });
  };
  const code = 'socket-unusable';
  for (const open of ['00000000:1D13', '0A00000A:1D13']) {
    t.throws(one('socket:[71]', { tcp: row(open, '0A', 71) }), {
      code,
      message: /port 7443 of an address that is not/,
    });
  }
  const any6 = row('00000000000000000000000000000000:1D13', '0A', 71);
  t.throws(one('socket:[71]', { tcp: '', tcp6: any6 }), { code, message: /not loopback/ });
  const mapped = row('0000000000000000FFFF00000100007F:1D13', '0A', 71);
  t.strictSame(one('socket:[71]', { tcp: '', tcp6: mapped })(), [{ fd: 3, port: 7443, name: '' }]);
  t.throws(one('socket:[71]', { tcp: row('0100007F:1D13', '01', 71) }), { code, message: /no listening TCP socket/ });
  t.throws(one('/dev/null', { tcp: '' }), { code, message: /service install/ });
  t.throws(() => inheritedSockets({ env, pid: 7, proc: '/nowhere' }), { code });
});

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('sd_notify: ready, a beat at half of the watchdog, stopping, and no beat afterwards', async (t) => {
  const clock = new FakeClock();
  const sent: string[] = [];
  const notifier = createServiceNotifier({
    env: { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7' },
    pid: 7,
    clock,
    log: silentLogger,
    send: async (fields) => void sent.push(fields.join(' ')),
  });
  notifier.ready('3 memberships');
  await settled();
  t.strictSame(sent, ['READY=1 STATUS=3 memberships']);
  clock.advance(29_999);
  await settled();
  t.equal(sent.length, 1);
  clock.advance(1);
  clock.advance(30_000);
  await settled();
  t.strictSame(sent.splice(0), ['READY=1 STATUS=3 memberships', 'WATCHDOG=1', 'WATCHDOG=1']);
  notifier.stopping();
  notifier.close();
  clock.advance(300_000);
  await settled();
  t.strictSame(sent, ['STOPPING=1']);
});

t.test(
  'sd_notify: silent without a manager, no beat for another process, one warning when it cannot be told',
  async (t) => {
    const clock = new FakeClock();
    const sent: string[] = [];
    const send = async (fields: readonly string[]): Promise<void> => void sent.push(fields.join(' '));
    const silent = createServiceNotifier({ env: { WATCHDOG_USEC: '1000000' }, pid: 7, clock, log: silentLogger, send });
    silent.ready('x');
    silent.stopping();
    const other = { NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '1000000', WATCHDOG_PID: '8' };
    createServiceNotifier({ env: other, pid: 7, clock, log: silentLogger, send }).ready('x');
    clock.advance(60_000);
    await settled();
    t.strictSame(sent, ['READY=1 STATUS=x']);

    const logs: string[] = [];
    const log = createLogger({ level: 'info', format: 'json', write: (line) => void logs.push(line) });
    const deaf = createServiceNotifier({
      env: other,
      pid: 7,
      clock,
      log,
      send: async () => await Promise.reject(new Error('spawn systemd-notify ENOENT')),
    });
    deaf.ready('x');
    deaf.stopping();
    await settled();
    t.equal(logs.length, 1);
    t.match(logs[0], /telling systemd READY=1: spawn systemd-notify ENOENT/);
  },
);
