import type { Clock } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { ContainerSpec } from './pod-runtime.js';
import type { ProgramSpec, RunningProgram } from './process-program.js';
import { startPipedProgram, whyNotRunnable } from './process-program.js';
import type { SampleServer } from './sample-server.js';
import { startSampleServer } from './sample-server.js';
import { startTerminalProgram } from './terminal.js';
import type { Workload, WorkloadEvents } from './workload.js';

/** What a container runtime exits with when the program cannot be started. */
const CANNOT_START = 128;
const BOX_PORT = 8080;
/** Lives on after its stdin has ended, as a container that serves does. */
const BOX_COMMAND = [
  'sh',
  '-c',
  `while IFS= read -r line; do printf '%s\\n' "$line"; done; while :; do sleep 86400; done`,
];

export interface WorkloadContext {
  readonly podName: string;
  readonly container: ContainerSpec;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Starts what the container's spec asks for. Never throws: a failure is an exit. */
export function startWorkload(context: WorkloadContext, events: WorkloadEvents): Workload {
  const { command = [], args = [] } = context.container;
  if (command.length > 0) return new Program(context, [...command, ...args], [], events);
  if (isBoxImage(context.container.image)) return new Program(context, BOX_COMMAND, [BOX_PORT], events);
  return new Hello(context, events);
}

/** `…/box`, with or without tag and digest. */
export function isBoxImage(image: string): boolean {
  return /(^|\/)box(:[\w.-]+)?(@.*)?$/.test(image);
}

/** A program, with sample servers behind `ports` and, for a built-in image, behind the declared ports. */
class Program implements Workload {
  readonly ports = new Map<number, number>();
  readonly #servers: SampleServer[] = [];
  readonly #events: WorkloadEvents;
  #program: RunningProgram | undefined;
  #killed: 'SIGTERM' | 'SIGKILL' | undefined;
  #exited = false;

  constructor(context: WorkloadContext, command: readonly string[], ports: readonly number[], events: WorkloadEvents) {
    this.#events = events;
    const { container, cwd, env } = context;
    const spec: ProgramSpec = { command, cwd, env, stdin: container.stdin === true, endsGroup: true };
    void this.#start(context, spec, ports).catch((error: unknown) => {
      context.log.warn({ container: container.name, reason: describeError(error) }, 'a container could not be started');
      this.#exit(CANNOT_START);
    });
  }

  get stdin(): RunningProgram['stdin'] {
    return this.#program?.stdin;
  }

  pause(): void {
    this.#program?.pause();
  }

  resume(): void {
    this.#program?.resume();
  }

  resize(size: Parameters<Workload['resize']>[0]): void {
    this.#program?.resize(size);
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#killed = signal;
    this.#program?.kill(signal);
  }

  async #start(context: WorkloadContext, spec: ProgramSpec, ports: readonly number[]): Promise<void> {
    // A spec with a command serves its own ports on the host; only built-in images get servers.
    const wanted = ports.length > 0 ? declaredPorts(context.container, ports) : new Set<number>();
    await listenOn(wanted, context, this.ports, this.#servers);
    const reason = whyNotRunnable(spec);
    if (reason !== undefined) {
      this.#events.onOutput('stderr', Buffer.from(`${reason}\n`));
      return this.#exit(CANNOT_START);
    }
    const events = {
      onOutput: this.#events.onOutput.bind(this.#events),
      onExit: (exitCode: number) => this.#exit(exitCode),
    };
    this.#program =
      context.container.tty === true ? await startTerminalProgram(spec, events) : startPipedProgram(spec, events);
    if (this.#exited) return;
    this.#events.onStarted();
    if (this.#killed !== undefined) this.#program.kill(this.#killed);
  }

  #exit(exitCode: number): void {
    if (this.#exited) return;
    this.#exited = true;
    for (const server of this.#servers) server.close();
    this.#events.onExit(exitCode);
  }
}

/** No process: a numbered line a second, and a sample server behind each declared port. */
class Hello implements Workload {
  readonly stdin = undefined;
  readonly ports = new Map<number, number>();
  readonly #servers: SampleServer[] = [];
  readonly #context: WorkloadContext;
  readonly #events: WorkloadEvents;
  #cancel: (() => void) | undefined;
  #count = 0;
  #exited = false;
  #listening: Promise<void>;

  constructor(context: WorkloadContext, events: WorkloadEvents) {
    this.#context = context;
    this.#events = events;
    this.#listening = this.#start().catch((error: unknown) => {
      context.log.warn(
        { container: context.container.name, reason: describeError(error) },
        'a port could not be served',
      );
      this.#exit(1);
    });
  }

  pause(): void {}
  resume(): void {}
  resize(): void {}

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#cancel?.();
    const exitCode = signal === 'SIGTERM' ? 0 : 137;
    // Not before its servers are listening, so that all of them are closed; and never inside the caller's own call.
    void this.#listening.then(() => this.#exit(exitCode));
  }

  async #start(): Promise<void> {
    await listenOn(declaredPorts(this.#context.container, []), this.#context, this.ports, this.#servers);
    this.#events.onStarted();
    this.#say();
  }

  #say(): void {
    if (this.#exited) return;
    this.#count++;
    this.#events.onOutput('stdout', Buffer.from(`${this.#count} hello from ${this.#context.podName}\n`));
    this.#cancel = this.#context.clock.after(1000, () => this.#say());
  }

  #exit(exitCode: number): void {
    if (this.#exited) return;
    this.#exited = true;
    this.#cancel?.();
    for (const server of this.#servers) server.close();
    this.#events.onExit(exitCode);
  }
}

function declaredPorts(container: ContainerSpec, extra: readonly number[]): Set<number> {
  return new Set([...(container.ports ?? []).map((port) => port.containerPort), ...extra]);
}

async function listenOn(
  wanted: ReadonlySet<number>,
  context: WorkloadContext,
  ports: Map<number, number>,
  servers: SampleServer[],
): Promise<void> {
  for (const port of wanted) {
    const server = await startSampleServer({ podName: context.podName, clock: context.clock });
    servers.push(server);
    ports.set(port, server.port);
  }
}
