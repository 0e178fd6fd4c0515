import { type SpawnOptions, spawn } from 'node:child_process';
import { homedir, userInfo } from 'node:os';
import type { CommandIo } from '../io.js';

/** How a program of the machine ended; 127 when it is not there. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The machine as the service managers touch it. */
export interface ServiceHost {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly user: string;
  run(command: string, args: readonly string[], input?: string): Promise<Outcome>;
  /** With this process's own input and output. */
  attach(command: string, args: readonly string[]): Promise<number>;
  /** Goes on after this process. */
  startDetached(words: readonly string[]): void;
}

/** The real one. */
export function systemHost(io: CommandIo): ServiceHost {
  const { uid, username } = userInfo();
  const domain = io.env['USERDOMAIN'];
  return {
    platform: process.platform,
    home: io.env['HOME'] ?? homedir(),
    env: io.env,
    uid,
    user: domain === undefined ? username : `${domain}\\${username}`,
    run: (command, args, input) => capture(command, args, { input, env: io.env }),
    attach: (command, args) =>
      ended(spawn(command, args, { stdio: 'inherit', env: io.env })).then(({ code }) => code ?? 130),
    startDetached: ([command = '', ...args]) => {
      const child = spawn(command, args, { stdio: 'ignore', detached: true, windowsHide: true, env: io.env });
      // Told by the wait for readiness, which names the log.
      child.on('error', () => {});
      child.unref();
    },
  };
}

async function capture(
  command: string,
  args: readonly string[],
  o: { input: string | undefined; env: CommandIo['env'] },
): Promise<Outcome> {
  const options: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'], env: o.env, windowsHide: true };
  const child = spawn(command, args, options);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(o.input ?? '');
  const { code, problem } = await ended(child);
  return { code: code ?? 255, stdout, stderr: problem ?? stderr };
}

function ended(child: ReturnType<typeof spawn>): Promise<{ code: number | null; problem?: string }> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 127, problem: error.message }));
    child.once('close', (code) => resolve({ code }));
  });
}
