import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import { isAlive } from '../daemon/instance-lock.js';
import { daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { addSettingOptions } from './settings-options.js';

/** Above the daemon's own 10 s for a drain. */
const PATIENCE_MS = 20_000;
const POLL_MS = 100;

export function addStop(program: Command, io: CommandIo): void {
  const command = program
    .command('stop')
    .description('ask the running daemon to drain and exit, and wait until it has')
    .action(async () => {
      const daemon = daemonBeside(command, io);
      const { status } = await daemon.call('/-/shutdown', { method: 'POST' });
      if (status !== 202) throw new CodedError({ code: 'stop-refused', message: `the daemon answered HTTP ${status}` });
      const deadline = io.clock.monotonic() + PATIENCE_MS;
      while (isAlive(daemon.record.pid) && daemon.state.readDaemon()?.pid === daemon.record.pid) {
        if (io.clock.monotonic() > deadline) {
          throw new CodedError({
            code: 'stop-slow',
            message: `process ${daemon.record.pid} is still draining after ${PATIENCE_MS / 1000}s; end it with kill ${daemon.record.pid}`,
          });
        }
        await io.pause(POLL_MS);
      }
      io.err('stopped\n');
    });
  addSettingOptions(command, 'beside');
}
