import t from 'tap';
import { LogLines } from '../../../src/kubernetes/log-lines.js';
import { judgeLogEnd, parseLogRequest } from '../../../src/kubernetes/log-request.js';

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
  for (let at = 0; at < bytes.length; at += size) out.push(...lines.push(bytes.subarray(at, at + size)));
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

t.test('what has no timestamp is an error', async (t) => {
  t.throws(() => push(new LogLines({ timestampsWanted: false }), Buffer.from('hello world\n')), /no timestamp/);
  t.throws(() => push(new LogLines({ timestampsWanted: false }), Buffer.alloc(100, 'x')), /no timestamp/);
  t.throws(
    () => push(new LogLines({ timestampsWanted: false }), Buffer.from('2026-11-24T10:00:00+01:00 x\n')),
    /no timestamp/,
  );
  t.equal(new LogLines({ timestampsWanted: true }).resumeTime, undefined);
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
    request.nextTarget({ sinceTime: '2026-11-24T10:00:00Z' }),
    '/api/v1/namespaces/n/pods/p/log?container=c%2Bd&follow=true&timestamps=true&sinceTime=2026-11-24T10%3A00%3A00Z',
  );
  t.match(request.nextTarget({ sinceTime: 'x', previous: true }), /previous=true/);
});

t.test('the pod decides whether the log goes on', async (t) => {
  const at = Date.parse('2026-11-24T10:00:05Z');
  const pod = (state: unknown): unknown => ({
    spec: { containers: [{ name: 'main' }, { name: 'side' }] },
    status: {
      containerStatuses: [
        { name: 'side', state: { running: { startedAt: '2026-11-24T09:00:00Z' } } },
        { name: 'main', state },
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
  t.equal(judgeLogEnd(pod({}), { since: at, container: 'side' }), 'follow-on');
  t.equal(judgeLogEnd(pod({}), { since: at, container: 'gone' }), 'end');
  t.equal(judgeLogEnd(undefined, { since: at }), 'end');
});
