import { spawn } from 'node:child_process';
import { accessSync, constants as fsConstants, statSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { systemCode } from '../../base/errors.js';
import type { TerminalSize } from '../../kubernetes/remote-command.js';
import { processTree } from './process-tree.js';
import type { OutputStream, WorkloadInput } from './workload.js';

/** How to run a program in a container's folder. */
export interface ProgramSpec {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: boolean;
  /** The end of the program is the end of everything it started, as with the first process of a container. */
  readonly endsGroup: boolean;
}

export interface ProgramEvents {
  onOutput(stream: OutputStream, data: Buffer): void;
  /** After the last output. */
  onExit(exitCode: number): void;
}

/** A program as a real local process, in a session and process group of its own. */
export interface RunningProgram {
  readonly stdin: WorkloadInput | undefined;
  pause(): void;
  resume(): void;
  resize(size: TerminalSize): void;
  /** Of the whole group. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Nothing is left of the program and of what it started in its group. */
  isGroupGone(): boolean;
}

/** What a container runtime says when a program cannot be started; undefined when it can. */
export function whyNotRunnable(spec: ProgramSpec): string | undefined {
  const name = spec.command[0] ?? '';
  if (name === '') return 'exec: "": executable file not found in $PATH';
  if (name.includes('/')) {
    const reason = whyNotExecutable(isAbsolute(name) ? name : resolve(spec.cwd, name));
    return reason === undefined ? undefined : `exec: "${name}": ${reason(name)}`;
  }
  for (const folder of (spec.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && whyNotExecutable(join(folder, name)) === undefined) return undefined;
  }
  return `exec: "${name}": executable file not found in $PATH`;
}

function whyNotExecutable(file: string): ((name: string) => string) | undefined {
  try {
    if (statSync(file).isDirectory()) return () => 'is a directory';
    accessSync(file, fsConstants.X_OK);
    return undefined;
  } catch (error) {
    if (systemCode(error) === 'EACCES') return () => 'permission denied';
    return (name) => `stat ${name}: no such file or directory`;
  }
}

/** Runs `spec` with pipes. The program exists (`whyNotRunnable`); a failure all the same ends it with 126. */
export function startPipedProgram(spec: ProgramSpec, events: ProgramEvents): RunningProgram {
  const [file = '', ...args] = spec.command;
  const child = spawn(file, args, {
    cwd: spec.cwd,
    env: spec.env,
    stdio: [spec.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    // A group of its own: its children end with it.
    detached: true,
  });
  const group = new ProcessGroup(child.pid);
  let ended = false;
  const exit = (exitCode: number): void => {
    if (ended) return;
    ended = true;
    events.onExit(exitCode);
  };
  child.on('error', () => exit(126));
  child.on('exit', () => {
    group.leaderEnded();
    if (spec.endsGroup) group.kill('SIGKILL');
  });
  // `close`, not `exit`: the last output comes first.
  child.on('close', (code, signal) => exit(code ?? exitCodeOfSignal(signal)));
  child.stdout?.on('data', (data: Buffer) => events.onOutput('stdout', data));
  child.stderr?.on('data', (data: Buffer) => events.onOutput('stderr', data));
  // A program that closes its pipes early is no trouble of ours.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.on('error', () => {});
  return {
    stdin: child.stdin === null ? undefined : pipeInput(child.stdin),
    pause() {
      child.stdout?.pause();
      child.stderr?.pause();
    },
    resume() {
      child.stdout?.resume();
      child.stderr?.resume();
    },
    resize() {},
    kill: (signal) => group.kill(signal),
    isGroupGone: () => group.isGone(),
  };
}

function pipeInput(stdin: Writable): WorkloadInput {
  return {
    // After the reader is gone there is nothing to wait for: bytes are dropped as a closed pipe drops them.
    write: (data) => !stdin.writable || stdin.write(data),
    onDrain: (listener) => {
      stdin.on('drain', listener);
      stdin.on('close', listener);
      return () => {
        stdin.off('drain', listener);
        stdin.off('close', listener);
      };
    },
    end: () => void stdin.end(),
  };
}

/** A program and what it starts. The group outlives its leader: what that left behind ends with it. */
export class ProcessGroup {
  readonly #leader: number | undefined;
  #isLeaderGone = false;

  constructor(leader: number | undefined) {
    this.#leader = leader;
  }

  /** Its number may be another's from now on, once the group is gone. */
  leaderEnded(): void {
    this.#isLeaderGone = true;
  }

  kill(signal: NodeJS.Signals): void {
    const leader = this.#leader;
    if (leader === undefined || this.#isAnothers(leader)) return;
    // Nothing survives its container, be it in a session of its own; TERM is for the first process alone to pass on.
    const others = signal === 'SIGKILL' ? processTree(leader).slice(1) : [];
    // Windows has no groups.
    for (const target of [process.platform === 'win32' ? leader : -leader, ...others]) send(target, signal);
  }

  isGone(): boolean {
    if (this.#leader === undefined || process.platform === 'win32') return true;
    return this.#isAnothers(this.#leader) || !send(-this.#leader, 0);
  }

  /** The kernel gives a number again as soon as neither a process nor a group has it. */
  #isAnothers(leader: number): boolean {
    return this.#isLeaderGone && send(leader, 0);
  }
}

/** Whether there is such a process, or group; be it one that is not ours to send to. */
function send(target: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(target, signal);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}

export function exitCodeOfSignal(signal: NodeJS.Signals | null): number {
  // A shell's rule, which container runtimes follow.
  return signal === null ? 1 : 128 + (osConstants.signals[signal] ?? 0);
}
