import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  bootstrapScript,
  HolderDecoder,
  type HolderFrame,
  type HolderOpening,
  type HolderProgram,
  holderWords,
  type OutputName,
  openingBytes,
} from '../../src/relays/survive/holder-frames.js';
import { findProgram, type ToolSet, toolPath } from './container-tools.js';

/** An argument is bytes, of which Node passes on only those that are UTF-8. */
export type Argument = string | Buffer;

const FIRST_PROCESS = fileURLToPath(new URL('first-process.py', import.meta.url));

export interface ContainerOptions {
  readonly env?: Record<string, string>;
  /** Programs of this machine that are in it, too. */
  readonly extra?: readonly string[];
  /** Whether note is taken of processes that are left to the container's first one. */
  readonly countsOrphans?: boolean;
}

/** A folder that stands for a container: programs run in it with a PATH, a HOME and a TMPDIR of its own. */
export class LocalContainer {
  readonly folder: string;
  readonly path: string;
  readonly #env: Record<string, string>;
  readonly #orphans: string | undefined;

  constructor(folder: string, set: ToolSet, o: ContainerOptions = {}) {
    this.folder = join(folder, `container-${set}`);
    this.#orphans = o.countsOrphans ? join(folder, 'orphans') : undefined;
    this.path = toolPath(folder, set, o.extra);
    mkdirSync(join(this.folder, 'tmp'), { recursive: true, mode: 0o700 });
    this.#env = { PATH: this.path, HOME: this.folder, TMPDIR: join(this.folder, 'tmp'), ...o.env };
  }

  get env(): Record<string, string> {
    return this.#env;
  }

  session(command: readonly Argument[], o: Partial<HolderOpening> = {}): LocalSession {
    return new LocalSession(this, command, o);
  }

  /** Of sessions. */
  get leftovers(): string[] {
    return readdirSync(join(this.folder, 'tmp'));
  }

