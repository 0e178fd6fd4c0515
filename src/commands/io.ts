import type { Clock } from '../base/clock.js';
import type { TerminalSize } from '../kubernetes/remote-command.js';

/** A command's standard input, and the size of its screen. */
export interface CommandTerminal {
  /** `raw`: keys as they are typed, none of them for the system. `onResize` is called at once where there is a screen. */
  start(o: {
    raw: boolean;
    onData: (bytes: Buffer) => void;
    onEnd: () => void;
    onResize: (size: TerminalSize) => void;
  }): void;
  pause(): void;
  resume(): void;
  /** The terminal as it was. */
  stop(): void;
}

/** What a command may touch of the process it runs in. */
export interface CommandIo {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** What a command of somebody else's has written. */
  readonly outBytes?: (bytes: Uint8Array) => void;
  readonly errBytes?: (bytes: Uint8Array) => void;
  readonly terminal?: () => CommandTerminal;
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
