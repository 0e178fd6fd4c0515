import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import type { QuotaUse } from '../daemon/daemon.js';
import type { SessionReport } from '../daemon/session-report.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { outputOption } from './memberships.js';
import { addSettingOptions } from './settings-options.js';
import { statusText } from './status-text.js';
import { whoami } from './whoami.js';

/** Exit code 0 when the daemon is up and ready, otherwise 1. */
export function addStatus(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('status')
    .description('is the daemon up, and who am I per membership; exit code 0 when it is ready')
    .addOption(outputOption())
    .option('--all', 'list every membership on a terminal, however many there are')
    .option('--whoami <MEMBERSHIP>', 'ask the cluster who it thinks that we are, by the way that a client takes')
    .action(async (options: { output: string; all?: true; whoami?: string }) => {
      try {
        const daemon = daemonBeside(command, io);
        if (options.whoami !== undefined) {
          io.out(await whoami(daemon, { wanted: options.whoami, json: options.output === 'json' }));
          return;
        }
        const ready = (await daemon.call('/-/readyz', { credential: false })).status === 200;
        const memberships = await daemon.memberships();
        const { pid, hubUrl, startedAt, version } = daemon.record;
        setExitCode(ready ? 0 : 1);
        const { live } = JSON.parse((await daemon.call('/-/sessions')).body) as SessionReport;
        const quota = await quotaOf(daemon);
        const { kubeconfigFile } = daemon.settings;
        const streams = live.map(({ kind }) => kind);
        if (options.output === 'json') {
          const up = { running: true, ready, pid, hubUrl, startedAt, version, kubeconfigFile };
          io.out(`${JSON.stringify({ ...up, memberships, streams, quota }, null, 2)}\n`);
          return;
        }
        const facts = { version, ready, pid, hubUrl, startedAt, kubeconfigFile, memberships, streams, quota };
        // A pipe may look for any of them.
        io.out(statusText({ ...facts, now: io.clock.now() }, { all: options.all === true || !io.outIsTty }));
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'daemon-not-running') throw error;
        setExitCode(1);
        if (options.output === 'json') io.out(`${JSON.stringify({ running: false, ready: false }, null, 2)}\n`);
        io.err(`${error.message}\n`);
      }
    });
  addSettingOptions(command, 'beside');
}

async function quotaOf(daemon: DaemonBeside): Promise<readonly QuotaUse[]> {
  const { status, body } = await daemon.call('/-/quota');
  return status === 200 ? (JSON.parse(body) as { projects: QuotaUse[] }).projects : [];
}
