import { systemClock } from '../../src/base/clock.js';
import type { CommandIo } from '../../src/commands/io.js';
import { runCommandLine } from '../../src/commands/program.js';

export interface CommandOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface CommandScene {
  /** Where the config file is looked for. */
  readonly folder: string;
  readonly stateDir: string;
  readonly changes?: Partial<CommandIo>;
}

/** A process of the test's own, and what has been written to it. */
export function commandIo(o: CommandScene): { io: CommandIo; written: { out: string; err: string } } {
  const written = { out: '', err: '' };
  const io: CommandIo = {
    out: (text) => {
      written.out += text;
    },
    err: (text) => {
      written.err += text;
    },
    env: { ...process.env, CGP_STATE_DIR: o.stateDir },
    errIsTty: false,
    outIsTty: false,
    outColumns: 120,
    clock: systemClock,
    version: '0.0.0-test',
    paths: { config: o.folder, data: o.folder },
    onSignal: () => {},
    onReload: () => {},
    pause: async () => {},
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
    ...o.changes,
  };
  return { io, written };
}

/** Runs one command line in this process. */
export async function runCommand(args: readonly string[], o: CommandScene): Promise<CommandOutcome> {
  const { io, written } = commandIo(o);
  return { code: await runCommandLine(args, io), ...written };
}
