import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { MEBIBYTE } from './servers.js';

const KEYSTROKES = 300;

/** One way to carry streams: which kubectl, where it connects to, and which pod it looks for there. */
export interface Route {
  readonly kubectl: string;
  readonly kubeconfig: string;
  readonly context?: string;
  /** `box` when left out. */
  readonly pod?: string;
}

function podOf({ pod = 'box' }: Route): string {
  return pod;
}

/** MiB/s, from kubectl's start to its end. */
export async function execStdout(route: Route, bytes: number): Promise<number> {
  const begun = performance.now();
  const child = start(route, ['exec', podOf(route), '--', 'head', '-c', String(bytes), '/dev/zero']);
  child.stdin.end();
  let got = 0;
  for await (const chunk of child.stdout) got += (chunk as Buffer).length;
  if (got !== bytes) throw new Error(`exec gave ${got} bytes of ${bytes}`);
  return rate(bytes, begun);
}

/** MiB/s, from kubectl's start to its end. */
export async function execStdin(route: Route, bytes: number): Promise<number> {
  const begun = performance.now();
  const child = start(route, ['exec', '-i', podOf(route), '--', 'wc', '-c']);
  zeros(bytes).pipe(child.stdin);
  let said = '';
  for await (const chunk of child.stdout) said += String(chunk);
  if (Number(said) !== bytes) throw new Error(`exec was told ${said} bytes of ${bytes}`);
  return rate(bytes, begun);
}

/** ms from a key to its echo, without a terminal's own. */
export async function keystrokes(route: Route): Promise<{ p50: number; p99: number }> {
  const child = start(route, ['exec', '-i', podOf(route), '--', 'cat']);
  const press = async (): Promise<number> => {
    const begun = performance.now();
    const echoed = once(child.stdout, 'data');
    child.stdin.write('x');
    await echoed;
    return performance.now() - begun;
  };
  for (let i = 0; i < 20; i++) await press();
  const times: number[] = [];
  for (let i = 0; i < KEYSTROKES; i++) times.push(await press());
  child.kill('SIGKILL');
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.floor(part * (times.length - 1))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function start({ kubectl, kubeconfig, context }: Route, words: readonly string[]): ChildProcessWithoutNullStreams {
  const where = ['--kubeconfig', kubeconfig, ...(context === undefined ? [] : ['--context', context])];
  const child = spawn(kubectl, [...where, ...words], { stdio: 'pipe' });
  child.stdin.on('error', () => {});
  child.stderr.pipe(process.stderr);
  return child;
}

export function zeros(bytes: number): Readable {
  const piece = Buffer.alloc(65_536);
  return Readable.from(
    (function* () {
      for (let left = bytes; left > 0; left -= piece.length) yield piece;
    })(),
  );
}

/** MiB/s since then. */
export function rate(bytes: number, begun: number): number {
  return bytes / MEBIBYTE / ((performance.now() - begun) / 1000);
}
