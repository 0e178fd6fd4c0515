import { bootstrapScript } from './holder-frames.js';

/** What the exec call of ours is called in the container's list of processes. */
const NAME = 'connect-gateway-proxy';
/** Of a request's line: Google's front ends and servers on the way take no more for granted. */
const TARGET_LIMIT_BYTES = 8000;

/**
 * The exec target that has the client's command held: the same pod, container and command, byte for byte, behind our own
 * shell. Undefined where that would be too long for a request's line.
 */
export function holdingTarget(target: string): string | undefined {
  const wrapped = rewrite(target, (pairs) => pairs.filter(([key]) => key === 'command').map(([, raw]) => raw));
  return wrapped.length <= TARGET_LIMIT_BYTES ? wrapped : undefined;
}

/** The exec target that joins a command that is held already. */
export function joiningTarget(target: string): string {
  return rewrite(target, () => []);
}

const OURS = new Set(['command', 'tty', 'stdin', 'stdout', 'stderr']);

function rewrite(target: string, keep: (pairs: readonly (readonly [string, string])[]) => string[]): string {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const pairs = (mark === -1 ? '' : target.slice(mark + 1))
    .split('&')
    .filter((raw) => raw !== '')
    .map((raw) => [[...new URLSearchParams(raw).keys()][0] ?? '', raw] as const);
  const others = pairs.filter(([key]) => !OURS.has(key)).map(([, raw]) => raw);
  const shell = ['sh', '-c', bootstrapScript(), NAME].map((word) => `command=${encodeURIComponent(word)}`);
  return `${path}?${[...others, ...shell, ...keep(pairs), 'stdin=true', 'stdout=true', 'stderr=true'].join('&')}`;
}
