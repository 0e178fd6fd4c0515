import { isTrue } from './query-boolean.js';
import type { RemoteStatus } from './remote-command.js';

/** What an exec or attach asks for, as far as it matters once its connection has been cut. */
export interface RemoteSession {
  readonly verb: 'exec' | 'attach';
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly command: readonly string[];
  readonly container?: string;
  /** The pod itself, to see whether the container is still there. */
  readonly podTarget: string;
}

/** Reads a `…/pods/P/exec?…` or `…/pods/P/attach?…` target. */
export function parseRemoteSession(target: string): RemoteSession {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  const isSet = (name: string): boolean => isTrue(query.get(name));
  const container = query.get('container') ?? '';
  return {
    verb: /\/attach\/?$/.test(path) ? 'attach' : 'exec',
    tty: isSet('tty'),
    stdin: isSet('stdin'),
    stdout: isSet('stdout'),
    stderr: isSet('stderr'),
    command: query.getAll('command'),
    ...(container === '' ? {} : { container }),
    podTarget: path.replace(/\/(?:exec|attach)\/?$/, ''),
  };
}

const SHELLS = new Set(['sh', 'bash', 'ash', 'dash', 'zsh', 'fish', 'ksh']);
const SHELL_FLAGS = /^(?:-[il]+|--login|--interactive)$/;

/** A shell at a terminal that nothing has been told to run: to start another one repeats nothing. */
export function isBareShell(session: RemoteSession): boolean {
  const [program = '', ...flags] = session.command;
  const name = program.slice(program.lastIndexOf('/') + 1);
  return (
    session.verb === 'exec' &&
    session.tty &&
    session.stdin &&
    SHELLS.has(name) &&
    flags.every((flag) => SHELL_FLAGS.test(flag))
  );
}

/** What `exec.onCutoff` may say. */
export type OnCutoff = 'reopen' | 'end' | 'survive';

export type CutPlan = 'reattach' | 'reopen' | 'end';

/** What to do when the connection of a session is cut. A command is never run a second time. */
export function planAfterCut(session: RemoteSession, o: { onCutoff: OnCutoff; stdinEnded: boolean }): CutPlan {
  if (session.verb === 'attach') return 'reattach';
  // A command that could not be held, for want of what that takes, is one like any other.
  // Nobody could type into a new shell once the client has ended its input.
  return o.onCutoff !== 'end' && !o.stdinEnded && isBareShell(session) ? 'reopen' : 'end';
}

/** `4 s`, `20 min 3 s`, `1 h 2 min`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const SELF = 'connect-gateway-proxy';

export interface GapFacts {
  /** From the session's start to the cut. */
  readonly ageMs: number;
  readonly gapMs: number;
}

/** One line without an end, for whoever is attached. */
export function attachNotice(facts: GapFacts & { stdinClosed: boolean }): string {
  const gap = formatAge(facts.gapMs);
  const stdin = facts.stdinClosed ? '; the container has stdinOnce, so that its stdin was closed by the cut' : '';
  return `${SELF}: the gateway cut this session after ${formatAge(facts.ageMs)}; attached to the same container again (gap ${gap}): output during the gap, and input sent just before it, may be missing${stdin}`;
}

/** One line for whoever was attached to a container that has ended during the gap. */
export function endedNotice(facts: GapFacts): string {
  return `${SELF}: the gateway cut this session after ${formatAge(facts.ageMs)}, and the container has ended since: the last of its output may be missing`;
}

/** One line for whoever sits at a shell that is not the one they had. */
export function shellNotice(facts: GapFacts & { discardedBytes: number }): string {
  const typed = facts.discardedBytes === 0 ? '' : ', what was typed meanwhile was not passed on';
  return `${SELF}: the gateway cut this session after ${formatAge(facts.ageMs)}; this is a NEW shell in the same container (the old one's folder, variables and jobs are not here${typed})`;
}

const AFTER_CUTOFF: Readonly<Record<CutPlan, string>> = {
  reattach: 'it is attached to again then',
  reopen: 'a new shell takes its place then, without the folder, variables and jobs of this one',
  end: 'it ends then, and its command goes on in the container without its reader',
};

/** One line at a terminal whose session is near its end. */
export function cutoffWarning(o: { leftMs: number; plan: CutPlan }): string {
  return `${SELF}: the gateway is expected to cut this session in ${formatAge(o.leftMs)}: ${AFTER_CUTOFF[o.plan]}`;
}

/** One line at a terminal whose session has been gone for a while. */
export function waitingNotice(ageMs: number): string {
  return `${SELF}: the gateway cut this session after ${formatAge(ageMs)}; waiting for the cluster to open a new shell, Ctrl-C gives up`;
}

/** A notice as it is written: at a terminal in raw mode a line needs its own return, and starts on a line of its own. */
export function noticeText(session: RemoteSession, line: string): Buffer {
  return Buffer.from(session.tty ? `\r\n${line}\r\n` : `${line}\n`);
}

/** What an exec that is not run again is told. It tells the truth about what goes on in the container. */
export function cutMessage(session: RemoteSession, o: { ageMs: number; detail?: string }): string {
  const detail = o.detail === undefined ? '' : ` (${o.detail})`;
  const cut = `${SELF}: the gateway cut this session after ${formatAge(o.ageMs)}${detail}`;
  if (isTar(session)) return `${cut}; ${copyAdvice(session)}`;
  if (session.verb === 'attach') return `${cut}; the container goes on without its reader`;
  const orphan = 'the command was not run again; its process may go on in the container without its reader';
  const short = 'its stdin has ended there, so that what was being uploaded may be short though it looks complete';
  return session.stdin ? `${cut}; ${orphan}; ${short}` : `${cut}; ${orphan}`;
}

/** What the client of a command is told that was held in its container, and cannot be joined any more. */
export function lostHolderMessage(o: { ageMs: number; detail: string }): string {
  return `${SELF}: the gateway cut this session after ${formatAge(o.ageMs)}, and its command could not be joined again: ${o.detail}; it was not run a second time`;
}

/** What the client of a held command is told when the daemon leaves. */
export function heldMessage(o: { id: string; why: string; lingerSeconds: number }): string {
  return `${SELF}: ${o.why}; the command goes on in its container for ${formatAge(o.lingerSeconds * 1000)}: connect-gateway-proxy sessions rejoin ${o.id}`;
}

/** Measured with kubectl 1.31 to 1.33: --retries goes on after an end that looks like success only, which is never given. */
function copyAdvice(session: RemoteSession): string {
  return session.stdin
    ? 'the copy into the container is incomplete, though tar there may have ended as if it were whole: copy it again (kubectl cp --retries is for copies out of a container only)'
    : 'the copy is incomplete: copy it again, in smaller parts if it takes longer than that (kubectl cp --retries does not help here: kubectl gives up when its exec fails)';
}

/** As kubectl cp runs it: `tar cf - PATH`, `tar -xmf - -C FOLDER`, or through a shell with tail for a resumed copy. */
function isTar(session: RemoteSession): boolean {
  const [program, flags = '', third = ''] = session.command;
  if (session.tty) return false;
  if (program === 'tar') return /^-?[cx]m?/.test(flags);
  return program === 'sh' && flags === '-c' && /^tar cf - /.test(third);
}

/** A session that has ended otherwise than its command: kubectl prints the message and exits with 1. */
export function lostSessionStatus(message: string): RemoteStatus {
  return {
    metadata: {},
    status: 'Failure',
    message,
    reason: 'InternalError',
    details: { causes: [{ message }] },
    code: 500,
  };
}
