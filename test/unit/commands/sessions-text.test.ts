import t from 'tap';
import { sessionsText } from '../../../src/commands/sessions-text.js';
import type { SessionReport } from '../../../src/daemon/session-report.js';

const SESSION: SessionReport['live'][number] = {
  id: 'k3v9q',
  kind: 'exec',
  membership: 'prod',
  target: 'default/box',
  identity: 'deployer',
  userAgent: 'kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0',
  startedAt: 0,
  ageMs: 125_000,
  connectionAgeMs: 5000,
  cutoffInMs: 1_195_000,
  resumes: 4,
  gapsMs: [9, 40, 1234, 65_000],
  bytesUp: 12,
  bytesDown: 3_500_000,
};

const columns = (line: string | undefined): string[] => (line ?? '').trim().split(/ {2,}/);

t.test('a live session: what, whose, how old, how long yet, how often resumed, how much', async (t) => {
  const [header, line] = sessionsText({ live: [SESSION], held: [], ended: [] }, { withEnded: true, now: 0 }).split(
    '\n',
  );
  t.strictSame(columns(header), [
    ...['ID', 'KIND', 'MEMBERSHIP', 'TARGET', 'IDENTITY', 'AGE', 'CUTOFF IN', 'RESUMES', 'UP', 'DOWN', 'CLIENT'],
  ]);
  t.strictSame(columns(line), [
    ...['k3v9q', 'exec', 'prod', 'default/box', 'deployer', '2m5s', '19m55s', '4', '12B', '3.3MiB', 'kubectl/v1.33.1'],
  ]);
  t.match(
    sessionsText({ live: [{ ...SESSION, cutoffInMs: -5 }], held: [], ended: [] }, { withEnded: false, now: 0 }),
    / due /,
  );
});

t.test('an ended one: why, how long its last gaps were, whether bytes may be missing', async (t) => {
  const ended = { ...SESSION, endedAt: 1, reason: 'client closed (1000)', bytesMayBeMissing: true };
  const whole = { ...ended, gapsMs: [], resumes: 0, bytesMayBeMissing: false, reason: 'complete' };
  const text = sessionsText({ live: [], held: [], ended: [ended, whole] }, { withEnded: true, now: 0 });
  const [none, , header, line, other] = text.split('\n');
  t.equal(none, 'no live sessions');
  t.match(columns(header), ['ENDED', 'KIND', 'MEMBERSHIP', 'TARGET', 'LIVED', 'RESUMES', 'LAST GAPS', 'BYTES MISSING']);
  t.strictSame(columns(line).slice(4), ['2m5s', '4', '40ms 1.2s 1m5s', 'maybe', 'client closed (1000)']);
  t.strictSame(columns(other).slice(4), ['2m5s', '0', '-', 'no', 'complete']);
  t.equal(sessionsText({ live: [], held: [], ended: [ended] }, { withEnded: false, now: 0 }), 'no live sessions\n');
});
