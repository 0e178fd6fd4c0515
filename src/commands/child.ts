import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { systemCode } from '../base/errors.js';
import type { CommandIo } from './io.js';

/** Runs a command on our own terminal, hands signals on to it, and answers its exit code. */
export function runChild(
  words: readonly string[],
  { io, env }: { io: CommandIo; env: Readonly<Record<string, string | undefined>> },
): Promise<number> {
  const [file = '', ...args] = words;
  const child = spawn(file, args, { stdio: 'inherit', env: { ...io.env, ...env } });
  io.onSignal((signal) => {
    // A terminal gives Ctrl-C to the command as well.
    if (signal !== 'SIGINT' || !io.errIsTty) child.kill(signal);
  });
  io.onReload(() => child.kill('SIGHUP'));
  return exitCodeOf(child, { file, io });
}

/**
 * As shells count: 127 where there is no such command, 126 where it cannot be run, 128 and the signal's number where a
 * signal has ended it.
 */
export function exitCodeOf(child: ChildProcess, { file, io }: { file: string; io: CommandIo }): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      const missing = systemCode(error) === 'ENOENT';
      io.err(`connect-gateway-proxy: cannot run ${file}: ${missing ? 'there is no such command' : error.message}\n`);
      resolve(missing ? 127 : 126);
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
