import { mkdirSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import { CodedError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { LogStore } from './log-store.js';
import type { ContainerSpec, ContainerState, ContainerStatus, LogOptions, PodSpec } from './pod-runtime.js';
import type { RunningProgram } from './process-program.js';
import type { OutputStream, Workload } from './workload.js';
import { startWorkload } from './workloads.js';

/** Per instance; the kubelet keeps 10 MiB, and an emulator may have many pods. */
const LOG_BYTES = 4 * 1024 * 1024;
/** The kubelet starts at 10 s; nobody watches an emulator that long. */
const BACKOFF_MS = [100, 500, 1000, 2000, 5000, 10_000] as const;
/** An instance that ran this long starts the back-off anew (the kubelet's ten minutes, in proportion). */
const STEADY_MS = 60_000;

/** Someone who watches a container's output from now on. */
export interface Attachment {
  /** False: stop the program until `Container.resumeOutput`. */
  onOutput(stream: OutputStream, data: Buffer): boolean;
  onEnd(): void;
}

interface Instance {
  readonly store: LogStore;
  readonly attachments: Set<Attachment>;
  /** Attachments that asked for a pause; the program runs again when nobody is left. */
  readonly blocked: Set<Attachment>;
  /** Programs that were executed in the container: they end with it. */
  readonly executed: Set<RunningProgram>;
  readonly createdAt: number;
  workload: Workload | undefined;
  ended: boolean;
}

/** One container of a pod through all its instances. */
export class Container {
  readonly spec: ContainerSpec;
  /** The private folder: working directory and HOME of everything that runs here. */
  readonly folder: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #pod: PodSpec;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: () => void;
  readonly #gone: Promise<void>;
  #resolveGone: () => void = () => {};
  #state: ContainerState = { kind: 'waiting', reason: 'ContainerCreating' };
  #lastTermination: ContainerState | undefined;
  #restartCount = 0;
  #backoff = 0;
  #current: Instance | undefined;
  #previous: LogStore | undefined;
  #cancelRestart: (() => void) | undefined;
  #cancelKill: (() => void) | undefined;
  #stopping = false;

  constructor(options: {
    pod: PodSpec;
    spec: ContainerSpec;
    folder: string;
    env: Readonly<Record<string, string>>;
    clock: Clock;
    log: Logger;
    onChange: () => void;
  }) {
    this.spec = options.spec;
    this.folder = options.folder;
    this.#pod = options.pod;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onChange = options.onChange;
    this.#gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    // An absolute workingDir means a place in the container's own file system: its folder is the nearest thing.
    this.cwd = join(this.folder, normalize(`/${this.spec.workingDir ?? ''}`));
    const temporary = join(this.folder, 'tmp');
    mkdirSync(temporary, { recursive: true, mode: 0o700 });
    mkdirSync(this.cwd, { recursive: true, mode: 0o700 });
    this.env = {
      ...options.env,
      HOME: this.folder,
      TMPDIR: temporary,
      HOSTNAME: this.#pod.name,
      ...Object.fromEntries((this.spec.env ?? []).map(({ name, value }) => [name, value ?? ''])),
    };
  }

  start(): void {
    const instance: Instance = {
      store: new LogStore({ clock: this.#clock, capacityBytes: LOG_BYTES }),
      attachments: new Set(),
      blocked: new Set(),
      executed: new Set(),
      createdAt: this.#clock.now(),
      workload: undefined,
      ended: false,
    };
    this.#previous = this.#current?.store;
    this.#current = instance;
    instance.workload = startWorkload(
      {
        podName: this.#pod.name,
        container: this.spec,
        cwd: this.cwd,
        env: this.env,
        clock: this.#clock,
        log: this.#log,
      },
      {
        onStarted: () => this.#setState({ kind: 'running', startedAt: this.#clock.now() }),
        onOutput: (stream, data) => deliver(instance, stream, data),
        onExit: (exitCode) => this.#ended(instance, exitCode),
      },
    );
  }

  status(): ContainerStatus {
    return {
      name: this.spec.name,
      state: this.#state,
      ...(this.#lastTermination === undefined ? {} : { lastTermination: this.#lastTermination }),
      restartCount: this.#restartCount,
    };
  }

  /** Throws a CodedError (400) when there is no such log. */
  openLog(options: LogOptions, signal: AbortSignal): Readable {
    const store = options.previous ? this.#previous : this.#current?.store;
    if (store === undefined || (!options.previous && this.#state.kind === 'waiting' && this.#restartCount === 0)) {
      throw new CodedError({
        code: 'emulator-no-log',
        message: options.previous
          ? `previous terminated container "${this.spec.name}" in pod "${this.#pod.name}" not found`
          : `container "${this.spec.name}" in pod "${this.#pod.name}" is waiting to start: ContainerCreating`,
        answer: { status: 400, reason: 'BadRequest' },
      });
    }
    return store.open(options, signal);
  }

  /** The main program while it runs. */
  get workload(): Workload | undefined {
    return this.#state.kind === 'running' ? this.#current?.workload : undefined;
  }

  /** Watches the running instance; undefined when none runs. The answer detaches. */
  attach(attachment: Attachment): (() => void) | undefined {
    const instance = this.#current;
    if (this.#state.kind !== 'running' || instance === undefined) return undefined;
    instance.attachments.add(attachment);
    return () => {
      instance.attachments.delete(attachment);
      unblock(instance, attachment);
    };
  }

  /** The attachment that answered false can take more. */
  resumeOutput(attachment: Attachment): void {
    if (this.#current !== undefined) unblock(this.#current, attachment);
  }

  /** Ends `program`, and what it leaves behind, with the running instance. The answer is called when it has ended. */
  adopt(program: RunningProgram): () => void {
    const executed = this.#current?.executed;
    executed?.add(program);
    return () => {
      if (program.isGroupGone()) executed?.delete(program);
    };
  }

  /**
   * TERM, and KILL after `graceMs`; resolves when the main program is gone and will not be started again. A second call sets
   * the time anew.
   */
  stop(graceMs: number): Promise<void> {
    this.#cancelRestart?.();
    this.#cancelKill?.();
    const instance = this.#current;
    if (instance === undefined || instance.ended) {
      this.#stopping = true;
      this.#resolveGone();
      return this.#gone;
    }
    if (graceMs <= 0) instance.workload?.kill('SIGKILL');
    else {
      if (!this.#stopping) instance.workload?.kill('SIGTERM');
      this.#cancelKill = this.#clock.after(graceMs, () => instance.workload?.kill('SIGKILL'));
    }
    this.#stopping = true;
    // A paused program may have its last words in a full pipe; nobody holds it back any more.
    for (const attachment of [...instance.blocked]) unblock(instance, attachment);
    return this.#gone;
  }

  #ended(instance: Instance, exitCode: number): void {
    instance.ended = true;
    this.#cancelKill?.();
    for (const program of instance.executed) program.kill('SIGKILL');
    instance.store.end();
    const startedAt = this.#state.kind === 'running' ? this.#state.startedAt : instance.createdAt;
    const terminated: ContainerState = { kind: 'terminated', exitCode, startedAt, finishedAt: this.#clock.now() };
    const again = !this.#stopping && mayRestart(this.#pod.restartPolicy, exitCode);
    this.#setState(terminated);
    for (const attachment of [...instance.attachments]) attachment.onEnd();
    if (!again) {
      this.#resolveGone();
      return;
    }
    if (terminated.finishedAt - startedAt >= STEADY_MS) this.#backoff = 0;
    const delay = BACKOFF_MS[Math.min(this.#backoff, BACKOFF_MS.length - 1)] ?? 0;
    this.#lastTermination = terminated;
    if (this.#backoff++ > 0) this.#setState({ kind: 'waiting', reason: 'CrashLoopBackOff' });
    this.#cancelRestart = this.#clock.after(delay, () => {
      this.#restartCount++;
      this.start();
    });
  }

  #setState(state: ContainerState): void {
    this.#state = state;
    this.#onChange();
  }
}

function deliver(instance: Instance, stream: OutputStream, data: Buffer): void {
  instance.store.append(stream, data);
  for (const attachment of instance.attachments) {
    if (attachment.onOutput(stream, data)) continue;
    if (instance.blocked.size === 0) instance.workload?.pause();
    instance.blocked.add(attachment);
  }
}

function unblock(instance: Instance, attachment: Attachment): void {
  if (instance.blocked.delete(attachment) && instance.blocked.size === 0) instance.workload?.resume();
}

function mayRestart(policy: PodSpec['restartPolicy'], exitCode: number): boolean {
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}
