import type { Command } from 'commander';
import type { CommandIo } from './io.js';
import { serve } from './serve.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

export function addRun(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('run')
    .description('run the daemon in the foreground; SIGTERM drains, a second signal ends at once')
    .action(async () => setExitCode(await serve(io, settingsOf(command, io))));
  addSettingOptions(command, 'all');
}
