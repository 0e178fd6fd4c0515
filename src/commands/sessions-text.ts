import { formatDuration } from '../daemon/duration.js';
import type { SessionReport } from '../daemon/session-report.js';
import { table } from './table.js';

/** What `sessions` shows; `withEnded` with the history. `now` is in ms since the epoch. */
export function sessionsText(report: SessionReport, o: { withEnded: boolean; now: number }): string {
  const { live, held, ended } = report;
  const header = [
    'ID',
    'KIND',
    'MEMBERSHIP',
    'TARGET',
    'IDENTITY',
    'AGE',
    'CUTOFF IN',
    'RESUMES',
    'UP',
    'DOWN',
    'CLIENT',
  ];
  const rows = live.map((session) => [
    session.id,
    session.kind,
    session.membership,
    session.target,
    session.identity,
    formatDuration(session.ageMs),
    session.cutoffInMs > 0 ? formatDuration(session.cutoffInMs) : 'due',
    String(session.resumes),
    formatBytes(session.bytesUp),
    formatBytes(session.bytesDown),
    session.userAgent.split(' ')[0] ?? '',
  ]);
  const texts = [live.length === 0 ? 'no live sessions\n' : table(header, rows)];
  if (held.length > 0) texts.push(heldText(held, o.now));
  const text = texts.join('\n');
  if (!o.withEnded || ended.length === 0) return text;
  const endedRows = ended.map((session) => [
    session.id,
    session.kind,
    session.membership,
    session.target,
    formatDuration(session.ageMs),
    String(session.resumes),
    formatGaps(session.gapsMs),
    session.bytesMayBeMissing ? 'maybe' : 'no',
    session.reason,
  ]);
  return `${text}\n${table(['ENDED', 'KIND', 'MEMBERSHIP', 'TARGET', 'LIVED', 'RESUMES', 'LAST GAPS', 'BYTES MISSING', 'REASON'], endedRows)}`;
}

function heldText(held: SessionReport['held'], now: number): string {
  const rows = held.map((session) => [
    session.id,
    session.membership,
    session.container === undefined ? session.target : `${session.target} (${session.container})`,
    session.tty ? `${session.program} at a terminal` : session.program,
    formatDuration(now - session.startedAt),
    session.endsAt === undefined ? '-' : formatDuration(Math.max(0, session.endsAt - now)),
  ]);
  return `${table(['WAITS', 'MEMBERSHIP', 'TARGET', 'PROGRAM', 'AGE', 'ENDS IN'], rows)}\nconnect-gateway-proxy sessions rejoin ID attaches a terminal\n`;
}

/** The last few, the newest last: `40ms 1.2s`. */
function formatGaps(gapsMs: readonly number[]): string {
  if (gapsMs.length === 0) return '-';
  return gapsMs
    .slice(-3)
    .map((ms) => (ms < 1000 ? `${ms}ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)}s` : formatDuration(ms)))
    .join(' ');
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
