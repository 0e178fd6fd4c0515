import type { RecordedStart } from './recorded-start.js';

/** What a service manager is told about the daemon. */
export interface ServiceDefinition {
  readonly start: RecordedStart;
  /** `address:port`, to be held for the daemon while it restarts, where the manager can. */
  readonly sockets: readonly string[];
  readonly logFile: string;
  /** The file `service.json`: what `service run` starts. */
  readonly recordFile: string;
  /** For what must not stand in the definition. */
  readonly environmentFile: string;
}

export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  /** Windows wants its task definitions in UTF-16. */
  readonly encoding?: 'utf16le';
}

/** `enabled`: it starts by itself at the next login or boot. */
export interface ServiceState {
  readonly installed: boolean;
  readonly enabled: boolean;
  readonly running: boolean;
  /** In the manager's own words. */
  readonly detail: string;
}

export type ManagerName = 'systemd' | 'launchd' | 'task-scheduler' | 'autostart' | 'cron';

/**
 * One of the platform's ways to keep a program running. Every method throws a CodedError that names the command that
 * failed. `write` and `remove` answer what they did, one line each, and may be repeated.
 */
export interface ServiceManager {
  readonly name: ManagerName;
  readonly title: string;
  /** When it starts by itself. */
  readonly startsAt: string;
  /** Whether sockets stay open over a restart. */
  readonly holdsSockets: boolean;
  render(definition: ServiceDefinition): readonly RenderedFile[];
  /** Writes and enables. `changed`: the running daemon was started from something else. */
  write(definition: ServiceDefinition): Promise<{ steps: string[]; changed: boolean }>;
  start(definition: ServiceDefinition): Promise<void>;
  /** Undefined: asking the daemon itself is the way to stop it. */
  readonly stop?: () => Promise<void>;
  /** Undefined: stop, then start. */
  readonly restart?: () => Promise<void>;
  state(): Promise<ServiceState>;
  remove(): Promise<string[]>;
  /** Undefined: the log file is to be read. */
  readonly logs?: (o: { follow: boolean; lines: number }) => Promise<number>;
}
