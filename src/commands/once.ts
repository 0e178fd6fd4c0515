import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import { createLogger } from '../base/log.js';
import { exitCodeOf } from './child.js';
import type { CommandIo } from './io.js';
import { Progress } from './progress.js';
import { settingsOf } from './settings-options.js';

/**
 * Serves for as long as one command runs. Everything of the daemon is private to it, unless flags or variables say
 * otherwise, so that it neither meets nor disturbs another daemon. Answers the command's exit code; 127 when it cannot
 * be found and 126 when it cannot be run, as shells do.
 */
export async function runOnce(command: Command, words: readonly string[], io: CommandIo): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'connect-gateway-proxy-once-'));
  try {
    return await serveWhile(words, { command, folder, io });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function serveWhile(
  words: readonly string[],
  { command, folder, io }: { command: Command; folder: string; io: CommandIo },
): Promise<number> {
  // Below flags and variables, above the config file, which is often that of a daemon.
  const env = {
    CGP_STATE_DIR: join(folder, 'state'),
    CGP_KUBECONFIG_FILE: join(folder, 'kubeconfig'),
    CGP_LISTEN_PORT: '0',
    CGP_MEMBERSHIP_PORTS: '0-0',
    CGP_LOG_LEVEL: 'warn',
    ...io.env,
  };
  const settings = settingsOf(command, { ...io, env });
  const progress = new Progress(io, 'starting: asking the fleet');
  const write = (line: string): void => {
    progress.clear();
    io.err(line);
  };
  const log = createLogger({ level: settings.log.level, format: settings.log.format, write });
  let child: ReturnType<typeof spawn> | undefined;
  let stopped: 'SIGINT' | 'SIGTERM' | undefined;
  io.onSignal((signal) => {
    stopped = signal;
    // A terminal has given Ctrl-C to the command itself already.
    if (signal === 'SIGINT' && io.inIsTty === true) return;
    child?.kill(signal);
  });
  io.onReload(() => void child?.kill('SIGHUP'));
  // Loaded here: the other commands answer sooner without it.
  const { startDaemon } = await import('../daemon/daemon.js');
  // Neither its manager's sockets nor its notify socket are meant for this daemon.
  const daemonEnv = { ...io.env, LISTEN_PID: undefined, NOTIFY_SOCKET: undefined };
  const daemon = await startDaemon({ settings, clock: io.clock, log, version: io.version, env: daemonEnv }).finally(
    () => progress.end(),
  );
  try {
    if (stopped !== undefined) return 128 + constants.signals[stopped];
    if (!daemon.memberships().some(({ url }) => url !== undefined)) {
      throw new CodedError({
        code: 'nothing-served',
        message: `no membership is served, so the command was not run; the log above says why, or the fleet of ${settings.projects.join(', ')} is empty`,
      });
    }
    const [file = '', ...args] = words;
    child = spawn(file, args, { stdio: 'inherit', env: { ...io.env, KUBECONFIG: daemon.kubeconfigFile } });
    return await exitCodeOf(child, { file, io });
  } finally {
    await daemon.drain('the command has ended');
    await daemon.closed;
  }
}
