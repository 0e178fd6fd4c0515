import { join } from 'node:path';
import t from 'tap';
import { createLogger } from '../../../src/base/log.js';
import { Progress, withProgress } from '../../../src/commands/progress.js';
import { type StatusFacts, statusText } from '../../../src/commands/status-text.js';
import type { MembershipView } from '../../../src/daemon/served-fleet.js';
import { commandIo, runCommand } from '../../support/command-io.js';
import { daemonScene } from '../../support/daemon-scene.js';
import { FakeClock } from '../../support/fake-clock.js';

const MINUTE = 60_000;

function membership(n: number, changes: Partial<MembershipView> = {}): MembershipView {
  const id = `cluster-${String(n).padStart(3, '0')}`;
  return {
    name: `projects/12/locations/europe-west1/memberships/${id}`,
    alias: id,
    project: '12',
    location: 'europe-west1',
    id,
    kind: 'gke',
    state: 'READY',
    stale: false,
    url: `https://127.0.0.1:${7500 + n}`,
    endpoint: 'https://connectgateway.googleapis.com/v1/x',
    endpointSource: 'formula',
    identity: 'default',
    principal: 'dev@example.com',
    chain: [],
    hasToken: true,
    policy: 'full',
    tokenExpiresAt: 41 * MINUTE,
    ...changes,
  };
}

function facts(memberships: readonly MembershipView[], changes: Partial<StatusFacts> = {}): StatusFacts {
  return {
    version: '1.0.0',
    ready: true,
    pid: 4711,
    hubUrl: 'https://127.0.0.1:7443',
    kubeconfigFile: '/home/dev/.local/share/connect-gateway-proxy/kubeconfig',
    memberships,
    streams: [],
    quota: [],
    startedAt: -5 * MINUTE,
    now: 0,
    ...changes,
  };
}

t.test('one membership reads well', async (t) => {
  t.equal(
    statusText(
      facts([membership(1, { policy: 'read-only' })], {
        streams: ['watch', 'exec', 'watch'],
        quota: [
          {
            project: '12',
            streams: { limit: 10, active: 1, waiting: 0, holders: [] },
            requests: { perMinute: 2400, lastMinute: 31, waiting: 2, refused: 0 },
          },
        ],
      }),
      { all: false },
    ),
    `connect-gateway-proxy 1.0.0: ready, process 4711, up 5m
  hub          https://127.0.0.1:7443
  kubeconfig   /home/dev/.local/share/connect-gateway-proxy/kubeconfig
  memberships  1 served
  streams      2 watch, 1 exec
  quota        project 12: 1 of 10 streams; 31 of 2400 requests in the last minute, 2 waiting
  identities   default: dev@example.com, token expires in 41m

NAME         LOCATION      URL                     POLICY     IDENTITY  STATUS
cluster-001  europe-west1  https://127.0.0.1:7501  read-only  default   ok
`,
  );
});

t.test('how an identity got its token, and why it did not', async (t) => {
  const changes = {
    identitySource: 'gcloud',
    tokenRefreshedAt: -3 * MINUTE,
    tokenFailure: {
      at: -MINUTE,
      code: 'reauthentication-required',
      message: 'Google asks for a new login; run: gcloud auth login',
    },
  };
  const text = statusText(facts([membership(1, changes)]), { all: false });
  t.match(text, 'default [gcloud]: dev@example.com, token expires in 41m, refreshed 3m ago\n');
  t.match(text, 'default failed 1m ago: Google asks for a new login; run: gcloud auth login\n');
});

