import { systemClock } from '../../src/base/clock.js';
import type { CommandIo } from '../../src/commands/io.js';
import { runCommandLine } from '../../src/commands/program.js';

export interface CommandOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line in this process, beside the daemon of `folder`. */
export async function runCommand(
  args: readonly string[],
  o: { folder: string; stateDir: string; changes?: Partial<CommandIo> },
): Promise<CommandOutcome> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
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
  return { code: await runCommandLine(args, io), out, err };
}
