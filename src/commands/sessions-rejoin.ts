import type { IncomingMessage } from 'node:http';
import type { Command } from 'commander';
import { WebSocket } from 'ws';
import { CodedError, describeError } from '../base/errors.js';
import type { SessionReport } from '../daemon/session-report.js';
import { CHANNEL, closeMessage, formatResize, parseRemoteStatus } from '../kubernetes/remote-command.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo, CommandTerminal } from './io.js';
import { addSettingOptions } from './settings-options.js';

const PROTOCOL = 'v5.channel.k8s.io';
/** What a terminal that is not looked at may be behind. */
const HIGH_WATER_BYTES = 1024 * 1024;

export function addRejoin(
  sessions: Command,
  io: CommandIo,
  o: { report: (daemon: DaemonBeside) => Promise<SessionReport>; setExitCode: (code: number) => void },
): void {
  const command = sessions
    .command('rejoin')
    .description('attach this terminal to a command that waits in its container')
    .argument('<id>', 'as connect-gateway-proxy sessions lists it')
    .addHelpText(
      'after',
      '\nCommands wait where exec.onCutoff is survive and the daemon that carried them was lost. The exit code is the command’s;\nwhoever leaves ends the command, as with kubectl.\n\nExamples:\n  $ connect-gateway-proxy sessions rejoin k3v9q\n',
    )
    .action(async (id: string) => {
      const daemon = daemonBeside(command, io);
      const { held } = await o.report(daemon);
      const session = held.find((candidate) => candidate.id === id);
      if (session === undefined) throw nothingWaits(id, held);
      o.setExitCode(await attach(daemon, io, session));
    });
  addSettingOptions(command, 'beside');
}

function nothingWaits(id: string, held: SessionReport['held']): CodedError {
  const known = held.length === 0 ? 'none does' : `these do: ${held.map((session) => session.id).join(', ')}`;
  return new CodedError({ code: 'no-such-session', message: `no session ${id} waits in a container; ${known}` });
}

function attach(daemon: DaemonBeside, io: CommandIo, { id, tty }: SessionReport['held'][number]): Promise<number> {
  const socket = new WebSocket(
    `${daemon.record.hubUrl.replace(/^http/, 'ws')}/-/sessions/${encodeURIComponent(id)}/rejoin`,
    [PROTOCOL],
    {
      ca: daemon.state.authorityCertificate(),
      headers: { Authorization: `Bearer ${daemon.state.tokens.hub}` },
      perMessageDeflate: false,
    },
  );
  const terminal = io.terminal?.();
  return new Promise((resolve, reject) => {
    let code = 1;
    socket.on('unexpected-response', (_request, response) => void refusalOf(response).then(reject));
    socket.on('error', (error) => reject(unreachable(error)));
    socket.on('open', () => terminal?.start({ raw: tty, ...listeners(socket, terminal, tty) }));
    socket.on('message', (data) => {
      const message = data as Buffer;
      const payload = message.subarray(1);
      if (message[0] === CHANNEL.stdout) io.outBytes?.(payload);
      else if (message[0] === CHANNEL.stderr) io.errBytes?.(payload);
      else if (message[0] === CHANNEL.error) {
        const result = parseRemoteStatus(payload);
        code = result.exitCode;
        if (result.message !== undefined && code === 1) io.err(`${result.message}\n`);
      }
    });
    socket.on('close', () => {
      terminal?.stop();
      resolve(code);
    });
  });
}

function listeners(
  socket: WebSocket,
  terminal: CommandTerminal,
  tty: boolean,
): Pick<Parameters<CommandTerminal['start']>[0], 'onData' | 'onEnd' | 'onResize'> {
  const say = (channel: number, payload: Uint8Array): void => {
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(Buffer.concat([Buffer.of(channel), payload]), () => {
      if (socket.bufferedAmount < HIGH_WATER_BYTES) terminal.resume();
    });
    if (socket.bufferedAmount >= HIGH_WATER_BYTES) terminal.pause();
  };
  let first = true;
  return {
    onData: (bytes) => say(CHANNEL.stdin, bytes),
    onEnd: () => socket.send(closeMessage(CHANNEL.stdin)),
    onResize: ({ columns, rows }) => {
      if (!tty) return;
      // A full-screen program draws its screen anew when the size is another: for an instant it is.
      if (first && rows > 1) say(CHANNEL.resize, formatResize({ columns, rows: rows - 1 }));
      first = false;
      say(CHANNEL.resize, formatResize({ columns, rows }));
    },
  };
}

async function refusalOf(response: IncomingMessage): Promise<CodedError> {
  let body = '';
  try {
    for await (const chunk of response) body += String(chunk);
  } catch {
    // What came of it is enough.
  }
  let message = `the daemon answered HTTP ${response.statusCode}; restart it so that both have the same version`;
  try {
    message = (JSON.parse(body) as { message?: string }).message ?? message;
  } catch {
    // Not a Status.
  }
  return new CodedError({ code: 'rejoin-refused', message: message.replace(/^connect-gateway-proxy: /, '') });
}

function unreachable(error: Error): CodedError {
  return new CodedError({
    code: 'daemon-not-running',
    message: `the daemon cannot be reached: ${describeError(error)}`,
    cause: error,
  });
}
