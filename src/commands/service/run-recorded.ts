import { chmodSync, closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { UsageError } from '../../base/errors.js';
import type { CommandIo } from '../io.js';
import { readIfThere } from './files.js';
import { parseRecord } from './record.js';

const LOG_LIMIT_BYTES = 10 * 1024 * 1024;

/**
 * Starts what a record says, with its environment, and with its log file for standard error: for managers that bring
 * neither. `runArgs` runs a command line of this program.
 */
export async function runRecorded(
  path: string,
  io: CommandIo,
  runArgs: (args: readonly string[], io: CommandIo) => Promise<number>,
): Promise<number> {
  const text = readIfThere(path);
  if (text === undefined)
    throw new UsageError(`there is no ${path}; write it with connect-gateway-proxy service install`);
  const { start, logFile, environmentFile } = parseRecord(text, path).definition;
  const extra = readIfThere(environmentFile);
  // Google's library and Node read the process's own environment.
  Object.assign(process.env, start.environment, extra === undefined ? {} : parseEnv(extra));
  const log = openLog(logFile);
  const code = await runArgs(start.args, { ...io, env: process.env, err: log, out: log, errIsTty: false });
  return code;
}

/** Two files at most: the older half is overwritten. */
function openLog(path: string): (text: string) => void {
  let file = openSync(path, 'a', 0o600);
  chmodSync(path, 0o600);
  let size = fstatSync(file).size;
  return (text) => {
    if (size > LOG_LIMIT_BYTES) {
      closeSync(file);
      renameSync(path, `${path}.1`);
      file = openSync(path, 'a', 0o600);
      size = 0;
    }
    size += writeSync(file, text);
  };
}