  spawn(command: readonly Argument[]): ChildProcess {
    const [file = '', ...args] = command.every((word) => typeof word === 'string') ? command : inOctal(command);
    const whole = [join(this.path, file), ...args];
    const [program = '', ...rest] =
      this.#orphans === undefined ? whole : [findProgram('python3'), '-I', FIRST_PROCESS, this.#orphans, ...whole];
    // As a container runtime: a session of its own, no terminal.
    return spawn(program, rest, { cwd: this.folder, env: this.#env, detached: true, stdio: 'pipe' });
  }

  /** The names of processes whose parent ended before them, and which have ended since. */
  get orphans(): string[] {
    if (this.#orphans === undefined || !existsSync(this.#orphans)) return [];
    return readFileSync(this.#orphans, 'latin1').trimEnd().split('\n');
  }
}

/** A shell that becomes the command. */
function inOctal([file = '', ...args]: readonly Argument[]): string[] {
  const words = args.map((word) => {
    const octal = Array.from(Buffer.from(word as string), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
    // Whatever ends the lines of a word stays.
    return `w=$(printf '${octal}x'); set -- "$@" "\${w%x}"`;
  });
  return ['sh', '-c', [...words, `exec ${file} "$@"`].join('\n')];
}

/** One command that is to survive, over as many exec calls as it takes. */
export class LocalSession {
  readonly container: LocalContainer;
  readonly command: readonly Argument[];
  readonly name = randomBytes(16).toString('hex');
  readonly received: Record<OutputName, number> = { out: 0, err: 0 };
  readonly output: Record<OutputName, Buffer[]> = { out: [], err: [] };
  readonly #opening: Partial<HolderOpening>;
  #turn = 0;
  #first: LocalExec | undefined;
  #wake = (): void => {};

  constructor(container: LocalContainer, command: readonly Argument[], opening: Partial<HolderOpening>) {
    this.container = container;
    this.command = command;
    this.#opening = opening;
  }

  /** Something has come, over whatever call, or a call has ended. */
  wakeup(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#wake;
      this.#wake = () => {
        before();
        resolve();
      };
    });
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = () => {};
    wake();
  }

  /** What came of stdout behind so many bytes was still on its way when its call was cut. */
  lose(from: number): void {
    this.output.out.splice(0, Infinity, Buffer.concat(this.output.out).subarray(0, from));
    this.received.out = from;
  }

  text(stream: OutputName = 'out'): string {
    return Buffer.concat(this.output[stream]).toString('latin1');
  }

  exec(changes: Partial<HolderOpening> = {}): LocalExec {
    this.#turn++;
    const exec = new LocalExec(this, {
      verb: this.#turn === 1 ? 'start' : 'join',
      name: this.name,
      turn: this.#turn,
      received: { ...this.received },
      lingerSeconds: 600,
      tty: false,
      stdin: true,
      stdout: true,
      stderr: true,
      ...this.#opening,
      ...changes,
    });
    this.#first ??= exec;
    return exec;
  }

  /** Nothing of it is left in the container. */
  async over(): Promise<void> {
    await this.#first?.exited;
  }
}

/** One exec call, as a runtime carries it: cut, its process sees the end of its input, and its output goes nowhere. */
export class LocalExec {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  /** Whether what comes is acknowledged. */
  acknowledging = true;
  stderr = '';
  readonly #session: LocalSession;
  readonly #decoder = new HolderDecoder();
  readonly #frames: HolderFrame[] = [];
  #program: HolderProgram = 'perl';
  #cut = false;
  /** It has ended, and all that it said has come. */
  #closed = false;

  constructor(session: LocalSession, opening: HolderOpening) {
    this.#session = session;
    this.child = session.container.spawn(['sh', '-c', bootstrapScript(), 'connect-gateway-proxy', ...session.command]);
    this.exited = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin?.on('error', () => {});
    this.child.stdin?.write(openingBytes(opening));
    this.child.stderr?.on('data', (chunk: Buffer) => {
      // A shell's words come this way; a word that is none throws.
      if (this.#program !== 'sh') this.stderr += chunk.toString('latin1');
      this.#receive(this.#decoder.stderr(chunk));
    });
    this.child.stdout?.on('data', (chunk: Buffer) => this.#receive(this.#decoder.stdout(chunk)));
    this.child.once('close', () => {
      this.#closed = true;
      session.wake();
    });
  }

  /** What holds the command; known once it does. */
  get program(): HolderProgram {
    return this.#program;
  }

  send(words: Buffer): void {
    this.child.stdin?.write(words);
  }

  input(offset: number, text: string | Buffer): void {
    const bytes = Buffer.from(text as string, 'latin1');
    for (let at = 0; at < bytes.length; at += 32 * 1024) {
      this.send(holderWords.input(this.#program, offset + at, bytes.subarray(at, at + 32 * 1024)));
    }
  }

  /** The next frame that is neither output nor an acknowledgement; rejects when the call ends without one. */
  async next(): Promise<HolderFrame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#closed) throw new Error(`the call has ended: ${this.child.exitCode} ${this.stderr}`);
      await this.#session.wakeup();
    }
  }

  async hold(): Promise<Extract<HolderFrame, { kind: 'hold' }>> {
    for (;;) {
      const frame = await this.next();
      if (frame.kind === 'hold') return frame;
      if (frame.kind !== 'begun') throw new Error(`not held: ${JSON.stringify(frame)}`);
    }
  }

  async until(pattern: RegExp, stream: OutputName = 'out'): Promise<void> {
    while (!pattern.test(this.#session.text(stream))) {
      if (this.#closed) throw new Error(`ended without ${pattern}: ${this.#session.text(stream)}`);
      await this.#session.wakeup();
    }
  }

  /** To the end: the exit code; the holder is told that all has come. */
  async finish(): Promise<number> {
    for (;;) {
      const frame = await this.next();
      if (frame.kind !== 'exit') continue;
      this.send(holderWords.done);
      await Promise.all([this.exited, this.#session.over()]);
      return frame.code;
    }
  }

  /** `halfOpen`: nobody tells the process. */
  cut(o: { halfOpen?: boolean } = {}): void {
    this.#cut = true;
    if (!o.halfOpen) this.child.stdin?.end();
  }

  #receive(frames: readonly HolderFrame[]): void {
    if (this.#cut) return;
    for (const frame of frames) this.#take(frame);
    this.#session.wake();
  }

  #take(frame: HolderFrame): void {
    if (frame.kind === 'written') return;
    if (frame.kind === 'hold') {
      this.#program = frame.program;
      if (frame.program === 'sh') this.stderr = '';
    }
    if (frame.kind !== 'output') {
      this.#frames.push(frame);
      return;
    }
    const { received, output } = this.#session;
    const known = received[frame.stream] - frame.offset;
    if (known < 0) throw new Error(`${frame.stream} lacks ${-known} bytes`);
    // Another call of the session may have been quicker.
    const bytes = frame.bytes.subarray(known);
    received[frame.stream] += bytes.length;
    output[frame.stream].push(bytes);
    if (this.acknowledging) this.send(holderWords.got(received));
  }
}
