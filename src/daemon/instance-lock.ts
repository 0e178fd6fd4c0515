import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { CodedError, systemCode } from '../base/errors.js';

/** A starting daemon has this long to open its hub before its lock counts as left behind. */
const STARTING_MS = 30_000;

/**
 * One daemon per state folder. The lock names its process; it is stale when that process is gone, or lives but no
 * longer answers as a daemon (process numbers are used again after a reboot).
 */
export async function lockInstance(options: {
  path: string;
  pid: number;
  now: number;
  /** Whether the daemon that the state folder records answers with this folder's certificate. */
  answers: () => Promise<boolean>;
}): Promise<{ release(): void }> {
  for (let attempt = 0; ; attempt++) {
    if (create(options.path, options.pid)) return { release: () => release(options.path, options.pid) };
    const holder = readHolder(options.path);
    const alive = holder !== undefined && holder.pid !== options.pid && isAlive(holder.pid);
    const starting = holder !== undefined && options.now - holder.since < STARTING_MS;
    if (alive && (starting || (await options.answers()))) {
      throw new CodedError({
        code: 'already-running',
        message: `a daemon is already running with this state folder (process ${holder.pid}); stop it with connect-gateway-proxy stop, or use another --state-dir and other ports`,
      });
    }
    if (attempt > 2) throw new CodedError({ code: 'lock-unusable', message: `cannot take the lock ${options.path}` });
    rmSync(options.path, { force: true });
  }
}

function create(path: string, pid: number): boolean {
  try {
    const file = openSync(path, 'wx', 0o600);
    writeSync(file, `${pid}\n`);
    closeSync(file);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(path: string): { pid: number; since: number } | undefined {
  try {
    return { pid: Number(readFileSync(path, 'utf8')), since: statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

function release(path: string, pid: number): void {
  if (readHolder(path)?.pid === pid) rmSync(path, { force: true });
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
