import { type Command, Option } from 'commander';
import { UsageError } from '../base/errors.js';
import { SETTING_KEYS } from '../daemon/settings-keys.js';
import type { CommandIo } from './io.js';
import type { Installation } from './service/installation.js';
import type { ManagerName } from './service/manager.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

const MANAGERS: readonly ManagerName[] = ['systemd', 'launchd', 'task-scheduler', 'autostart', 'cron'];

export function addService(
  program: Command,
  io: CommandIo,
  o: {
    setExitCode: (code: number) => void;
    runCommandLine: (args: readonly string[], io: CommandIo) => Promise<number>;
  },
): void {
  const service = program
    .command('service')
    .description('keep the daemon running in the background, as the platform does it, for this user');
  const install = service
    .command('install')
    .description('install or upgrade in place, enable and start; settings given here are recorded')
    .addOption(new Option('--manager <NAME>', 'instead of the best that is there').choices(MANAGERS))
    .option('--no-start', 'write and enable it, but start nothing')
    .option('--dry-run', 'print what would be written')
    .action(async (options: { manager?: ManagerName; start: boolean; dryRun?: true }) => {
      const settings = settingsOf(install, io);
      if (settings.projects.length === 0 && settings.memberships.length === 0) {
        throw new UsageError(
          'nothing to serve: name the fleet host project with --projects PROJECT, or under projects: in the config file; connect-gateway-proxy demo needs neither',
          { code: 'nothing-to-serve' },
        );
      }
      await (await installation(io)).install({
        settings,
        given: givenSettings(install, io),
        start: options.start,
        dryRun: options.dryRun === true,
        ...(options.manager === undefined ? {} : { manager: options.manager }),
      });
    });
  addSettingOptions(install, 'all');
  service
    .command('uninstall')
    .description('stop it and remove what install wrote')
    .action(async () => await (await installation(io)).uninstall());
  service
    .command('start')
    .description('start it, and wait until it is ready')
    .action(async () => await (await installation(io)).start());
  service
    .command('stop')
    .description('drain and stop it until the next login, or until it is started')
    .action(async () => await (await installation(io)).stop());
  service
    .command('restart')
    .description('drain, start again, and wait until it is ready')
    .action(async () => await (await installation(io)).restart());
  service
    .command('status')
    .description('whether it is installed and runs; exits with 1 when it does not')
    .action(async () => o.setExitCode(await (await installation(io)).status()));
  service
    .command('logs')
    .description('show what the daemon has logged')
    .option('-f, --follow', 'and what it logs from now on')
    .option('-n, --lines <NUMBER>', 'how many of the last lines', '200')
    .action(async (options: { follow?: true; lines: string }) => o.setExitCode(await showLogs(io, options)));
  service
    .command('run', { hidden: true })
    .argument('<file>')
    .action(async (file: string) => {
      const { runRecorded } = await import('./service/run-recorded.js');
      o.setExitCode(await runRecorded(file, io, o.runCommandLine));
    });
}

/** Loaded when it is asked for: the other commands answer sooner without it. */
async function installation(io: CommandIo): Promise<Installation> {
  const [{ Installation }, { systemHost }] = await Promise.all([
    import('./service/installation.js'),
    import('./service/host.js'),
  ]);
  return new Installation({ io, host: systemHost(io) });
}

async function showLogs(io: CommandIo, options: { follow?: true; lines: string }): Promise<number> {
  if (!/^\d{1,6}$/.test(options.lines)) {
    throw new UsageError(`--lines ${options.lines}: expected a whole number up to 999999`);
  }
  const how = { follow: options.follow === true, lines: Number(options.lines) };
  const logs = (await installation(io)).logs();
  if ('attach' in logs) return await logs.attach(how);
  const { showLog } = await import('./service/show-log.js');
  await showLog(logs.file, { ...how, io });
  return 0;
}

/** By config path, `config` for the file itself: what flags and variables say, which a service will not see by itself. */
function givenSettings(command: Command, io: CommandIo): Map<string, string> {
  const flags = command.opts<Record<string, string | undefined>>();
  const given = new Map<string, string>();
  const config = flags['config'] ?? io.env['CGP_CONFIG'];
  if (config !== undefined) given.set('config', config);
  for (const { path, flag, env } of SETTING_KEYS) {
    const text = flags[new Option(flag).attributeName()] ?? io.env[env];
    if (text !== undefined) given.set(path, text);
  }
  return given;
}
