import { Command, CommanderError } from 'commander';
import { CodedError, describeError, UsageError } from '../base/errors.js';
import { addCompletion } from './completion.js';
import { addDemo } from './demo.js';
import { addDoctor } from './doctor.js';
import { addEmulator } from './emulator.js';
import { addExamples } from './examples.js';
import type { CommandIo } from './io.js';
import { addKubeconfig } from './kubeconfig.js';
import { addMemberships } from './memberships.js';
import { addRbac } from './rbac.js';
import { addReload } from './reload.js';
import { addRun } from './run.js';
import { addService } from './service.js';
import { addSessions } from './sessions.js';
import { addShell } from './shell.js';
import { addStatus } from './status.js';
import { addStop } from './stop.js';
import { addWait } from './wait.js';

/** Exit codes: README lists them. */
const FAILURE = 1;
const USAGE = 2;

/** Runs one command line and answers its exit code. Every failure has been told on standard error by then. */
export async function runCommandLine(argv: readonly string[], io: CommandIo): Promise<number> {
  let exitCode = 0;
  const setExitCode = (code: number): void => {
    exitCode = code;
  };
  const program = createProgram(io, setExitCode);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    if (!(error instanceof CodedError)) {
      io.err(`connect-gateway-proxy: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      return FAILURE;
    }
    io.err(`connect-gateway-proxy: ${describeError(error)}\n`);
    return error instanceof UsageError ? USAGE : FAILURE;
  }
}

/** Every verb there is. `setExitCode` is called by verbs that have another exit code than success. */
export function createProgram(io: CommandIo, setExitCode: (code: number) => void): Command {
  const program = new Command('connect-gateway-proxy')
    .description('One plain Kubernetes API endpoint per fleet membership, through the Connect gateway.')
    .version(io.version)
    .configureOutput({ writeOut: io.out, writeErr: io.err, getOutHelpWidth: () => io.outColumns })
    .exitOverride()
    .showHelpAfterError('(see --help)')
    .allowExcessArguments(false);
  addRun(program, io, setExitCode);
  addDemo(program, io, setExitCode);
  addEmulator(program, io, setExitCode);
  addMemberships(program, io);
  addKubeconfig(program, io);
  addSessions(program, io, setExitCode);
  addService(program, io, { setExitCode, runCommandLine });
  addReload(program, io);
  addShell(program, io, setExitCode);
  addStatus(program, io, setExitCode);
  addDoctor(program, io, setExitCode);
  addRbac(program, io, setExitCode);
  addStop(program, io);
  addWait(program, io);
  addCompletion(program, io);
  addExamples(program);
  return program;
}
