import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import type { SessionReport } from '../daemon/daemon.js';
import { formatDuration } from '../daemon/duration.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { outputOption } from './memberships.js';
import { addSettingOptions } from './settings-options.js';
import { table } from './table.js';

const REFRESH_MS = 1000;
/** Cursor home, then clear to the end: redraws without the flicker of clearing first. */
const HOME = '\x1b[H';
const CLEAR_REST = '\x1b[J';

export function addSessions(program: Command, io: CommandIo): void {
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
        const text = render(await report(daemon), options.ended === true);
        io.out(options.watch ? `${HOME}${text.replaceAll('\n', '\x1b[K\n')}${CLEAR_REST}` : text);
        if (!options.watch) return;
        await io.pause(REFRESH_MS);
      }
    });
  addSettingOptions(command, 'beside');
}

async function report(daemon: DaemonBeside): Promise<SessionReport> {
  const { status, body } = await daemon.call('/-/sessions');
  if (status === 200) return JSON.parse(body) as SessionReport;
  throw new CodedError({
    code: 'daemon-refused',
    message: `the daemon answered HTTP ${status} to /-/sessions; restart it so that both have the same version`,
  });
}

function render({ live, ended }: SessionReport, withEnded: boolean): string {
  const header = ['ID', 'KIND', 'MEMBERSHIP', 'TARGET', 'AGE', 'CUTOFF IN', 'RESUMES', 'UP', 'DOWN', 'CLIENT'];
  const rows = live.map((session) => [
    session.id,
    session.kind,
    session.membership,
    session.target,
    formatDuration(session.ageMs),
    session.cutoffInMs > 0 ? formatDuration(session.cutoffInMs) : 'due',
    String(session.resumes),
    formatBytes(session.bytesUp),
    formatBytes(session.bytesDown),
    session.userAgent.split(' ')[0] ?? '',
  ]);
  const text = live.length === 0 ? 'no live sessions\n' : table(header, rows);
  if (!withEnded || ended.length === 0) return text;
  const endedRows = ended.map((session) => [
    session.id,
    session.kind,
    session.membership,
    session.target,
    formatDuration(session.ageMs),
    String(session.resumes),
    session.bytesMayBeMissing ? 'maybe' : 'no',
    session.reason,
  ]);
  return `${text}\n${table(['ENDED', 'KIND', 'MEMBERSHIP', 'TARGET', 'LIVED', 'RESUMES', 'BYTES MISSING', 'REASON'], endedRows)}`;
}

function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value}B` : `${value.toFixed(1)}${units[unit]}`;
}
