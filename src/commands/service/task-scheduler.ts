import { dirname, join, win32 } from 'node:path';
import { must, readIfThere, removeFile, writeRendered } from './files.js';
import type { ServiceHost } from './host.js';
import type { RenderedFile, ServiceDefinition, ServiceManager } from './manager.js';
import { fillTemplate, windowsArgument, xmlText } from './templates.js';

const TASK = 'connect-gateway-proxy';

/** A task at the user's logon. A task has no environment and no log of its own: `service run` brings both. */
export function taskSchedulerManager(host: ServiceHost, recordFile: string): ServiceManager {
  const xmlFile = join(dirname(recordFile), 'service-task.xml');
  const query = async (): Promise<string | undefined> => {
    const { code, stdout } = await host.run('schtasks', ['/Query', '/TN', TASK, '/FO', 'LIST']);
    return code === 0 ? stdout : undefined;
  };

  const render = ({ start, recordFile }: ServiceDefinition): RenderedFile[] => {
    const [first = '', ...rest] = start.program;
    // Without it a console window stands open for as long as the daemon runs.
    const command = win32.join(host.env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'conhost.exe');
    const words = ['--headless', first, ...rest, 'service', 'run', recordFile];
    return [
      {
        path: xmlFile,
        encoding: 'utf16le',
        content: fillTemplate('windows/connect-gateway-proxy.xml', {
          user: xmlText(host.user),
          command: xmlText(command),
          arguments: xmlText(words.map(windowsArgument).join(' ')),
          workingFolder: xmlText(start.workingFolder),
        }),
      },
    ];
  };

  return {
    name: 'task-scheduler',
    title: 'Task Scheduler task',
    startsAt: 'when you log on',
    holdsSockets: false,
    render,
    write: async (definition) => {
      const steps = render(definition)
        .map(writeRendered)
        .filter((step) => step !== undefined);
      const changed = steps.length > 0 || (await query()) === undefined;
      if (changed) {
        await must(host, 'schtasks', ['/Create', '/TN', TASK, '/XML', xmlFile, '/F']);
        steps.push(`registered the task ${TASK}`);
      }
      return { steps, changed };
    },
    start: async () => void (await must(host, 'schtasks', ['/Run', '/TN', TASK])),
    state: async () => {
      const text = await query();
      const installed = text !== undefined;
      // The words are in the machine's language: whether the daemon answers is what counts.
      return { installed, enabled: installed, running: false, detail: installed ? 'registered' : 'not registered' };
    },
    remove: async () => {
      const steps: string[] = [];
      if ((await query()) !== undefined) {
        await must(host, 'schtasks', ['/Delete', '/TN', TASK, '/F']);
        steps.push(`removed the task ${TASK}`);
      }
      return readIfThere(xmlFile) === undefined ? steps : [...steps, ...removeFile(xmlFile)];
    },
  };
}
