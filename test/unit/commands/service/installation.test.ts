import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../../../src/base/clock.js';
import type { CommandIo } from '../../../../src/commands/io.js';
import { Installation } from '../../../../src/commands/service/installation.js';
import type { ManagerName } from '../../../../src/commands/service/manager.js';
import type { RunningDaemon } from '../../../../src/daemon/daemon.js';
import { KubeconfigBook } from '../../../../src/daemon/kubeconfig-book.js';
import { loadSettings } from '../../../../src/daemon/settings.js';
import { State } from '../../../../src/daemon/state.js';
import { type DaemonScene, daemonScene } from '../../../support/daemon-scene.js';
import { type FakeHost, fakeHost } from '../../../support/service-host.js';

interface Story {
  readonly scene: DaemonScene;
  readonly host: FakeHost;
  readonly home: string;
  /** The lines that were told since the last look. */
  told(): string[];
  install(o?: { manager?: ManagerName; start?: boolean; dryRun?: boolean; version?: string }): Promise<void>;
  service(version?: string): Installation;
  /** What the manager does: the daemon, in this process. */
  launch(): void;
  end(): void;
}

async function story(t: Test, platform: NodeJS.Platform = 'linux'): Promise<Story> {
  const scene = await daemonScene(t, ['prod']);
  const home = scene.folder;
  const first = await freePort();
  scene.writeConfig({ listen: { port: 0, membershipPorts: `${first}-${first + 50}` } });
  const host = fakeHost({ home, platform, env: { PATH: '/usr/bin:/bin' } });
  let lines: string[] = [];
  const io = (version: string): CommandIo => ({
    out: (text) => void lines.push(...text.trimEnd().split('\n')),
    err: () => {},
    env: {},
    errIsTty: false,
    outIsTty: false,
    outColumns: 100,
    clock: systemClock,
    version,
    paths: { config: join(home, 'config'), data: join(home, 'data') },
    onSignal: () => {},
    onReload: () => {},
    pause: () => setImmediate(),
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
  });
  const paths = { config: home, data: home };
  const settings = () => loadSettings({ flags: {}, env: {}, configFile: scene.config, isTty: false, paths });
  let running: Promise<RunningDaemon> | undefined;
  const end = (): void => {
    running = running?.then(async (daemon) => {
      daemon.kill();
      await daemon.closed;
      return daemon;
    });
  };
  return {
    scene,
    host,
    home,
    told: () => {
      const told = lines;
      lines = [];
      return told;
    },
    service: (version = '1.0.0') => new Installation({ io: io(version), host }),
    install: async (o = {}) =>
      await new Installation({ io: io(o.version ?? '1.0.0'), host }).install({
        settings: settings(),
        given: new Map([['config', scene.config]]),
        start: o.start ?? true,
        dryRun: o.dryRun ?? false,
        ...(o.manager === undefined ? {} : { manager: o.manager }),
      }),
    launch: () => {
      const before = running ?? Promise.resolve();
      running = before.then(() => scene.start());
    },
    end,
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(Math.min(port, 65_000)));
    });
  });
}

/** systemctl, as far as it goes. */
function withSystemd(at: Story): void {
  let active = false;
  const { answers } = at.host;
  answers.set('systemctl --user start connect-gateway-proxy.service', () => {
    if (!active) at.launch();
    active = true;
    return {};
  });
  const stop = (): object => {
    if (active) at.end();
    active = false;
    return {};
  };
  answers.set('systemctl --user stop connect-gateway-proxy.service', stop);
  answers.set('systemctl --user stop connect-gateway-proxy.socket connect-gateway-proxy.service', stop);
  answers.set('systemctl --user disable --now connect-gateway-proxy.socket connect-gateway-proxy.service', stop);
  answers.set('systemctl --user restart', () => {
    stop();
    active = true;
    at.launch();
    return {};
  });
  answers.set('systemctl --user is-active', () => ({
    stdout: active ? 'active\n' : 'inactive\n',
    code: active ? 0 : 3,
  }));
  answers.set('systemctl --user is-enabled', { stdout: 'enabled\n' });
  answers.set('loginctl', { stdout: 'no\n' });
}

