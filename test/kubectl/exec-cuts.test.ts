import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl, PLAIN_VERSIONS, STREAM_VERSIONS } from '../support/kubectl.js';
import { KubectlTerminal } from '../support/kubectl-terminal.js';
import { tellMissing } from '../support/missing.js';

/** Where streams are cut every 2 s. */
const CUT = { cutAfterMs: 2000, form: 'reset', match: 'upgrade', membership: 'prod' } as const;
/** Where copies are cut after so many bytes. */
const COPIES = 'edge-store';
/** What is typed in the instant of a cut is lost: it is typed again after this long without an answer. */
const AGAIN_MS = 1000;

interface Scene {
  readonly path: string;
  readonly version: string;
  readonly daemon: DemoDaemon;
  readonly folder: string;
}

const kubectlOf = ({ path, version, daemon, folder }: Scene, context = 'prod'): Kubectl =>
  new Kubectl({ path, kubeconfig: daemon.kubeconfig, context, home: join(folder, version) });

t.test('exec, attach and cp while the gateway cuts every 2 s, with any kubectl', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-cuts-'));
  // All of them together hold more streams than Google would let one fleet have.
  const daemon = await startDemoDaemon({
    folder,
    flags: { 'streams.limit': '100' },
    limits: { activeStreams: 100 },
  });
  t.teardown(async () => {
    await daemon.close();
    rmSync(folder, { recursive: true, force: true });
  });
  daemon.emulator.faults.add(CUT);
  // Most of each story is waiting for the next cut.
  t.jobs = 6;
  const stories: Promise<unknown>[] = [];
  const scenes: Scene[] = [];
  for (const version of [...PLAIN_VERSIONS, ...STREAM_VERSIONS]) {
    const found = findKubectl(version);
    if ('missing' in found) {
      tellMissing(t, found.missing);
      continue;
    }
    const scene = { path: found.path, version, daemon, folder };
    mkdirSync(join(folder, version));
    scenes.push(scene);
    const tell = (name: string, story: (t: Test, scene: Scene) => Promise<void>): void => {
      stories.push(t.test(`kubectl ${version}: ${name}`, { buffered: true }, (t) => story(t, scene)));
    };
    tell('a shell in a terminal is opened anew', shell);
    tell('a command ends with the truth', command);
    tell('attach goes on', attach);
  }
  stories.push(
    t.test('a copy out of the container says that it is incomplete', { buffered: true }, async (t) => {
      for (const scene of scenes) await copy(t, scene);
    }),
  );
  await Promise.all(stories);
});

async function shell(t: Test, scene: Scene): Promise<void> {
  const terminal = await KubectlTerminal.start(kubectlOf(scene), ['exec', '-it', 'box', '--', 'sh'], {
    columns: 77,
    rows: 11,
  });
  await asks(terminal, 'MINE=1; echo first=$((40+2))', /first=42/);
  await terminal.shows(/\r\n[^\r\n]*cut this session after \d+ s; this is a NEW shell[^\r\n]*\r\n/);
  terminal.screen = '';
  await asks(terminal, 'echo second=$((40+3))$MINE size=$(stty size)', /second=43 size=11 77\r\n/);
  terminal.screen = '';
  await terminal.shows(/NEW shell/);
  await repeating(() => terminal.type('exit 5\r'), terminal.exited);
  t.equal(await terminal.exited, 5, terminal.screen);
}

function asks(terminal: KubectlTerminal, question: string, answer: RegExp): Promise<void> {
  return repeating(() => terminal.type(`${question}\r`), terminal.shows(answer));
}

async function repeating<T>(speak: () => void, until: Promise<T>): Promise<T> {
  speak();
  const timer = setInterval(speak, AGAIN_MS);
  return until.finally(() => clearInterval(timer));
}

async function command(t: Test, scene: Scene): Promise<void> {
  const kubectl = kubectlOf(scene);
  const [sleeper, reader] = await Promise.all([
    kubectl.run(['exec', 'box', '--', 'sleep', '30']),
    kubectl.run(['exec', '-i', 'box', '--', 'sh', '-c', 'sleep 30']),
  ]);
  t.equal(sleeper.code, 1);
  t.match(sleeper.stderr, /the gateway cut this session after \d s.*its process may go on in the container/);
  t.equal(reader.code, 1);
  t.match(reader.stderr, /may be short/);
  const quick = await kubectl.run(['exec', 'box', '--', 'sh', '-c', 'exit 3']);
  t.equal(quick.code, 3, 'what ends before the cut ends as ever');
}

async function attach(t: Test, scene: Scene): Promise<void> {
  const attached = kubectlOf(scene).start(['attach', '-i', 'box']);
  const notices = attached.says(/(?:attached to the same container again[\s\S]*){2}/);
  const speak = async (): Promise<void> => {
    const word = randomBytes(6).toString('hex');
    // Attach has no prompt.
    const echoed = attached.until(new RegExp(word));
    await repeating(() => attached.child.stdin?.write(`${word}\n`), echoed);
  };
  await speak();
  await notices;
  await speak();
  await attached.stop('SIGTERM');
  t.pass('what is typed comes back, before and after two cuts, each of which is told of');
}

async function copy(t: Test, scene: Scene): Promise<void> {
  const { folder, daemon, version } = scene;
  const { faults } = daemon.emulator;
  const kubectl = kubectlOf(scene, COPIES);
  const local = join(folder, version, 'big');
  const back = join(folder, version, 'back');
  writeFileSync(local, randomBytes(2 * 1024 * 1024));
  t.equal((await kubectl.run(['cp', local, 'box:big'])).code, 0);
  const CUT_ONCE = {
    cutAfterBytes: 1024 * 1024,
    form: 'reset',
    match: 'upgrade',
    membership: COPIES,
    times: 1,
  } as const;
  faults.add(CUT_ONCE);
  // kubectl retries what breaks, and not what has failed: the message says so.
  const cut = await kubectl.run(['cp', '--retries=3', 'box:big', back]);
  t.equal(cut.code, 1, version);
  t.match(cut.stderr, /the copy is incomplete.*kubectl cp --retries/);
}