t.test('two hundred fit on a screen, what is wrong first', async (t) => {
  const memberships = Array.from({ length: 200 }, (_item, n) => membership(n));
  memberships[150] = membership(150, {
    problem: 'port 7650 is taken by another program: process 9',
    identity: 'ci',
    principal: 'ci@p.iam',
    stale: true,
  });
  const text = statusText(facts(memberships, { ready: false }), { all: false });
  const lines = text.split('\n');
  t.ok(lines.length <= 36, `${lines.length} lines`);
  t.ok(
    lines.every((line) => line.length <= 100),
    'no line is too long for a terminal',
  );
  t.match(text, /^connect-gateway-proxy 1\.0\.0: not ready/);
  t.match(text, /memberships {2}200 served, 1 with a problem, 1 as last known/);
  t.match(
    text,
    / {2}identities {3}default: dev@example\.com, .*, 199 memberships\n {15}ci: ci@p\.iam, .*, 1 memberships\n/,
  );
  t.match(text, /STATUS\ncluster-150 .* ci +problem\ncluster-000 /, 'the failing one first');
  t.match(text, /\.\.\. and 180 more without problems: connect-gateway-proxy status --all\n/);
  t.match(text, /\ncluster-150: port 7650 is taken by another program: process 9\n$/);
  t.equal(statusText(facts(memberships), { all: true }).match(/^cluster-\d{3} /gm)?.length, 200);
  t.match(statusText(facts([]), { all: false }), /memberships {2}none yet; see the daemon's log/);
});

t.test('the command tells it of a running daemon', async (t) => {
  const at = await daemonScene(t, ['prod', 'edge']);
  await at.start();
  const o = { folder: join(at.folder, 'none'), stateDir: join(at.folder, 'state') };
  const { code, out, err } = await runCommand(['status'], o);
  t.equal(code, 0, err);
  t.match(out, /: ready, process \d+, up \d+s\n.*memberships {2}2 served.*\nedge .*ok\nprod .*ok\n$/s);
  t.match(JSON.parse((await runCommand(['status', '-o', 'json'], o)).out), {
    ...{ ready: true, kubeconfigFile: /kubeconfig$/, streams: [], quota: [] },
    memberships: [{}, {}],
  });
});

t.test('a person is told after a second what is waited for; a log is not', async (t) => {
  const clock = new FakeClock();
  for (const errIsTty of [true, false]) {
    const { io, written } = commandIo({ folder: '/', stateDir: '/', changes: { errIsTty, clock } });
    let done = (_value: string): void => {};
    const work = withProgress(
      io,
      'asking',
      () =>
        new Promise<string>((resolve) => {
          done = resolve;
        }),
    );
    clock.advance(900);
    t.equal(written.err, '', 'not at once');
    clock.advance(2200);
    t.equal(written.err, errIsTty ? '\r\x1b[Kasking (1s)\r\x1b[Kasking (2s)\r\x1b[Kasking (3s)' : '');
    done('answer');
    t.equal(await work, 'answer');
    if (errIsTty) t.ok(written.err.endsWith('(3s)\r\x1b[K'), 'and it leaves no trace');
    else t.equal(written.err, '');
    t.equal(clock.pendingTimers, 0);
  }
});

t.test('log lines and progress do not mix', async (t) => {
  const clock = new FakeClock();
  const { io, written } = commandIo({ folder: '/', stateDir: '/', changes: { errIsTty: true, clock } });
  const progress = new Progress(io, 'starting');
  const write = (line: string): void => {
    progress.clear();
    io.err(line);
  };
  const log = createLogger({ level: 'info', format: 'pretty', write });
  clock.advance(1000);
  log.info({ hub: 'https://127.0.0.1:7443', note: 'two words', token: 'secret' }, 'ready');
  progress.end();
  const [, , line = ''] = written.err.split('\r\x1b[K');
  t.match(
    line,
    /^\d\d:\d\d:\d\d\.\d{3} INFO {2}ready hub=https:\/\/127\.0\.0\.1:7443 note="two words" token=\[redacted\]\n$/,
  );
  const json: string[] = [];
  createLogger({ level: 'info', format: 'json', write: (text) => void json.push(text) }).info({ a: 1 }, 'ready');
  t.match(JSON.parse(json[0] ?? ''), { level: 'info', a: 1, msg: 'ready' });
});
