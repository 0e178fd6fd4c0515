import type { TerminalSize } from '../../kubernetes/remote-command.js';

export type OutputStream = 'stdout' | 'stderr';

/** What a workload tells its container. Nothing is called after `onExit`. */
export interface WorkloadEvents {
  onStarted(): void;
  onOutput(stream: OutputStream, data: Buffer): void;
  /** Of the whole workload; 128 + N for signal N. */
  onExit(exitCode: number): void;
}

/** The running main program of one container instance. */
export interface Workload {
  /** Undefined when the program's stdin is closed from the start. */
  readonly stdin: WorkloadInput | undefined;
  /** Declared container port to the loopback port that serves it. A port that is not here is the host's own. */
  readonly ports: ReadonlyMap<number, number>;
  /** Stops reading the program's output until `resume`: the program blocks once its pipe is full. */
  pause(): void;
  resume(): void;
  resize(size: TerminalSize): void;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

export interface WorkloadInput {
  /** False when the program is slow to read: wait for `onDrain` before more. */
  write(data: Buffer): boolean;
  /** Also called when the program is gone. The answer unsubscribes. */
  onDrain(listener: () => void): () => void;
  end(): void;
}
