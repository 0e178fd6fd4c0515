import type { RetryClass } from '../base/errors.js';
import type { GoogleError, MembershipFacts } from './failure-forms.js';

/** What a row's texts may name. */
export interface FailurePlace {
  readonly membership: string;
  readonly about: MembershipFacts;
  readonly upgrade?: string;
  /** How long the stream had lived that failed; absent where nothing had been accepted yet. */
  readonly ageMs?: number;
  /** The user or group that the Connect agent may not act for, as the cluster names it. */
  readonly impersonated?: string;
}

/** One way in which the gateway fails. The first row that matches decides. */
export interface FailureRow {
  /** Stable, in kebab case. */
  readonly code: string;
  /** HTTP status of the answer that the client gets, and the Status's code. */
  readonly status: number | ((error: GoogleError) => number);
  /** A metav1.StatusReason. */
  readonly reason: string | ((error: GoogleError) => string);
  readonly retry: RetryClass;
  /** Only where a short wait helps: kubectl repeats ten times in silence, this many seconds apart. */
  readonly retryAfterSeconds?: number;
  /** The text names the gateway itself, so that it is Google's even below a proxy subresource. */
  readonly certain?: true;
  /** Nobody but Google and workloads speaks so: the text needs no form where it is no workload's. */
  readonly wordsSuffice?: true;
  matches(error: GoogleError, place: FailurePlace): boolean;
  /** What happened, for people; Google's own words follow it. */
  what(place: FailurePlace): string;
  /** Who must act. */
  readonly who: string;
  /** What to do, ending in the next command as it can be typed, `…, with: COMMAND`, or in a page to open, `… at: URL`. */
  fix(place: FailurePlace): string;
}

/** Where the gateway's way to a cluster is broken, a command that takes it fails as what it is to explain. */
export const PAST_GATEWAY = 'in a context that leads straight to the cluster, not through the gateway,';
export const AGENT_LOGS = 'kubectl logs -n gke-connect -l app=gke-connect-agent --tail=-1';
export const YOU = 'you';
export const CLUSTER_ADMIN = "the cluster's administrator";
export const PROJECT_OWNER = 'the owner of the fleet host project';
export const GOOGLE = 'nobody but Google';

export const refused = { status: 403, reason: 'Forbidden', retry: 'never' } as const;

export function grant(role: string, { about }: FailurePlace): string {
  return `gcloud projects add-iam-policy-binding ${about.project} --member=${about.member ?? 'user:EMAIL'} --role=${role}`;
}

export function applied(options: string, { about, impersonated }: FailurePlace): string {
  return `connect-gateway-proxy rbac --user ${impersonated ?? about.user ?? 'EMAIL'} ${options} | kubectl apply -f -`;
}

export function reasonOf(code: number): string {
  const reasons: Record<number, string> = {
    400: 'BadRequest',
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'NotFound',
    405: 'MethodNotAllowed',
    408: 'Timeout',
    409: 'Conflict',
    413: 'RequestEntityTooLarge',
    429: 'TooManyRequests',
    500: 'InternalError',
    502: 'BadGateway',
    503: 'ServiceUnavailable',
    504: 'Timeout',
  };
  return reasons[code] ?? 'Unknown';
}
