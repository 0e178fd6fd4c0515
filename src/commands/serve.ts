import { createLogger } from '../base/log.js';
import type { RunningDaemon } from '../daemon/daemon.js';
import type { Settings } from '../daemon/settings.js';
import { letHeapGrow } from './heap-growth.js';
import type { CommandIo } from './io.js';
import { Progress } from './progress.js';

/** 128 + the signal's number, as shells count. */
const SIGNAL_EXIT = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs a daemon until it is asked to stop. The first signal drains, the second ends at once. Answers the exit code:
 * 0 after a drain, whoever asked for it.
 */
export async function serve(
  io: CommandIo,
  settings: Settings,
  hooks: {
    /** Reads the settings again, for a reload. */
    loadSettings: () => Settings;
    onReady?: (daemon: RunningDaemon) => void;
    onStopped?: () => Promise<void>;
  },
): Promise<number> {
  letHeapGrow();
  const progress = new Progress(io, 'starting: asking the fleet');
  const write = (line: string): void => {
    progress.clear();
    io.err(line);
  };
  const log = createLogger({ level: settings.log.level, format: settings.log.format, write });
  let running: RunningDaemon | undefined;
  let asked = false;
  io.onSignal((signal) => {
    if (asked || running === undefined) {
      running?.kill();
      io.exit(SIGNAL_EXIT[signal]);
    }
    asked = true;
    running.drain(signal).catch(() => io.exit(1));
  });
  io.onReload(() => {
    // A refusal has been logged, which is all that can be done with it here.
    running?.reload('SIGHUP').catch(() => {});
  });
  try {
    // Loaded here: the commands beside the daemon answer sooner without it.
    const { startDaemon } = await import('../daemon/daemon.js');
    const { loadSettings } = hooks;
    running = await startDaemon({ settings, loadSettings, clock: io.clock, log, version: io.version, env: io.env });
    progress.end();
    hooks.onReady?.(running);
    await running.closed;
  } finally {
    progress.end();
    await hooks.onStopped?.();
  }
  return 0;
}
