import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import type { ReloadReport } from '../daemon/reload.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { messageOf } from './message-of.js';
import { addSettingOptions } from './settings-options.js';

/** Google is asked for every project; a slow one must not look like a daemon that is gone. */
const DEADLINE_MS = 60_000;

export function addReload(program: Command, io: CommandIo): void {
  const command = program
    .command('reload')
    .description('have the running daemon read its config file again and ask the fleet; live streams go on')
    .addHelpText(
      'after',
      '\nExamples:\n  $ connect-gateway-proxy reload\n  $ kill -HUP PID                  # the same; the outcome is in the log\n',
    )
    .action(async () => {
      const report = await reloadDaemon(daemonBeside(command, io));
      const { changed, needsRestart, memberships, failures = [] } = report;
      io.err(`reloaded: ${changed.length === 0 ? 'no setting has changed' : `changed ${changed.join(', ')}`}`);
      io.err(memberships === undefined ? '\n' : `; ${memberships} memberships\n`);
      if (needsRestart.length > 0) io.err(`restart the daemon for ${needsRestart.join(', ')}\n`);
      for (const failure of failures) io.err(`${failure}\n`);
    });
  addSettingOptions(command, 'beside');
}

/** Rejects with a CodedError that tells why the daemon has refused its new settings. */
export async function reloadDaemon(daemon: DaemonBeside): Promise<ReloadReport> {
  const { status, body } = await daemon.call('/-/reload', {
    method: 'POST',
    deadlineMs: DEADLINE_MS,
    waitingFor: 'the daemon to read its settings and ask the fleet',
  });
  if (status === 200) return JSON.parse(body) as ReloadReport;
  throw new CodedError({
    code: 'reload-refused',
    message: `the daemon keeps its old settings: ${messageOf(body) ?? `it answered HTTP ${status}`}`,
  });
}
