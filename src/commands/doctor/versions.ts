import type { ClusterAnswer } from '../../daemon/cluster-way.js';

/** `v1.36.2-gke.100` and the like; undefined for anything else. */
export function minorOf(version: string | undefined): number | undefined {
  const match = /^v?1\.(\d+)/.exec(version ?? '');
  return match === null ? undefined : Number(match[1]);
}

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
