import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import { parseDuration } from '../daemon/duration.js';
import { callOwnHub, ownHubAnswers } from '../daemon/own-hub.js';
import { State } from '../daemon/state.js';
import type { CommandIo } from './io.js';
import { withProgress } from './progress.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

const POLL_MS = 100;

export function addWait(program: Command, io: CommandIo): void {
  const command = program
    .command('wait')
    .description('block until the daemon is ready')
    .option('--timeout <DURATION>', 'give up after this long', '60s')
    .action(async (options: { timeout: string }) => {
      const timeoutMs = parseDuration(options.timeout);
      if (timeoutMs === undefined) throw new UsageError(`--timeout ${options.timeout}: expected a duration like 60s`);
      const settings = settingsOf(command, io);
      const deadline = io.clock.monotonic() + timeoutMs;
      await withProgress(io, 'waiting for the daemon to be ready', async () => {
        while (!(await isReady(settings.stateDir))) {
          if (io.clock.monotonic() >= deadline) {
            throw new CodedError({
              code: 'not-ready',
              message: `no daemon with the state folder ${settings.stateDir} was ready within ${options.timeout}`,
            });
          }
          await io.pause(POLL_MS);
        }
      });
    });
  addSettingOptions(command, 'beside');
}

/** Whether a daemon with this state folder serves. */
export async function isReady(stateDir: string): Promise<boolean> {
  const state = State.read(stateDir);
  const record = state?.readDaemon();
  if (state === undefined || record === undefined || !(await ownHubAnswers(state, record))) return false;
  return (await callOwnHub(state, record, { path: '/-/readyz', credential: false })).status === 200;
}
