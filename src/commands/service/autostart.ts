import { join } from 'node:path';
import { must, readIfThere, removeFile, writeRendered } from './files.js';
import type { ServiceHost } from './host.js';
import type { RenderedFile, ServiceDefinition, ServiceManager } from './manager.js';
import { cronCommand, desktopArgument, fillTemplate } from './templates.js';

/** Ends our line of a crontab. */
const CRON_MARK = '# connect-gateway-proxy';

/** Where there is no systemd but a desktop: an entry of the session. Nothing starts it again when it fails. */
export function autostartManager(host: ServiceHost): ServiceManager {
  const path = join(
    host.env['XDG_CONFIG_HOME'] || join(host.home, '.config'),
    'autostart',
    'connect-gateway-proxy.desktop',
  );
  const render = (definition: ServiceDefinition): RenderedFile[] => [
    {
      path,
      content: fillTemplate('autostart/connect-gateway-proxy.desktop', {
        exec: recordedCommand(definition).map(desktopArgument).join(' '),
      }),
    },
  ];
  return {
    name: 'autostart',
    title: 'XDG autostart entry',
    startsAt: 'when your desktop session starts',
    holdsSockets: false,
    render,
    write: async (definition) => {
      const steps = render(definition)
        .map(writeRendered)
        .filter((step) => step !== undefined);
      return { steps, changed: steps.length > 0 };
    },
    start: async (definition) => host.startDetached(recordedCommand(definition)),
    state: async () => {
      const installed = readIfThere(path) !== undefined;
      return { installed, enabled: installed, running: false, detail: installed ? 'installed' : 'not installed' };
    },
    remove: async () => removeFile(path),
  };
}

/** Where there is neither systemd nor a desktop: a line of the user's crontab. */
export function cronManager(host: ServiceHost): ServiceManager {
  const read = async (): Promise<string[]> => {
    // No crontab yet is a failure to crontab.
    const { code, stdout } = await host.run('crontab', ['-l']);
    return code === 0 ? stdout.split('\n').filter((line) => line !== '') : [];
  };
  const isOurs = (line: string): boolean => line.endsWith(CRON_MARK);
  const render = (definition: ServiceDefinition): RenderedFile[] => [
    {
      path: 'crontab',
      content: fillTemplate('autostart/connect-gateway-proxy.cron', {
        shellCommand: cronCommand(recordedCommand(definition)),
      }),
    },
  ];
  const replace = async (lines: readonly string[]): Promise<void> => {
    if (lines.length === 0) await must(host, 'crontab', ['-r']);
    else await must(host, 'crontab', ['-'], `${lines.join('\n')}\n`);
  };
  return {
    name: 'cron',
    title: 'crontab line',
    startsAt: 'when the machine boots',
    holdsSockets: false,
    render,
    write: async (definition) => {
      const lines = await read();
      const wanted = render(definition).map(({ content }) => content.trimEnd());
      if (lines.filter(isOurs).join('\n') === wanted.join('\n')) return { steps: [], changed: false };
      await replace([...lines.filter((line) => !isOurs(line)), ...wanted]);
      return { steps: ['wrote an @reboot line into your crontab'], changed: true };
    },
    start: async (definition) => host.startDetached(recordedCommand(definition)),
    state: async () => {
      const installed = (await read()).some(isOurs);
      return { installed, enabled: installed, running: false, detail: installed ? 'installed' : 'not installed' };
    },
    remove: async () => {
      const lines = await read();
      if (!lines.some(isOurs)) return [];
      await replace(lines.filter((line) => !isOurs(line)));
      return ['removed the @reboot line from your crontab'];
    },
  };
}

/** These bring no environment and keep no log: `service run` does both. */
function recordedCommand({ start, recordFile }: ServiceDefinition): string[] {
  return [...start.program, 'service', 'run', recordFile];
}
