import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import type { SessionReport } from '../daemon/session-report.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { outputOption } from './memberships.js';
import { addRejoin } from './sessions-rejoin.js';
import { sessionsText } from './sessions-text.js';
import { addSettingOptions } from './settings-options.js';

const REFRESH_MS = 1000;
/** Cursor home, then clear to the end: redraws without the flicker of clearing first. */
const HOME = '\x1b[H';
const CLEAR_REST = '\x1b[J';

export function addSessions(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('sessions')
    .description('live sessions: kind, target, age, time to the expected cutoff, resumes, bytes')
    .addOption(outputOption())
    .option('--watch', 'refresh in place every second')
    .option('--ended', 'also the last ended sessions, and why they ended')
    .addHelpText(
      'after',
      '\nExamples:\n  $ connect-gateway-proxy sessions --watch\n  $ connect-gateway-proxy sessions -o json | jq .live\n',
    )
    .action(async (options: { output: string; watch?: true; ended?: true }) => {
      const daemon = daemonBeside(command, io);
      if (options.watch && (options.output === 'json' || !io.outIsTty)) {
        throw new UsageError('--watch needs a terminal and text; scripts follow GET /-/events of the hub');
      }
      if (options.output === 'json') {
        io.out(`${JSON.stringify(await report(daemon), null, 2)}\n`);
        return;
      }
      if (options.watch) io.out(`${HOME}\x1b[2J`);
      for (;;) {
        const text = sessionsText(await report(daemon), { withEnded: options.ended === true, now: io.clock.now() });
        io.out(options.watch ? `${HOME}${text.replaceAll('\n', '\x1b[K\n')}${CLEAR_REST}` : text);
        if (!options.watch) return;
        await io.pause(REFRESH_MS);
      }
    });
  addSettingOptions(command, 'beside');
  addKill(command, io);
  addRejoin(command, io, { report, setExitCode });
}

function addKill(sessions: Command, io: CommandIo): void {
  const command = sessions
    .command('kill')
    .description('end live sessions, and give their streams back to the fleet; their clients are told')
    .argument('<id...>', 'as connect-gateway-proxy sessions lists them')
    .addHelpText('after', '\nExamples:\n  $ connect-gateway-proxy sessions kill k3v9q\n')
    .action(async (ids: string[]) => {
      const daemon = daemonBeside(command, io);
      const unknown: string[] = [];
      for (const id of ids) {
        const { status, body } = await daemon.call(`/-/sessions/${encodeURIComponent(id)}/kill`, { method: 'POST' });
        if (status === 200) io.out(`ended session ${id}\n`);
        else if (status === 404) unknown.push(id);
        else throw refused(`/-/sessions/${id}/kill`, status, body);
      }
      if (unknown.length === 0) return;
      const live = (await report(daemon)).live.map(({ id }) => id);
      throw new CodedError({
        code: 'no-such-session',
        message: `no live session has the id ${unknown.join(', ')}; ${live.length === 0 ? 'there are none' : `live are ${live.join(', ')}`}`,
      });
    });
  addSettingOptions(command, 'beside');
}

function refused(path: string, status: number, body = ''): CodedError {
  return new CodedError({
    code: 'daemon-refused',
    message: `the daemon answered HTTP ${status} to ${path}${body === '' ? '' : ` (${body.trim().slice(0, 200)})`}; restart it so that both have the same version`,
  });
}

async function report(daemon: DaemonBeside): Promise<SessionReport> {
  const { status, body } = await daemon.call('/-/sessions');
  if (status === 200) return JSON.parse(body) as SessionReport;
  throw refused('/-/sessions', status);
}
