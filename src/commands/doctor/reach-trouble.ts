import type { ClusterAnswer } from '../../daemon/cluster-way.js';
import { parted } from './advice.js';
import { type CheckId, type Finding, fail } from './check.js';

/** Which check a trouble on the way to a cluster belongs to, by its code; all others belong to the round trip. */
const OWNERS: Readonly<Record<string, CheckId>> = {
  'google-unauthenticated': 'identity',
  'token-unavailable': 'identity',
  'token-file-unusable': 'identity',
  'credentials-missing': 'identity',
  'credentials-revoked': 'identity',
  'credentials-unreadable': 'identity',
  'reauthentication-required': 'identity',
  'impersonation-denied': 'identity',
  'identity-invalid': 'identity',
  'gcloud-missing': 'identity',
  'api-disabled': 'api',
  'gateway-permission-denied': 'iam',
  'google-permission-denied': 'iam',
  'stream-permission-denied': 'iam',
  'membership-not-found': 'membership',
  'gateway-url-not-found': 'membership',
  'gke-asked-for-agent': 'agent',
  'agent-missing': 'agent',
  'agent-lost': 'agent',
  'agent-unhealthy': 'agent',
  'agent-connection-failed': 'agent',
  'cluster-error': 'agent',
  'gateway-precondition': 'agent',
  'agent-may-not-impersonate': 'rbac',
  'agent-may-not-impersonate-groups': 'rbac',
  'stream-rbac-denied': 'rbac',
  'request-quota': 'quota',
  'throttled-without-a-word': 'quota',
  'request-line-full': 'quota',
  'stream-quota': 'quota',
  'streams-exhausted': 'quota',
};

/** The failure that the answer means for this check; undefined where it has none, or belongs to another. */
export function troubleFor(check: CheckId, answer: ClusterAnswer | undefined): Finding | undefined {
  const { trouble } = answer ?? {};
  if (trouble === undefined || (OWNERS[trouble.code] ?? 'round-trip') !== check) return undefined;
  return failureOf(trouble);
}

export function failureOf({ code, message }: { code: string; message: string }): Finding {
  const told = parted(message);
  return fail(told.message, told.next, { code });
}
