import type { ClusterAnswer } from '../../daemon/cluster-way.js';

/** What the cluster itself says, in answer to /version. */
export function versionIn(answer: ClusterAnswer | undefined): string | undefined {
  if (answer?.status !== 200) return undefined;
  try {
    const { gitVersion } = JSON.parse(answer.body) as { gitVersion?: unknown };
    return typeof gitVersion === 'string' ? gitVersion : undefined;
  } catch {
    return undefined;
  }
}

/** The oldest clusters that streams through the gateway reach (Google's guide). */
export const EXEC_SINCE = 30;
export const PORT_FORWARD_SINCE = 31;
