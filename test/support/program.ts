import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** One run of a program, both outputs in one text. */
export interface ProgramRun {
  readonly child: ChildProcess;
  output: string;
  readonly code: Promise<number>;
}

/** Never inherits more of the environment than PATH. */
export function startProgram(
  [file = '', ...args]: readonly string[],
  o: { env: Readonly<Record<string, string>>; cwd?: string },
): ProgramRun {
  const child = spawn(file, args, {
    env: { PATH: process.env['PATH'] ?? '', ...o.env },
    ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
  });
  const run: ProgramRun = {
    child,
    output: '',
    code: once(child, 'close').then(([code]) => (code as number | null) ?? 255),
  };
  const read = (chunk: Buffer): void => {
    run.output += chunk.toString();
  };
  child.stdin?.end();
  child.stdout?.on('data', read);
  child.stderr?.on('data', read);
  return run;
}

export async function runProgram(
  words: readonly string[],
  o: { env: Readonly<Record<string, string>>; cwd?: string },
): Promise<{ code: number; output: string }> {
  const run = startProgram(words, o);
  return { code: await run.code, output: run.output };
}

/** Resolves when the output matches; rejects when the program ends without. */
export async function outputOf(run: ProgramRun, pattern: RegExp): Promise<RegExpExecArray> {
  let over = false;
  void run.code.finally(() => {
    over = true;
  });
  for (;;) {
    const match = pattern.exec(run.output);
    if (match !== null) return match;
    if (over) throw new Error(`it ended without ${pattern}: ${run.output}`);
    await Promise.race([
      run.code,
      once(run.child.stdout ?? run.child, 'data'),
      once(run.child.stderr ?? run.child, 'data'),
    ]);
  }
}
