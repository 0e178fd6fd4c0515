import { CodedError } from '../../base/errors.js';
import type { TerminalSize } from '../../kubernetes/remote-command.js';
import type { ProgramEvents, ProgramSpec, RunningProgram } from './process-program.js';
import { ProcessGroup } from './process-program.js';

type Pty = typeof import('@lydell/node-pty');

let loading: Promise<Pty> | undefined;

/** node-pty is optional: it carries native code that not every machine has. */
async function loadPty(): Promise<Pty> {
  loading ??= import('@lydell/node-pty');
  try {
    return await loading;
  } catch (cause) {
    throw new CodedError({
      code: 'emulator-no-pty',
      message:
        'a terminal needs the optional package @lydell/node-pty, which is not installed or does not fit this machine; ' +
        'type `npm install @lydell/node-pty` where connect-gateway-proxy is installed, or run the command without -t',
      cause,
    });
  }
}

/** The size a terminal has until its client says its own; every terminal's since the VT100. */
const INITIAL_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** Runs `spec` on a real pseudo terminal; stdin, stdout and stderr are one. */
export async function startTerminalProgram(spec: ProgramSpec, events: ProgramEvents): Promise<RunningProgram> {
  const pty = await loadPty();
  const [file = '', ...args] = spec.command;
  const terminal = pty.spawn(file, args, {
    name: 'xterm',
    cols: INITIAL_SIZE.columns,
    rows: INITIAL_SIZE.rows,
    cwd: spec.cwd,
    // As containerd: whatever the container's own environment says.
    env: { ...spec.env, TERM: 'xterm' },
    // Bytes, not text: a character may be split between two reads.
    encoding: null,
  });
  const group = new ProcessGroup(terminal.pid);
  let ended = false;
  terminal.onData((data: string | Buffer) => events.onOutput('stdout', Buffer.from(data)));
  terminal.onExit(({ exitCode, signal }) => {
    ended = true;
    group.leaderEnded();
    events.onExit(signal === undefined || signal === 0 ? exitCode : 128 + signal);
  });
  return {
    stdin: spec.stdin
      ? {
          write(data: Buffer) {
            // Takes bytes as well; its types only know text.
            if (!ended) terminal.write(data as Buffer & string);
            return true;
          },
          onDrain: () => () => {},
          // A terminal has no end of input of its own: what was typed last stays open, as in a real container.
          end() {},
        }
      : undefined,
    pause: () => terminal.pause(),
    resume: () => terminal.resume(),
    resize(size) {
      // A terminal of no width is refused by the driver; clients send it when they have no terminal.
      if (!ended && size.columns > 0 && size.rows > 0) terminal.resize(size.columns, size.rows);
    },
    kill: (signal) => group.kill(signal),
    isGroupGone: () => group.isGone(),
  };
}
