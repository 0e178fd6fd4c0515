import { relayUpgrade, type UpgradeCall } from './relay-upgrade.js';
import type { RelayTools } from './served-membership.js';

/**
 * Carries a port-forward session. A plain byte tunnel for now: the session ends with its upstream connection.
 * The interface is what a local session with a replaceable upstream tunnel will stand behind.
 */
export function relayPortForward(tools: RelayTools, call: UpgradeCall): Promise<void> {
  return relayUpgrade(tools, call);
}
