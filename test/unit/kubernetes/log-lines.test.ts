import t from 'tap';
import { LogLines } from '../../../src/kubernetes/log-lines.js';
import { judgeLogEnd, parseLogRequest } from '../../../src/kubernetes/log-request.js';
import { lent } from '../../support/lent.js';

/** A container's log as the server gives it: everything from a second on, with timestamps. */
const LOG = [
  '2026-11-24T10:00:00.000000001Z first\n',
  '2026-11-24T10:00:00.500000000Z equal\n',
  '2026-11-24T10:00:00.500000000Z equal\n',
  '2026-11-24T10:00:00.500000000Z \n',
  '2026-11-24T10:00:01Z a longer line, with spaces and ünïcödé\n',
  '2026-11-24T10:00:01.000000002Z \u0000\u0001 binary 2026-11-24T10:00:00Z\n',
  '2026-11-24T10:00:03.000000000Z last\n',
].map((line) => Buffer.from(line));

const since = (time: string): Buffer =>
  Buffer.concat(LOG.filter((line) => line.toString().slice(0, 19) >= time.slice(0, 19)));
const WHOLE = since('');
const withoutStamps = Buffer.concat(LOG.map((line) => line.subarray(line.indexOf(' ') + 1)));

function push(lines: LogLines, bytes: Buffer, size = bytes.length): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    out.push(lent(bytes.subarray(at, at + size), (chunk) => lines.push(chunk)));
  }
  return Buffer.concat(out);
}

for (const timestampsWanted of [false, true]) {
  const expected = timestampsWanted ? WHOLE : withoutStamps;
  const how = timestampsWanted ? 'with timestamps' : 'without timestamps';

  t.test(`a log passes whole at every chunk size, ${how}`, async (t) => {
    for (const size of [1, 2, 5, 1000]) {
      t.ok(push(new LogLines({ timestampsWanted }), WHOLE, size).equals(expected), `${size} bytes`);
    }
  });

  t.test(`cut after every byte, every line comes once, ${how}`, async (t) => {
    let wrong = 0;
    for (let at = 0; at <= WHOLE.length; at++) {
      const lines = new LogLines({ timestampsWanted });
      const first = push(lines, WHOLE.subarray(0, at));
      lines.cut();
      const second = push(lines, since(lines.resumeTime ?? ''));
      if (!Buffer.concat([first, second]).equals(expected)) wrong++;
    }
    t.equal(wrong, 0);
  });

  t.test(`cut again while the last second comes again, ${how}`, async (t) => {
    let wrong = 0;
    for (let at = 0; at <= WHOLE.length; at += 3) {
      for (let again = 0; again <= WHOLE.length; again += 5) {
        const lines = new LogLines({ timestampsWanted });
        const out = [push(lines, WHOLE.subarray(0, at))];
        lines.cut();
        out.push(push(lines, since(lines.resumeTime ?? '').subarray(0, again)));
        lines.cut();
        lines.cut();
        out.push(push(lines, since(lines.resumeTime ?? '')));
        if (!Buffer.concat(out).equals(expected)) wrong++;
      }
    }
    t.equal(wrong, 0);
  });
}

t.test('a begun line whose rest is gone is ended before the next', async (t) => {
  const lines = new LogLines({ timestampsWanted: false });
  const first = push(lines, Buffer.from('2026-11-24T10:00:00Z begun'));
  lines.cut();
  const second = push(lines, Buffer.from('2026-11-24T10:05:00Z after rotation\n'));
  t.equal(`${first}${second}`, 'begun\nafter rotation\n');
});

t.test('a node in another time zone: its offset is a part of the timestamp', async (t) => {
  const lines = new LogLines({ timestampsWanted: true });
  const log = ['2026-11-24T12:00:00.1+02:00 one\n', '2026-11-24T12:00:03.2+02:00 two\n'].map((line) =>
    Buffer.from(line),
  );
  t.equal(push(lines, Buffer.concat(log)).toString(), Buffer.concat(log).toString());
  t.equal(lines.resumeTime, '2026-11-24T10:00:02Z', 'a second before, in UTC');
  t.equal(lines.newestMs, Date.parse('2026-11-24T10:00:03.2Z'));
  lines.cut();
  t.equal(push(lines, log[1] ?? Buffer.alloc(0)).length, 0);
});

