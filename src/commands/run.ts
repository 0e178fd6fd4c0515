import type { Command } from 'commander';
import type { Settings } from '../daemon/settings.js';
import type { CommandIo } from './io.js';
import { serve } from './serve.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

export function addRun(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('run')
    .description('run the daemon in the foreground; SIGTERM drains, a second signal ends at once')
    .action(async () => {
      const loadSettings = (): Settings => settingsOf(command, io);
      setExitCode(await serve(io, loadSettings(), { loadSettings }));
    });
  addSettingOptions(command, 'all');
}