t.test('systemd: install, again, upgrade, stop, start, uninstall', async (t) => {
  const at = await story(t);
  withSystemd(at);
  const unit = join(at.home, '.config', 'systemd', 'user', 'connect-gateway-proxy.service');
  const socket = join(at.home, '.config', 'systemd', 'user', 'connect-gateway-proxy.socket');

  await at.install();
  const told = at.told();
  t.match(told[0], `wrote ${unit}`);
  t.ok(
    told.some((line) => line === `wrote ${socket}`),
    'the port that the first start gave out is held from then on',
  );
  t.ok(told.some((line) => /^running: process \d+, https:\/\/127\.0\.0\.1:\d+$/.test(line)));
  t.ok(told.includes('it ends when you log out; to keep it running: loginctl enable-linger'));
  t.match(told.at(-1), /^Next: connect-gateway-proxy memberships, or kubectl --kubeconfig .* get namespaces$/);
  const [port] = Object.values(JSON.parse(readFileSync(join(at.home, 'state', 'ports.json'), 'utf8')));
  t.match(readFileSync(socket, 'utf8'), `ListenStream=127.0.0.1:${port}\n`);
  t.match(readFileSync(unit, 'utf8'), /^ExecStart=".*main\.js" "run" "--config" ".*config\.yaml"$/m);
  t.equal(statSync(unit).mode & 0o777, 0o600);
  t.ok(at.host.commands.includes('systemctl --user enable connect-gateway-proxy.service connect-gateway-proxy.socket'));

  at.host.commands.length = 0;
  await at.install();
  t.match(at.told()[0], 'the systemd user unit is up to date');
  t.notOk(
    at.host.commands.some((line) => /(re)?start |restart|stop|reload/.test(line)),
    'nothing was disturbed',
  );

  await at.install({ version: '1.1.0' });
  t.ok(at.host.commands.includes('systemctl --user restart connect-gateway-proxy.service'), 'an upgrade restarts');

  at.told();
  t.equal(await at.service('1.1.0').status(), 0);
  t.match(at.told(), [
    /^systemd user unit: installed, starts when you log in \(active\)$/,
    /^daemon: running, process/,
  ]);
  t.equal(await at.service('1.2.0').status(), 0);
  t.match(
    at.told().at(-1),
    /^Next: connect-gateway-proxy service install \(it was installed by version 1\.1\.0, this is 1\.2\.0\)$/,
  );

  await at.service().stop();
  t.match(at.told(), [/^stopped; it starts again when you log in$/, /^Next: connect-gateway-proxy service start/]);
  t.equal(await at.service().status(), 1);
  at.told();
  await at.service().start();
  t.match(at.told(), [/^running: process/, /^Next: connect-gateway-proxy status$/]);
  await at.service().restart();
  const logs = at.service().logs();
  t.equal('attach' in logs && (await logs.attach({ follow: true, lines: 7 })), 0);
  t.equal(at.host.commands.at(-1), 'journalctl --user-unit=connect-gateway-proxy.service --lines=7 --follow');

  at.told();
  const merged = join(at.home, 'kube config');
  const state = join(at.home, 'state');
  new KubeconfigBook(State.open(state)).remember(merged, '{alias}');
  await at.service().uninstall();
  const last = at.told();
  t.strictSame(last.slice(0, 3), [
    'stopped and disabled connect-gateway-proxy.socket and connect-gateway-proxy.service',
    `removed ${unit}`,
    `removed ${socket}`,
  ]);
  t.match(last.at(-3), `left: ${state} `);
  t.strictSame(last.slice(-2), [
    `left: the contexts that you merged into ${merged}`,
    `Next: nothing, or remove them: connect-gateway-proxy kubeconfig --state-dir ${state} --remove '${merged}' && rm -r ${state}`,
  ]);
  t.notOk(existsSync(unit) || existsSync(socket) || existsSync(join(at.home, 'data')), 'nothing else is left');
  await at.service().uninstall();
  t.strictSame(at.told(), ['no service is installed for this user: nothing to do']);
  await t.rejects(at.service().start(), { code: 'service-not-installed' });
});

t.test('a daemon that a person started is not taken for the service', async (t) => {
  const at = await story(t);
  withSystemd(at);
  await at.scene.start();
  await t.rejects(at.install(), { code: 'already-running', message: /connect-gateway-proxy stop --state-dir/ });
  t.notOk(existsSync(join(at.home, '.config')), 'nothing was written');
});

t.test('a command of the manager that fails is told with its words', async (t) => {
  const at = await story(t);
  at.host.answers.set('systemctl --user daemon-reload', { code: 1, stderr: 'Access denied\n' });
  await t.rejects(at.install(), {
    code: 'service-command-failed',
    message: 'systemctl --user daemon-reload failed (exit code 1): Access denied',
  });
});

