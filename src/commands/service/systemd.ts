import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { must, readIfThere, removeFile, writeRendered } from './files.js';
import type { ServiceHost } from './host.js';
import type { RenderedFile, ServiceDefinition, ServiceManager } from './manager.js';
import { fillTemplate, systemdCommand, systemdEnvironment, systemdPath } from './templates.js';

const SERVICE = 'connect-gateway-proxy.service';
const SOCKET = 'connect-gateway-proxy.socket';
/** Half of it is how often the daemon spawns systemd-notify: seldom enough to be nothing. */
const WATCHDOG_SECONDS = 120;

/** A unit of the user's own manager, with a socket unit beside it. */
export function systemdManager(host: ServiceHost): ServiceManager {
  const folder = join(host.env['XDG_CONFIG_HOME'] || join(host.home, '.config'), 'systemd', 'user');
  const servicePath = join(folder, SERVICE);
  const socketPath = join(folder, SOCKET);
  const systemctl = async (...args: string[]): Promise<string> =>
    (await must(host, 'systemctl', ['--user', ...args])).stdout;

  const render = (definition: ServiceDefinition): RenderedFile[] => {
    const { program, args, environment } = definition.start;
    const service = fillTemplate(`systemd/${SERVICE}`, {
      notify: findNotifier(environment['PATH'] ?? '')
        ? `Type=notify\n# Node cannot write to the notify socket itself: systemd-notify does, as a child.\nNotifyAccess=all\nWatchdogSec=${WATCHDOG_SECONDS}`
        : '# systemd-notify is not there: no readiness and no watchdog.\nType=exec',
      execStart: systemdCommand([...program, ...args]),
      environment: Object.entries(environment)
        .map(([name, value]) => systemdEnvironment(name, value))
        .join('\n'),
      environmentFile: systemdPath(definition.environmentFile),
    });
    const socket: RenderedFile[] =
      definition.sockets.length === 0
        ? []
        : [
            {
              path: socketPath,
              content: fillTemplate(`systemd/${SOCKET}`, {
                listenStreams: definition.sockets.map((socket) => `ListenStream=${socket}`).join('\n'),
              }),
            },
          ];
    return [{ path: servicePath, content: service }, ...socket];
  };

  return {
    name: 'systemd',
    title: 'systemd user unit',
    startsAt: 'when you log in',
    holdsSockets: true,
    render,
    write: async (definition) => {
      const files = render(definition);
      const socketBefore = readIfThere(socketPath);
      const steps = files.map(writeRendered).filter((step) => step !== undefined);
      const withSocket = files.length > 1;
      if (!withSocket && socketBefore !== undefined) {
        await systemctl('disable', '--now', SOCKET);
        steps.push(...removeFile(socketPath));
      }
      const changed = steps.length > 0;
      if (changed) await systemctl('daemon-reload');
      await systemctl('enable', SERVICE, ...(withSocket ? [SOCKET] : []));
      if (withSocket && readIfThere(socketPath) !== socketBefore) {
        // A socket unit cannot change its ports under a running service.
        await systemctl('stop', SERVICE);
        await systemctl('stop', SOCKET);
      }
      return { steps, changed };
    },
    start: async (definition) => {
      if (definition.sockets.length > 0) await systemctl('start', SOCKET);
      await systemctl('start', SERVICE);
    },
    // The socket too: it would start the service again at the next connection.
    stop: async () => {
      await systemctl('stop', ...(readIfThere(socketPath) === undefined ? [] : [SOCKET]), SERVICE);
    },
    restart: async () => {
      await systemctl('restart', SERVICE);
    },
    state: async () => {
      const installed = readIfThere(servicePath) !== undefined;
      const active = await host.run('systemctl', ['--user', 'is-active', SERVICE]);
      const enabled = await host.run('systemctl', ['--user', 'is-enabled', SERVICE]);
      const detail = active.stdout.trim() || active.stderr.trim();
      return { installed, running: detail === 'active', enabled: enabled.stdout.trim() === 'enabled', detail };
    },
    remove: async () => {
      const there = [servicePath, socketPath].filter((path) => readIfThere(path) !== undefined);
      if (there.length === 0) return [];
      const units = there.map((path) => (path === servicePath ? SERVICE : SOCKET));
      // The socket first, so that nothing starts the service again in between.
      await systemctl('disable', '--now', ...units.reverse());
      const steps = there.flatMap(removeFile);
      await systemctl('daemon-reload');
      await host.run('systemctl', ['--user', 'reset-failed', SERVICE]);
      return [`stopped and disabled ${units.join(' and ')}`, ...steps];
    },
    logs: async ({ follow, lines }) =>
      await host.attach('journalctl', [
        `--user-unit=${SERVICE}`,
        `--lines=${lines}`,
        ...(follow ? ['--follow'] : ['--no-pager']),
      ]),
  };
}

/** Looked for where the service will look. */
function findNotifier(path: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, 'systemd-notify'), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
