import { bracketed } from '../../daemon/served-fleet.js';
import type { Settings } from '../../daemon/settings.js';
import { State } from '../../daemon/state.js';

/** `address:port` of the hub and of every membership whose port is known: pinned, or given out by an earlier start. */
export function knownSockets(settings: Settings): string[] {
  const { address, port, membershipPorts } = settings.listen;
  const remembered = Object.values(
    (State.read(settings.stateDir)?.readJson('ports.json') ?? {}) as Record<string, unknown>,
  );
  const ports = [port, ...settings.memberships.map((membership) => membership.port), ...remembered];
  const sound = ports.filter(
    (candidate, index): candidate is number =>
      typeof candidate === 'number' &&
      candidate > 0 &&
      (index <= settings.memberships.length ||
        (candidate >= membershipPorts.first && candidate <= membershipPorts.last)),
  );
  const [hub, ...memberships] = [...new Set(sound)];
  const sorted = memberships.sort((a, b) => a - b);
  return [...(hub === undefined ? [] : [hub]), ...sorted].map((each) => `${bracketed(address)}:${each}`);
}