t.test('the kubelet’s own words pass, and end the log', async (t) => {
  for (const words of [
    'failed to create fsnotify watcher: too many open files',
    'EOF\n',
    '42\n',
    '\n',
    'x'.repeat(100),
  ]) {
    for (const size of [1, 7, 200]) {
      const lines = new LogLines({ timestampsWanted: false });
      const whole = Buffer.from(`2026-11-24T10:00:00Z line\n${words}`);
      t.equal(push(lines, whole, size).toString(), `line\n${words}`);
      t.ok(lines.endedInWords);
      t.ok(lines.broughtNew);
      lines.cut();
      t.notOk(lines.endedInWords);
    }
  }
  const lines = new LogLines({ timestampsWanted: false });
  push(lines, Buffer.from('unexpected words\n2026-11-24T10:00:00Z line\n'));
  t.notOk(lines.endedInWords, 'the log goes on behind them');
});

/** What a server says since a second of `log`. */
const from = (log: readonly string[], lines: LogLines): Buffer =>
  Buffer.from(
    log
      .filter((line) => Date.parse(line.split(' ')[0] ?? '') >= Date.parse(lines.resumeTime ?? '2000-01-01T00:00:00Z'))
      .join(''),
  );

t.test('a tail that began inside the last second, or inside one timestamp, is not made longer by a cut', async (t) => {
  const second = Array.from({ length: 10 }, (_item, n) => `2026-11-24T10:00:00.${n < 5 ? `00${n}` : '5'}Z line ${n}\n`);
  for (let tailLines = 1; tailLines <= 10; tailLines++) {
    for (const later of [[], ['2026-11-24T10:00:00.7Z more\n', '2026-11-24T10:00:09Z more\n']]) {
      const lines = new LogLines({ timestampsWanted: true, beginsInside: true, tailLines });
      let out = push(lines, Buffer.from(second.slice(-tailLines).join(''))).toString();
      const log = [...second, ...later];
      for (let cuts = 0; cuts < 3; cuts++) {
        lines.cut();
        out += push(lines, from(log, lines)).toString();
      }
      t.equal(out, [...second.slice(-tailLines), ...later].join(''), `tail ${tailLines}`);
      t.notOk(lines.mayHaveMissed);
    }
  }
});

t.test('standard output and error are stamped apart: neighbours may be out of order, over seconds too', async (t) => {
  const log = [
    '2026-11-24T10:00:00.9Z out 1\n',
    '2026-11-24T10:00:01.1Z out 2\n',
    '2026-11-24T10:00:00.8Z err 1\n',
    '2026-11-24T10:00:01.0Z err 2\n',
    '2026-11-24T10:00:01.3Z out 3\n',
  ];
  for (let first = 0; first <= log.length; first++) {
    for (let second = first; second <= log.length; second++) {
      const lines = new LogLines({ timestampsWanted: true });
      let out = push(lines, Buffer.from(log.slice(0, first).join(''))).toString();
      lines.cut();
      out += push(lines, from(log.slice(0, second), lines)).toString();
      lines.cut();
      out += push(lines, from(log, lines)).toString();
      t.equal(out, log.join(''));
    }
  }
});

t.test('a log that was rotated meanwhile: it goes on, and that lines may be missing is known', async (t) => {
  const lines = new LogLines({ timestampsWanted: true });
  push(lines, Buffer.from('2026-11-24T10:00:00Z one\n2026-11-24T10:00:00.5Z two\n'));
  lines.cut();
  t.equal(push(lines, Buffer.from('2026-11-24T10:00:00.9Z four\n')).toString(), '2026-11-24T10:00:00.9Z four\n');
  t.ok(lines.mayHaveMissed);
});

t.test('a node’s clock that is set back does not end the log', async (t) => {
  const lines = new LogLines({ timestampsWanted: false });
  push(lines, Buffer.from('2026-11-24T11:00:00Z one\n'));
  t.equal(push(lines, Buffer.from('2026-11-24T10:00:00Z two\n')).toString(), 'two\n');
  t.equal(lines.resumeTime, '2026-11-24T09:59:59Z');
});

