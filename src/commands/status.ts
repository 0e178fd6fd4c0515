import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import { formatDuration } from '../daemon/duration.js';
import { daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { outputOption } from './memberships.js';
import { addSettingOptions } from './settings-options.js';
import { table } from './table.js';

/** Exit code 0 when the daemon is up and ready, otherwise 1. */
export function addStatus(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('status')
    .description('is the daemon up, and who am I per membership; exit code 0 when it is ready')
    .addOption(outputOption())
    .action(async (options: { output: string }) => {
      try {
        const daemon = daemonBeside(command, io);
        const ready = (await daemon.call('/-/readyz', { credential: false })).status === 200;
        const memberships = await daemon.memberships();
        const { pid, hubUrl, startedAt, version } = daemon.record;
        setExitCode(ready ? 0 : 1);
        if (options.output === 'json') {
          io.out(
            `${JSON.stringify({ running: true, ready, pid, hubUrl, startedAt, version, memberships }, null, 2)}\n`,
          );
          return;
        }
        const age = formatDuration(io.clock.now() - startedAt);
        io.out(
          `connect-gateway-proxy ${version}: ${ready ? 'ready' : 'not ready'}, process ${pid}, up ${age}, hub ${hubUrl}\n`,
        );
        io.out(`kubeconfig: ${daemon.settings.kubeconfigFile}\n\n`);
        const rows = memberships.map(({ alias, url, identity, principal, tokenExpiresAt, problem }) => [
          alias,
          url ?? '-',
          `${identity} (${principal})`,
          tokenExpiresAt === undefined ? '-' : formatDuration(tokenExpiresAt - io.clock.now()),
          problem ?? 'ok',
        ]);
        io.out(table(['NAME', 'URL', 'IDENTITY', 'TOKEN EXPIRES IN', 'STATUS'], rows));
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'daemon-not-running') throw error;
        setExitCode(1);
        if (options.output === 'json') io.out(`${JSON.stringify({ running: false, ready: false }, null, 2)}\n`);
        io.err(`${error.message}\n`);
      }
    });
  addSettingOptions(command, 'beside');
}
