import type { Clock } from '../base/clock.js';

/** What a command may touch of the process it runs in. */
export interface CommandIo {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether standard error is a terminal: logs are then for people. */
  readonly errIsTty: boolean;
  readonly outIsTty: boolean;
  readonly inIsTty?: boolean;
  readonly outColumns: number;
  readonly clock: Clock;
  /** Of the package. */
  readonly version: string;
  readonly paths: { readonly config: string; readonly data: string };
  /** Calls the listener at SIGINT and SIGTERM with the signal's name. */
  onSignal(listener: (signal: 'SIGINT' | 'SIGTERM') => void): void;
  /** Calls the listener when a reload is asked for by a signal. A terminal that was closed is a SIGTERM instead. */
  onReload(listener: () => void): void;
  /** Waits, and keeps the process alive meanwhile, which the clock's timers do not. */
  pause(ms: number): Promise<void>;
  /** Ends the process at once. */
  exit(code: number): never;
}
