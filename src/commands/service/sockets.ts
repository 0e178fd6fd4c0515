import { createServer } from 'node:net';
import { bracketed } from '../../daemon/served-fleet.js';
import type { Settings } from '../../daemon/settings.js';
import { State } from '../../daemon/state.js';

/** Ports are held by the dozen or so: the next memberships find theirs held already, and the unit seldom changes. */
const HELD_AT_ONCE = 8;
const LEAST_SPARE = 2;

/**
 * `address:port` of what the service manager holds for the daemon: the hub, every membership whose port is known (pinned,
 * or given out by an earlier start), and the next ones that the daemon will give out. `held` are those of the present
 * definition, which are not free because we have them.
 */
export async function socketsToHold(settings: Settings, held: readonly string[]): Promise<string[]> {
  const { address, port, membershipPorts } = settings.listen;
  const socket = (each: number): string => `${bracketed(address)}:${each}`;
  const known = knownPorts(settings);
  const { first, last } = membershipPorts;
  const wanted = Math.ceil((known.size + LEAST_SPARE) / HELD_AT_ONCE) * HELD_AT_ONCE;
  for (let next = first; first > 0 && next <= last && known.size < wanted; next++) {
    if (known.has(next) || next === port) continue;
    if (held.includes(socket(next)) || (await isFree(address, next))) known.add(next);
  }
  known.delete(port);
  return [...(port > 0 ? [port] : []), ...[...known].sort((a, b) => a - b)].map(socket);
}

function knownPorts(settings: Settings): Set<number> {
  const { first, last } = settings.listen.membershipPorts;
  const remembered = Object.values(
    (State.read(settings.stateDir)?.readJson('ports.json') ?? {}) as Record<string, unknown>,
  ).filter((port): port is number => typeof port === 'number' && port > 0 && port >= first && port <= last);
  const pinned = settings.memberships.flatMap(({ port }) => port ?? []);
  return new Set([...pinned, ...remembered]);
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}
