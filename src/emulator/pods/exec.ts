import { randomBytes } from 'node:crypto';
import { describeError } from '../../base/errors.js';
import { CHANNEL, exitStatus, internalErrorStatus, parseResize } from '../../kubernetes/remote-command.js';
import type { ChannelSocket } from './channel-socket.js';
import type { Container } from './container.js';
import type { ProgramSpec, RunningProgram } from './process-program.js';
import { startPipedProgram, whyNotRunnable } from './process-program.js';
import { startTerminalProgram } from './terminal.js';
import { Refusal } from './upgrade-socket.js';

/** The query of exec and attach. */
export interface StreamOptions {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** Throws a Refusal (400) for a query that asks for nothing. */
export function parseStreamOptions(query: URLSearchParams): StreamOptions {
  const tty = flag(query, 'tty');
  const options = {
    command: query.getAll('command'),
    stdin: flag(query, 'stdin'),
    stdout: flag(query, 'stdout'),
    // A terminal has one output; a real server leaves stderr out as well.
    stderr: flag(query, 'stderr') && !tty,
    tty,
  };
  if (!options.stdin && !options.stdout && !options.stderr) {
    throw new Refusal(400, 'BadRequest', 'you must specify at least 1 of stdin, stdout, stderr');
  }
  return options;
}

/** As the API server reads booleans of a query: present and neither `0` nor `false`. */
function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}

/**
 * Runs a command in the container for one WebSocket. A client that goes away ends the command's stdin and loses its
 * output, and the command goes on, as on a real node; it ends with its container.
 */
export async function serveExec(container: Container, channels: ChannelSocket, options: StreamOptions): Promise<void> {
  const spec: ProgramSpec = {
    command: options.command,
    cwd: container.cwd,
    env: container.env,
    stdin: options.stdin,
    endsGroup: false,
  };
  channels.send(CHANNEL.stdout, new Uint8Array());
  const reason = whyNotRunnable(spec);
  if (reason !== undefined) return channels.finish(internalErrorStatus(cannotStart(channels, reason)));

  let gone = false;
  let program: RunningProgram | undefined;
  let forget = (): void => {};
  const wanted = { stdout: options.stdout, stderr: options.stderr };
  const events = {
    onOutput(stream: 'stdout' | 'stderr', data: Buffer) {
      if (gone || !wanted[stream]) return;
      if (!channels.send(CHANNEL[stream], data)) program?.pause();
    },
    onExit(exitCode: number) {
      forget();
      channels.finish(exitStatus(channels.protocol, exitCode, options.command));
    },
  };
  channels.onGone(() => {
    gone = true;
    program?.stdin?.end();
    program?.resume();
  });
  channels.pause();
  try {
    program = options.tty ? await startTerminalProgram(spec, events) : startPipedProgram(spec, events);
  } catch (error) {
    return channels.finish(internalErrorStatus(`error executing command in container: ${describeError(error)}`));
  }
  forget = container.adopt(program);
  channels.onDrain(() => program?.resume());
  feedProgram(channels, program, () => program?.stdin?.end());
  channels.resume();
}

/** Client to program: stdin with backpressure, its end, and the terminal's size. The answer stops listening. */
export function feedProgram(
  channels: ChannelSocket,
  program: Pick<RunningProgram, 'stdin' | 'resize'>,
  onStdinEnd: () => void,
): () => void {
  channels.onMessage((channel, payload) => {
    if (channel === CHANNEL.stdin) {
      if (payload.length > 0 && program.stdin?.write(payload) === false) channels.pause();
    } else if (channel === CHANNEL.resize) {
      const size = parseResize(payload);
      if (size !== undefined) program.resize(size);
    } else if (channel === CHANNEL.close && channels.protocol.halfClose && payload[0] === CHANNEL.stdin) {
      onStdinEnd();
    }
  });
  return program.stdin?.onDrain(() => channels.resume()) ?? (() => {});
}

/** The words of containerd and runc; the newest protocol wraps them once more. */
function cannotStart(channels: ChannelSocket, reason: string): string {
  const message =
    `error executing command in container: failed to exec in container: failed to start exec "${randomBytes(32).toString('hex')}": ` +
    `OCI runtime exec failed: exec failed: unable to start container process: ${reason}`;
  return channels.protocol.halfClose ? `Internal error occurred: ${message}` : message;
}
