import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { SessionReport } from '../../src/daemon/session-report.js';
import { type CommandOutcome, runCommand } from '../support/command-io.js';
import { DaemonClient } from '../support/daemon-client.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';

const MAPS = '/api/v1/namespaces/default/configmaps';
const POD = '/api/v1/namespaces/default/pods/box';

const folder = mkdtempSync(join(tmpdir(), 'cgp-kill-'));
let demo: DemoDaemon;
let client: DaemonClient;

t.before(async () => {
  demo = await startDemoDaemon({ folder });
  client = new DaemonClient(demo.kubeconfig, 'edge-store');
});
t.teardown(async () => {
  await demo.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...args: string[]): Promise<CommandOutcome> =>
  runCommand(args, { folder: join(folder, 'no-config'), stateDir: join(folder, 'state') });

async function onlySession(): Promise<string> {
  const { live } = JSON.parse((await run('sessions', '-o', 'json')).out) as SessionReport;
  t.equal(live.length, 1);
  return live[0]?.id ?? '';
}

async function lastReason(): Promise<string> {
  for (;;) {
    const { live, ended } = JSON.parse((await run('sessions', '-o', 'json')).out) as SessionReport;
    if (live.length === 0) return ended[0]?.reason ?? '';
  }
}

t.test('a watch gets an ERROR event', async (t) => {
  const watch = await client.stream(`${MAPS}?watch=1`);
  await watch.next();
  const id = await onlySession();
  t.match(await run('sessions', 'kill', id), { code: 0, out: `ended session ${id}\n` });
  let last: { type: string; object: { code?: number; message?: string } } | undefined;
  for (let line = await watch.next(); line !== undefined; line = await watch.next()) last = JSON.parse(line);
  t.match(last, { type: 'ERROR', object: { code: 410, message: /sessions kill/ } });
  t.equal(await lastReason(), 'ended by sessions kill');
});

t.test('an exec gets a Status on its error channel, and its stream is free again', async (t) => {
  const exec = client.webSocket(`${POD}/exec?command=sleep&command=100&stdout=true`);
  let status = '';
  exec.on('message', (data: Buffer) => {
    if (data[0] === 3) status += data.subarray(1).toString();
  });
  await once(exec, 'open');
  t.match((await run('status')).out, /1 of 10 streams/);
  const closed = once(exec, 'close');
  t.equal((await run('sessions', 'kill', await onlySession())).code, 0);
  await closed;
  t.match(JSON.parse(status), { status: 'Failure', message: /sessions kill/ });
  t.equal(await lastReason(), 'ended by sessions kill');
  t.match((await run('status')).out, /0 of 10 streams/);
});

t.test('ids that are none are named, the others are ended', async (t) => {
  const exec = client.webSocket(`${POD}/exec?command=sleep&command=100&stdout=true`);
  await once(exec, 'open');
  const closed = once(exec, 'close');
  const id = await onlySession();
  const outcome = await run('sessions', 'kill', 'nobody', id);
  t.match(outcome, { code: 1, out: `ended session ${id}\n`, err: /no live session has the id nobody; there are none/ });
  await closed;
  t.match(await run('sessions', 'kill'), { code: 2, err: /missing required argument/ });
  t.match(await run('sessions', 'kill', '../x'), { code: 1, err: /404|no live session/ });
});

t.test('the daemon is found by the flags that are given here, wherever they stand', async (t) => {
  const state = ['--state-dir', join(folder, 'state')];
  const elsewhere = { folder: join(folder, 'no-config'), stateDir: join(folder, 'nothing-here') };
  for (const words of [
    ['sessions', ...state, 'kill', 'nobody'],
    ['sessions', 'kill', ...state, 'nobody'],
    ['sessions', 'kill', 'nobody', ...state],
    ['sessions', 'rejoin', 'nobody', ...state],
  ]) {
    t.match(await runCommand(words, elsewhere), { code: 1, err: /no (?:live )?session/ }, words.join(' '));
  }
  t.match(await runCommand(['sessions', 'kill', 'nobody'], elsewhere), { code: 1, err: /no daemon runs with/ });
});

t.test("only the hub's own token may do it", async (t) => {
  const { hubUrl } = demo.daemon;
  t.match(await client.askHub(hubUrl, '/-/sessions/x/kill', 'POST'), { status: 401 });
  t.match(await client.askHub(hubUrl, '/-/settings', 'GET'), { status: 401 });
  t.match(await client.askHub(hubUrl, '/-/quota', 'GET'), { status: 200 });
});
