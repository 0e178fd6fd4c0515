import type { Command } from 'commander';
import { daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { withProgress } from './progress.js';
import { addSettingOptions } from './settings-options.js';
import { stopDaemon } from './stop-daemon.js';

export function addStop(program: Command, io: CommandIo): void {
  const command = program
    .command('stop')
    .description('ask the running daemon to drain and exit, and wait until it has')
    .action(async () => {
      const { state, record } = daemonBeside(command, io);
      await withProgress(io, 'waiting for the daemon to end what it carries', () => stopDaemon(state, record, io));
      io.err('stopped\n');
    });
  addSettingOptions(command, 'beside');
}
