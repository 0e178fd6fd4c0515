import { CodedError } from '../../base/errors.js';
import { autostartManager, cronManager } from './autostart.js';
import type { ServiceHost } from './host.js';
import { launchdManager } from './launchd.js';
import type { ManagerName, ServiceManager } from './manager.js';
import { systemdManager } from './systemd.js';
import { taskSchedulerManager } from './task-scheduler.js';

export function managerNamed(name: ManagerName, host: ServiceHost, recordFile: string): ServiceManager {
  switch (name) {
    case 'systemd':
      return systemdManager(host);
    case 'launchd':
      return launchdManager(host);
    case 'task-scheduler':
      return taskSchedulerManager(host, recordFile);
    case 'autostart':
      return autostartManager(host);
    case 'cron':
      return cronManager(host);
  }
}

/** The best that this machine has. Throws a CodedError `service-unsupported`. */
export async function chooseManager(host: ServiceHost): Promise<ManagerName> {
  if (host.platform === 'darwin') return 'launchd';
  if (host.platform === 'win32') return 'task-scheduler';
  // Fails without a running user manager, whatever is installed.
  if ((await host.run('systemctl', ['--user', 'show-environment'])).code === 0) return 'systemd';
  if (host.env['XDG_CURRENT_DESKTOP']) return 'autostart';
  if ((await host.run('crontab', ['-l'])).code !== 127) return 'cron';
  throw new CodedError({
    code: 'service-unsupported',
    message:
      'this session has neither a systemd user manager, nor a desktop, nor crontab; start the daemon where your other programs are started, with connect-gateway-proxy run, or choose with service install --manager',
  });
}
