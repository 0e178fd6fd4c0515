import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { CutForm } from '../../src/emulator/google/faults.js';
import { HeldScene } from '../support/held-scene.js';
import { findNewestKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const SETS = ['debian', 'python', 'script'] as const;
const PROGRAMS = ['vim', 'less', 'top'] as const;
/** The screen of an exec that nobody holds: what the others are compared with. */
const PLAIN = 'plain';
/** A client tells the size after the command has begun: less that hears of it while it reads its file shows another part of it. */
const ONCE_SIZED = 'until [ "$(stty size)" = "24 80" ]; do sleep 0.02; done; exec "$@"';
/** Of load, memory and the like: no two runs of top show the same. */
const TOP_NUMBERS = /(top -|Tasks|%Cpu|MiB Mem|MiB Swap)[^\n]*|[\d.:, ]+/g;

const ESCAPE = '\x1b';
const ATTRIBUTES = new RegExp(`${ESCAPE}\\[[\\d;]*m`, 'g');
const ATTRIBUTES_AT_END = new RegExp(`(${ATTRIBUTES.source})+$`, 'gm');

interface Step {
  /** As `tmux send-keys` names them. */
  readonly keys?: readonly string[];
  /** As a terminal pastes it. */
  readonly paste?: string;
  readonly size?: readonly [columns: number, rows: number];
  /** What the plain screen comes to show. */
  readonly shows: RegExp;
}

async function compare(path: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-screens-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const lines = Array.from({ length: 300 }, (_, i) => `line ${i}: grün, 30 €, 𝄞 ${'x'.repeat(i % 90)}\n`).join('');
  const file = join(folder, 'text');
  writeFileSync(file, lines);
  const [held, plain] = await Promise.all([
    HeldScene.open(t, SETS, { programs: PROGRAMS }),
    HeldScene.open(t, ['debian'], { programs: PROGRAMS, flags: { 'exec.onCutoff': 'end' } }),
  ]);
  const tmux = new Tmux(folder);
  t.teardown(() => tmux.end());
  const run = (scene: HeldScene, pod: string, command: readonly string[]): readonly string[] => {
    const client = new Kubectl({ path, kubeconfig: scene.daemon.kubeconfig, context: 'prod', home: folder });
    const env = Object.entries(client.env).map(([name, value]) => `${name}=${value}`);
    const inPod = ['env', 'LC_ALL=C.UTF-8', 'sh', '-c', ONCE_SIZED, 'sh', ...command];
    return ['env', '-i', ...env, path, ...client.args(['exec', '-it', pod, '--', ...inPod])];
  };
  const story = (name: string, command: readonly string[], steps: readonly Step[], mask = /$^/): void => {
    t.test(name, async (t) => {
      t.teardown(() => {
        for (const screen of [PLAIN, ...SETS]) tmux.close(screen);
      });
      tmux.open(PLAIN, run(plain, 'debian', command));
      for (const set of SETS) tmux.open(set, run(held, set, command));
      for (const [number, step] of steps.entries()) {
        for (const screen of [PLAIN, ...SETS]) tmux.play(screen, step);
        const shown = (): string[] => tmux.screens([PLAIN, ...SETS]).map((screen) => screen.replace(mask, ' '));
        await sameScreens(t, shown, `${number}: ${step.shows}`, step);
        if (!t.passing()) return;
        if (number < steps.length - 1) await cutAll(held, number % 2 ? 'fin' : 'reset');
      }
      await held.untilClean();
    });
  };

  story(
    'vim',
    ['vim', '-u', 'NONE', '-i', 'NONE', '-N', '-n', file],
    [
      { shows: /line 0:/ },
      { keys: ['C-l', 'G', 'i', 'grüße €'], shows: /INSERT/ },
      { keys: ['Escape', ':set number', 'Enter'], shows: /300 .*line 299: / },
      // With 24 rows it begins at 278.
      { size: [100, 30], shows: /272 line 271: / },
      { keys: ['C-b', 'v', 'j', 'j'], shows: /VISUAL/ },
      { keys: ['y', ':q!', 'Enter'], shows: /^\[over\]/m },
    ],
  );
  story(
    'less',
    ['less', '-X', '-Plines %lt to %lb', file],
    [
      { shows: /line 0:/ },
      { keys: ['Space', '/line 250', 'Enter'], shows: /^lines 251 to 262/m },
      // Shown once less has drawn it anew: tmux does at once, and less drops a key that comes together with a signal. The rows
      // alone: stty sets rows and columns one after the other, and of two signals less may keep the second for the next key.
      { size: [80, 17], shows: /^lines 251 to 258/m },
      { keys: ['g'], shows: /^lines 1 to 16/m },
      { keys: ['q'], shows: /^\[over\]/m },
    ],
  );
  story(
    'top',
    ['top', '-p', '1', '-d', '1000'],
    [
      { shows: /PID USER/ },
      { keys: ['c'], shows: /COMMAND/ },
      { size: [90, 20], shows: /PID USER/ },
      { keys: ['q'], shows: /^\[over\]/m },
    ],
    TOP_NUMBERS,
  );
  story(
    'a paste into a shell',
    ['bash', '--norc', '--noprofile'],
    [
      { shows: /bash.*#$/m },
      { paste: 'echo first\necho grün €\n', shows: /echo grün €/ },
      { keys: ['Enter'], shows: /^grün €$/m },
      { keys: ['C-d'], shows: /^\[over\]/m },
    ],
  );
}

/** Waits until the plain screen shows what it should, and all others the same. */
async function sameScreens(t: Test, shown: () => string[], what: string, { shows }: Step): Promise<void> {
  let screens: string[] = [];
  for (const end = Date.now() + 30_000; Date.now() < end; await setTimeout(100)) {
    screens = shown();
    const all = screens.every((screen) => shows.test(withoutAttributes(screen)));
    if (all && new Set(screens).size === 1) break;
  }
  t.match(withoutAttributes(screens[0] ?? ''), shows, what);
  for (const [index, set] of SETS.entries()) t.equal(screens[index + 1], screens[0], `${what} in ${set}`);
}

async function cutAll(held: HeldScene, form: CutForm): Promise<void> {
  for (let cuts = 0; cuts < SETS.length; await setTimeout(20)) cuts += held.cut(form);
}

function withoutAttributes(screen: string): string {
  return screen.replace(ATTRIBUTES, '');
}

/** A terminal for each command, of 80 columns and 24 rows. */
class Tmux {
  readonly #server: readonly string[];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    const config = join(folder, 'tmux.conf');
    writeFileSync(config, 'set -g status off\nset -g default-terminal screen\n');
    this.#server = ['-u', '-S', join(folder, 'tmux'), '-f', config];
    this.#run(['new-session', '-d', '-s', 'stays', 'sleep', '1000']);
  }

  open(name: string, command: readonly string[]): void {
    // The exit code is a part of what is compared.
    const script = '"$@"; echo "[over] $?"; exec sleep 1000';
    this.#run(['new-session', '-d', '-s', name, '-x', '80', '-y', '24', 'sh', '-c', script, 'sh', ...command]);
  }

  play(name: string, { keys, paste, size }: Step): void {
    if (size !== undefined) this.#run(['resize-window', '-t', name, '-x', String(size[0]), '-y', String(size[1])]);
    if (keys !== undefined) this.#run(keys.flatMap((key) => ['send-keys', '-t', name, key, ';']));
    if (paste === undefined) return;
    const file = join(this.#folder, 'paste');
    writeFileSync(file, paste);
    this.#run(['load-buffer', file, ';', 'paste-buffer', '-p', '-t', name]);
  }

  /** Text, attributes, cursor and width of each, in one look. */
  screens(names: readonly string[]): string[] {
    const end = 'cursor and width:';
    const looks = names.flatMap((name) => [
      ...['capture-pane', '-p', '-e', '-t', name, ';'],
      ...['display-message', '-p', '-t', name, `${end} #{cursor_x} #{cursor_y} #{pane_width}`, ';'],
    ]);
    // Attributes at the end of a line nobody sees, and they hang on which keys have come together.
    return this.#run(looks)
      .replace(ATTRIBUTES_AT_END, '')
      .split(new RegExp(`(?<=^${end}.*\\n)`, 'm'));
  }

  close(name: string): void {
    this.#run(['kill-session', '-t', name]);
  }

  end(): void {
    this.#run(['kill-server']);
  }

  #run(words: readonly string[]): string {
    const env = { ...process.env, LC_ALL: 'C.UTF-8' };
    return execFileSync('tmux', [...this.#server, ...words], { encoding: 'utf8', stdio: 'pipe', env });
  }
}

function isThere(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

const missing = ['tmux', ...PROGRAMS].filter((name) => !isThere(name));
const kubectl = findNewestKubectl();
if (missing.length > 0) tellMissing(t, `no ${missing.join(', ')} on PATH`);
else if ('missing' in kubectl) tellMissing(t, kubectl.missing);
else await compare(kubectl.path);
