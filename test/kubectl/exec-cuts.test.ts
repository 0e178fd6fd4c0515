import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl, PLAIN_VERSIONS, STREAM_VERSIONS } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const CUT = { cutAfterMs: 2000, form: 'reset', match: 'upgrade' } as const;

interface Scene {
  readonly kubectl: Kubectl;
  readonly daemon: DemoDaemon;
  readonly folder: string;
}

// Most of each story is waiting for the next cut.
t.jobs = 4;

for (const version of [...PLAIN_VERSIONS, ...STREAM_VERSIONS]) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version} while the gateway cuts every 2 s`, { buffered: true }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-cuts-'));
    const daemon = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    daemon.emulator.faults.add(CUT);
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    const scene = { kubectl, daemon, folder };
    await t.test('a shell in a terminal is opened anew', (t) => shell(t, scene));
    await t.test('a command ends with the truth', (t) => command(t, scene));
    await t.test('attach goes on', (t) => attach(t, scene));
    await t.test('a copy out of the container says that it is incomplete', (t) => copy(t, scene));
  });
}

async function shell(t: Test, { kubectl }: Scene): Promise<void> {
  const { spawn } = await import('@lydell/node-pty');
  const terminal = spawn(kubectl.path, kubectl.args(['exec', '-it', 'box', '--', 'sh']), {
    cols: 77,
    rows: 11,
    env: kubectl.env as Record<string, string>,
  });
  let screen = '';
  let wake = (): void => {};
  terminal.onData((data) => {
    screen += data;
    wake();
  });
  const exited = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)));
  const shows = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(screen)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  terminal.write('MINE=1; echo first=$((40+2))\r');
  await shows(/first=42/);
  await shows(/\r\n[^\r\n]*cut this session after \d s; this is a NEW shell[^\r\n]*\r\n/);
  screen = '';
  terminal.write(
    'echo second=$((40+3))$MINE; until [ "$(stty size)" = "11 77" ]; do sleep 0.05; done; echo size=$(stty size)\r',
  );
  await shows(/second=43\r\n/);
  await shows(/size=11 77/);
  screen = '';
  await shows(/NEW shell/);
  terminal.write('exit 5\r');
  t.equal(await exited, 5, screen);
}

async function command(t: Test, { kubectl }: Scene): Promise<void> {
  const sleeper = await kubectl.run(['exec', 'box', '--', 'sleep', '30']);
  t.equal(sleeper.code, 1);
  t.match(sleeper.stderr, /the gateway cut this session after [1-3] s.*its process may go on in the container/);
  const reader = await kubectl.run(['exec', '-i', 'box', '--', 'sh', '-c', 'sleep 30']);
  t.equal(reader.code, 1);
  t.match(reader.stderr, /may be short/);
  const quick = await kubectl.run(['exec', 'box', '--', 'sh', '-c', 'exit 3']);
  t.equal(quick.code, 3, 'what ends before the cut ends as ever');
}

async function attach(t: Test, { kubectl, daemon }: Scene): Promise<void> {
  const attached = kubectl.start(['attach', '-i', 'box']);
  const speak = async (): Promise<void> => {
    const word = randomBytes(6).toString('hex');
    // Attach has no prompt, and what is said in the instant of a cut may be lost: speak until the echo comes.
    const timer = setInterval(() => attached.child.stdin?.write(`${word}\n`), 200);
    await attached.until(new RegExp(word)).finally(() => clearInterval(timer));
  };
  const attaches = (): number =>
    daemon.emulator.requests.filter(({ target, status }) => target.includes('/attach') && status === 101).length;
  while (attaches() < 3) await speak();
  await speak();
  await attached.stop('SIGTERM');
  const notices = (await attached.stderr).match(/attached to the same container again/g) ?? [];
  t.ok(notices.length >= 2, `${notices.length} cuts were told of`);
}

async function copy(t: Test, { kubectl, folder, daemon }: Scene): Promise<void> {
  const local = join(folder, 'big');
  const back = join(folder, 'back');
  writeFileSync(local, randomBytes(4 * 1024 * 1024));
  daemon.emulator.faults.clear();
  t.equal((await kubectl.run(['cp', local, 'box:big'])).code, 0);
  daemon.emulator.faults.add({ cutAfterBytes: 1024 * 1024, form: 'reset', match: 'upgrade', times: 1 });
  const cut = await kubectl.run(['cp', 'box:big', back]);
  t.equal(cut.code, 1);
  t.match(cut.stderr, /the copy is incomplete.*kubectl cp --retries/);
  daemon.emulator.faults.add({ cutAfterBytes: 1024 * 1024, form: 'reset', match: 'upgrade', times: 1 });
  const retried = await kubectl.run(['cp', '--retries=3', 'box:big', back]);
  t.equal(retried.code, 1, 'kubectl does not retry after a Failure, as the message says');
}