t.test('a machine that can keep no service running has none to remove', async (t) => {
  const at = await story(t);
  at.host.answers.set('systemctl', { code: 1 });
  at.host.answers.set('crontab', { code: 127 });
  await at.service().uninstall();
  t.strictSame(at.told(), ['no service is installed for this user: nothing to do']);
  await t.rejects(at.install(), { code: 'service-unsupported', message: /service install --manager/ });
});

t.test('without a start, and without anything at all', async (t) => {
  const at = await story(t);
  await at.install({ dryRun: true });
  t.match(at.told()[0], /^# .*connect-gateway-proxy\.service$/);
  t.notOk(existsSync(join(at.home, '.config')));
  await at.install({ start: false });
  t.strictSame(at.told().slice(-2), ['it starts when you log in', 'Next: connect-gateway-proxy service start']);
  t.notOk(at.host.commands.some((line) => line.startsWith('systemctl --user start')));
});

t.test('launchd: loaded, loaded anew when the definition changed, unloaded', async (t) => {
  const at = await story(t, 'darwin');
  let loaded = false;
  at.host.answers.set('launchctl print', () => (loaded ? { stdout: '\tstate = running\n' } : { code: 113 }));
  at.host.answers.set('launchctl bootstrap', () => {
    loaded = true;
    at.launch();
    return {};
  });
  at.host.answers.set('launchctl bootout', () => {
    loaded = false;
    at.end();
    return {};
  });
  await at.install();
  const plist = join(at.home, 'Library', 'LaunchAgents', 'local.connect-gateway-proxy.plist');
  t.ok(at.host.commands.includes(`launchctl bootstrap gui/501 ${plist}`));
  writeFileSync(plist, 'an older version');
  at.host.commands.length = 0;
  await at.install();
  const deeds = at.host.commands.filter((line) => !line.includes(' print '));
  t.strictSame(deeds.slice(0, 3), [
    'launchctl bootout --wait gui/501/local.connect-gateway-proxy',
    'launchctl enable gui/501/local.connect-gateway-proxy',
    `launchctl bootstrap gui/501 ${plist}`,
  ]);
  t.equal(await at.service().status(), 0);
  t.strictSame(at.service().logs(), { file: join(at.home, 'data', 'service.log') });
  await at.service().uninstall();
  t.notOk(existsSync(plist));
  t.notOk(loaded);
});

t.test('Task Scheduler: registered, run, removed', async (t) => {
  const at = await story(t, 'win32');
  let registered = false;
  at.host.answers.set('schtasks /Query', () => (registered ? { stdout: 'TaskName: x' } : { code: 1 }));
  at.host.answers.set('schtasks /Create', () => {
    registered = true;
    return {};
  });
  at.host.answers.set('schtasks /Run', () => {
    at.launch();
    return {};
  });
  at.host.answers.set('schtasks /Delete', () => {
    registered = false;
    return {};
  });
  await at.install();
  const xml = join(at.home, 'data', 'service-task.xml');
  t.strictSame([...readFileSync(xml).subarray(0, 2)], [0xff, 0xfe], 'UTF-16 with its mark');
  t.ok(at.host.commands.includes(`schtasks /Create /TN connect-gateway-proxy /XML ${xml} /F`));
  at.host.commands.length = 0;
  await at.install();
  t.notOk(
    at.host.commands.some((line) => /Create|Run/.test(line)),
    'nothing to do the second time',
  );
  await at.service().uninstall();
  t.notOk(registered || existsSync(join(at.home, 'data')));
});

t.test('cron: one line among others, and nobody else’s is touched', async (t) => {
  const at = await story(t);
  let table = 'MAILTO=me\n0 * * * * date\n';
  at.host.answers.set('systemctl', { code: 127 });
  at.host.answers.set('crontab -l', () => ({ stdout: table }));
  at.host.answers.set('crontab -', (input) => {
    table = input ?? table;
    return {};
  });
  at.host.answers.set('crontab -l', () => ({ stdout: table }));
  await at.install({ start: false });
  await at.install({ start: false });
  t.match(
    table,
    /^MAILTO=me\n0 \* \* \* \* date\n@reboot .* service run .*service\.json >\/dev\/null 2>&1 # connect-gateway-proxy\n$/,
  );
  await at.service().uninstall();
  t.equal(table, 'MAILTO=me\n0 * * * * date\n');
});

t.test('another manager takes over from the old one', async (t) => {
  const at = await story(t);
  await at.install({ manager: 'autostart', start: false });
  const entry = join(at.home, '.config', 'autostart', 'connect-gateway-proxy.desktop');
  t.ok(existsSync(entry));
  await at.install({ manager: 'systemd', start: false });
  t.notOk(existsSync(entry));
});
