import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';

/** Editors write in several steps; a file is looked at when they have been quiet this long. */
const QUIET_MS = 200;

/**
 * Calls `onChange` after the file's content has changed. The folder is watched, because editors and configuration
 * managers put a new file in the old one's place. Answers the way to stop.
 */
export function watchConfigFile(options: {
  path: string;
  clock: Clock;
  log: Logger;
  onChange: () => void;
}): () => void {
  const { path, clock, log, onChange } = options;
  let content = contentOf(path);
  let cancel = (): void => {};
  const look = (): void => {
    const now = contentOf(path);
    // A file that is away for a moment is no change; whoever deleted it for good keeps the settings until the restart.
    if (now === undefined || now === content) return;
    content = now;
    onChange();
  };
  let watcher: FSWatcher;
  try {
    // Any name: behind a symbolic link the entry that changes is another one.
    watcher = watch(dirname(path), { persistent: false }, () => {
      cancel();
      cancel = clock.after(QUIET_MS, look);
    });
  } catch (error) {
    log.warn({ file: path }, `the config file cannot be watched (${describeError(error)}): reload with SIGHUP`);
    return () => {};
  }
  watcher.on('error', (error) => {
    log.warn({ file: path }, `the config file is no longer watched (${describeError(error)}): reload with SIGHUP`);
    watcher.close();
  });
  return () => {
    cancel();
    watcher.close();
  };
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
