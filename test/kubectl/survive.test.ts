import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ToolSet } from '../support/container-tools.js';
import { HeldScene } from '../support/held-scene.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { KubectlTerminal } from '../support/kubectl-terminal.js';
import { tellMissing } from '../support/missing.js';

const CUT = { cutAfterMs: 2000, form: 'reset', match: 'upgrade' } as const;
/** kubectl 1.27 speaks SPDY, the others WebSocket. Each meets containers of another kind. */
const VERSIONS: readonly (readonly [string, ToolSet])[] = [
  ['1.27', 'debian'],
  ['1.31', 'python'],
  ['1.33', 'script'],
  ['1.36', 'debian'],
];

interface Scene {
  readonly kubectl: Kubectl;
  readonly pod: ToolSet;
  readonly folder: string;
  readonly held: HeldScene;
}

// Most of each story is waiting for the next cut.
t.jobs = 2;

for (const [version, pod] of VERSIONS) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version} in a ${pod} container while the gateway cuts every 2 s`, { buffered: true }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-survive-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const held = await HeldScene.open(t, [pod, 'busybox'], { folder });
    held.daemon.emulator.faults.add(CUT);
    const kubeconfig = held.daemon.kubeconfig;
    const kubectl = new Kubectl({ path: found.path, kubeconfig, context: 'prod', home: folder });
    const scene = { kubectl, pod, folder, held };
    t.jobs = 4;
    const stories = [
      t.test('a counting loop', { buffered: true }, (t) => counting(t, scene)),
      t.test('a shell with variables and a running job', { buffered: true }, (t) => shell(t, scene)),
      t.test('Ctrl-C of a sleep, and the exit code', { buffered: true }, (t) => interrupt(t, scene)),
      t.test('copies both ways, in a busybox container', { buffered: true }, (t) => copies(t, scene)),
    ];
    await Promise.all(stories);
    await held.untilClean();
    t.equal(held.leftovers().length, 0, 'nothing is left in the containers');
  });
}

async function counting(t: Test, { kubectl, pod }: Scene): Promise<void> {
  const script = 'i=0; while [ $i -lt 45 ]; do i=$((i+1)); echo $i; sleep 0.1; done; echo over >&2; exit 5';
  const { code, stdout, stderr } = await kubectl.run(['exec', pod, '--', 'sh', '-c', script], {
    timeoutMs: 150_000,
  });
  t.equal(code, 5, stderr);
  t.equal(stdout, Array.from({ length: 45 }, (_, i) => `${i + 1}\n`).join(''), 'every line once, in order');
  t.equal(stderr, 'over\ncommand terminated with exit code 5\n', 'and not a word about the cuts');
}

async function shell(t: Test, { kubectl, pod }: Scene): Promise<void> {
  const terminal = await KubectlTerminal.start(kubectl, ['exec', '-it', pod, '--', 'bash', '--norc'], {
    columns: 77,
    rows: 11,
  });
  terminal.type('X=1; cd /var; sleep 100 &\r');
  await terminal.shows(/\[1\] \d+/);
  for (let i = 1; i <= 3; i++) {
    // Over a cut, or in the middle of one.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    terminal.type(`X=$((X+1)); echo "turn ${i}: $X $PWD $(jobs | grep -c Running) $(stty size)"\r`);
    await terminal.shows(new RegExp(`turn ${i}: ${i + 1} /var 1 11 77\r\n`));
  }
  terminal.type('kill %1; exit 5\r');
  t.equal(await terminal.exited, 5, terminal.screen);
  t.notMatch(terminal.screen, /connect-gateway-proxy/);
}

async function interrupt(t: Test, { kubectl, pod }: Scene): Promise<void> {
  const terminal = await KubectlTerminal.start(kubectl, ['exec', '-it', pod, '--', 'bash', '--norc']);
  terminal.type('echo begin; sleep 100\r');
  await terminal.shows(/begin\r\n/);
  await new Promise((resolve) => setTimeout(resolve, 2500));
  terminal.type('\x03');
  await terminal.shows(/\^C/);
  terminal.type('exit $?\r');
  t.equal(await terminal.exited, 130, terminal.screen);
}

async function copies(t: Test, { kubectl, folder }: Scene): Promise<void> {
  const local = join(folder, 'big');
  const back = join(folder, 'back');
  writeFileSync(local, randomBytes(2 * 1024 * 1024));
  t.match(await kubectl.run(['cp', local, 'busybox:big']), { code: 0 });
  t.match(await kubectl.run(['cp', 'busybox:big', back]), { code: 0 });
  const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
  t.equal(hash(back), hash(local));
}
