#!/usr/bin/env node
import { setTimeout as pause } from 'node:timers/promises';
import { isatty } from 'node:tty';
import envPaths from 'env-paths';
import { systemClock } from './base/clock.js';
import { packageFile } from './commands/package-files.js';
import { runCommandLine } from './commands/program.js';
import { ownTerminal } from './commands/terminal.js';

const { version } = JSON.parse(packageFile('package.json')) as { version: string };
// Google's library would print whole token answers where this is set.
delete process.env['GOOGLE_SDK_NODE_LOGGING'];

const paths = envPaths('connect-gateway-proxy', { suffix: '' });

// A reader that has gone (`| head`) is no failure of ours.
process.stdout.on('error', () => process.exit(0));

/** A terminal that hangs up sends the signal that everybody else sends for a reload. */
function terminalIsGone(): boolean {
  return process.platform === 'win32' || (process.stderr.isTTY === true && !isatty(2));
}

// No `await` here: the single-file executable is CommonJS.
void runCommandLine(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  outBytes: (bytes) => void process.stdout.write(bytes),
  errBytes: (bytes) => void process.stderr.write(bytes),
  terminal: ownTerminal,
  env: process.env,
  errIsTty: process.stderr.isTTY === true,
  outIsTty: process.stdout.isTTY === true,
  // Not process.stdin: to look at it is to open it, and commands that we start inherit it.
  inIsTty: isatty(0),
  outColumns: process.stdout.columns ?? 100,
  clock: systemClock,
  version,
  paths: { config: paths.config, data: paths.data },
  onSignal: (listener) => {
    process.on('SIGINT', () => listener('SIGINT'));
    process.on('SIGTERM', () => listener('SIGTERM'));
    process.on('SIGHUP', () => {
      if (terminalIsGone()) listener('SIGTERM');
    });
  },
  onReload: (listener) => {
    process.on('SIGHUP', () => {
      if (!terminalIsGone()) listener();
    });
  },
  pause: async (ms) => await pause(ms),
  exit: (code) => process.exit(code),
}).then((exitCode) => {
  process.exitCode = exitCode;
});
