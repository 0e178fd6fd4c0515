import { join } from 'node:path';
import { must, readIfThere, removeFile, writeRendered } from './files.js';
import type { ServiceHost } from './host.js';
import type { RenderedFile, ServiceDefinition, ServiceManager } from './manager.js';
import { fillTemplate, xmlText } from './templates.js';

const LABEL = 'local.connect-gateway-proxy';

/** An agent of the user's session. launchd can pass sockets to native code only, so it holds none. */
export function launchdManager(host: ServiceHost): ServiceManager {
  const path = join(host.home, 'Library', 'LaunchAgents', `${LABEL}.plist`);
  const domain = `gui/${host.uid}`;
  const target = `${domain}/${LABEL}`;
  const isLoaded = async (): Promise<boolean> => (await host.run('launchctl', ['print', target])).code === 0;
  const bootout = async (): Promise<void> => {
    if (await isLoaded()) await must(host, 'launchctl', ['bootout', '--wait', target]);
  };

  const render = ({ start, logFile }: ServiceDefinition): RenderedFile[] => [
    {
      path,
      content: fillTemplate(`launchd/${LABEL}.plist`, {
        programArguments: [...start.program, ...start.args]
          .map((word) => `    <string>${xmlText(word)}</string>`)
          .join('\n'),
        environment: Object.entries(start.environment)
          .map(([name, value]) => `    <key>${xmlText(name)}</key>\n    <string>${xmlText(value)}</string>`)
          .join('\n'),
        workingFolder: xmlText(start.workingFolder),
        logFile: xmlText(logFile),
      }),
    },
  ];

  return {
    name: 'launchd',
    title: 'launchd agent',
    startsAt: 'when you log in',
    holdsSockets: false,
    render,
    write: async (definition) => {
      const steps = render(definition)
        .map(writeRendered)
        .filter((step) => step !== undefined);
      // launchd reads a definition only when it is loaded.
      if (steps.length > 0) await bootout();
      await must(host, 'launchctl', ['enable', target]);
      return { steps, changed: steps.length > 0 };
    },
    start: async () => {
      if (await isLoaded()) await must(host, 'launchctl', ['kickstart', target]);
      // RunAtLoad starts it.
      else await must(host, 'launchctl', ['bootstrap', domain, path]);
    },
    state: async () => {
      const installed = readIfThere(path) !== undefined;
      const { code, stdout } = await host.run('launchctl', ['print', target]);
      const detail = /^\s*state = (.+)$/m.exec(stdout)?.[1] ?? 'not loaded';
      return { installed, enabled: installed, running: code === 0 && detail === 'running', detail };
    },
    remove: async () => {
      const there = readIfThere(path) !== undefined;
      await bootout();
      return there ? [`unloaded ${LABEL}`, ...removeFile(path)] : [];
    },
  };
}