t.test('the request upstream always has timestamps, and after a cut only the time counts', async (t) => {
  const target =
    '/api/v1/namespaces/n/pods/p/log?container=c%2Bd&follow=true&tailLines=5&limitBytes=10&sinceSeconds=9&timestamps=false';
  const request = parseLogRequest(target);
  t.match(request, {
    timestamps: false,
    limitBytes: 10,
    container: 'c+d',
    previous: false,
    podTarget: '/api/v1/namespaces/n/pods/p',
  });
  t.equal(
    request.firstTarget,
    '/api/v1/namespaces/n/pods/p/log?container=c%2Bd&follow=true&tailLines=5&sinceSeconds=9&timestamps=true',
  );
  t.equal(
    request.nextTarget({ sinceTime: '2026-11-24T10:00:00Z', previous: false }),
    '/api/v1/namespaces/n/pods/p/log?container=c%2Bd&follow=true&timestamps=true&sinceTime=2026-11-24T10%3A00%3A00Z',
  );
  t.match(request.nextTarget({ sinceTime: 'x', previous: true }), /previous=true/);
  t.match(request, { tailLines: 5, beginsInside: true });
  t.equal(
    request.nextTarget({ previous: false }),
    '/api/v1/namespaces/n/pods/p/log?container=c%2Bd&follow=true&tailLines=5&sinceSeconds=9&timestamps=true',
  );
  const other = parseLogRequest(
    '/api/v1/namespaces/n/pods/p/log?follow=1&stream=Stderr&insecureSkipTLSVerifyBackend=true',
  );
  t.notOk(other.beginsInside);
  t.equal(
    other.nextTarget({ sinceTime: 'x', previous: false }),
    '/api/v1/namespaces/n/pods/p/log?follow=1&stream=Stderr&insecureSkipTLSVerifyBackend=true&timestamps=true&sinceTime=x',
  );
  t.ok(parseLogRequest('/api/v1/namespaces/n/pods/p/log?follow=1&timestamps=True').timestamps);
});

t.test('the pod decides whether the log goes on', async (t) => {
  const at = Date.parse('2026-11-24T10:00:05Z');
  const pod = (state: unknown, lastState: unknown = {}): unknown => ({
    spec: { containers: [{ name: 'main' }, { name: 'side' }] },
    status: {
      containerStatuses: [
        { name: 'side', state: { running: { startedAt: '2026-11-24T09:00:00Z' } } },
        { name: 'main', state, lastState },
      ],
    },
  });
  t.equal(judgeLogEnd(pod({ running: { startedAt: '2026-11-24T10:00:00Z' } }), { since: at }), 'follow-on');
  t.equal(
    judgeLogEnd(pod({ running: { startedAt: '2026-11-24T10:00:09Z' } }), { since: at }),
    'fetch-the-rest-of-previous',
  );
  t.equal(judgeLogEnd(pod({ terminated: { exitCode: 0 } }), { since: at }), 'fetch-the-rest');
  t.equal(judgeLogEnd(pod({ waiting: {} }), { since: at }), 'end');
  const ours = { terminated: { startedAt: '2026-11-24T10:00:00Z' } };
  const another = { terminated: { startedAt: '2026-11-24T10:00:07Z' } };
  const younger = { startedAt: '2026-11-24T10:00:09Z' };
  for (const state of [{ waiting: {} }, { running: younger }, { terminated: younger }]) {
    t.equal(judgeLogEnd(pod(state, ours), { since: at }), 'fetch-the-rest-of-previous');
    t.equal(judgeLogEnd(pod(state, another), { since: at }), 'end', 'it has been started twice');
  }
  t.equal(judgeLogEnd(pod(another), { since: at + 60_000 }), 'fetch-the-rest');
  t.equal(judgeLogEnd(pod({}), { since: at, container: 'side' }), 'follow-on');
  t.equal(judgeLogEnd(pod({}), { since: at, container: 'gone' }), 'end');
  t.equal(judgeLogEnd(undefined, { since: at }), 'end');
});
