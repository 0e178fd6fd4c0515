import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import type { Settings } from '../daemon/settings.js';
import type { CommandIo } from './io.js';
import { runOnce } from './once.js';
import { serve } from './serve.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

export function addRun(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('run')
    .description('run the daemon in the foreground; SIGTERM drains, a second signal ends at once')
    .argument('[command...]', 'with --once: what to run, after --')
    .option('--once', 'run the command with KUBECONFIG set, stop, and exit with its exit code')
    .action(async (words: readonly string[], options: { once?: true }) => {
      if (options.once !== true) {
        if (words.length > 0)
          throw new UsageError(`run takes no argument ${words[0]}; to run a command: run --once -- ${words.join(' ')}`);
        const loadSettings = (): Settings => settingsOf(command, io);
        setExitCode(await serve(io, loadSettings(), { loadSettings }));
        return;
      }
      if (words.length === 0)
        throw new UsageError('run --once: name the command, as in run --once -- kubectl get pods');
      setExitCode(await runOnce(command, words, io));
    });
  addSettingOptions(command, 'all');
}
