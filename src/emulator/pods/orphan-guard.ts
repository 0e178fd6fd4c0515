import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/** Told of groups by `+ ID` and `- ID`; its input ends when this process does, in whatever way. */
const PROGRAM = `
alive=' '
while read -r sign id; do
  case $sign in
    +) alive="$alive$id " ;;
    -) alive="\${alive%% $id *} \${alive#* $id }" ;;
  esac
done
for id in $alive; do kill -s KILL -- "-$id" 2>/dev/null; done
`;

let guard: ChildProcess | undefined;

/**
 * A process group that must not outlive this process, be it killed by SIGKILL. Call the answer once when the group's leader
 * has ended, before its number can be another's. Without effect on Windows.
 */
export function guardGroup(id: number | undefined): () => void {
  if (id === undefined || process.platform === 'win32') return () => {};
  tell(`+ ${id}`);
  return () => tell(`- ${id}`);
}

function tell(line: string): void {
  guard ??= startGuard();
  guard.stdin?.write(`${line}\n`);
}

/** In a session of its own: what ends a terminal's programs must leave it time. It keeps nobody from ending. */
function startGuard(): ChildProcess {
  const child = spawn('/bin/sh', ['-c', PROGRAM], {
    cwd: '/',
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // A machine without it has pods that may stay: no reason not to run them.
  child.on('error', () => {});
  child.stdin?.on('error', () => {});
  child.unref();
  (child.stdin as Socket | null)?.unref();
  return child;
}
