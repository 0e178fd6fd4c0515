import type { GoogleError } from './failure-forms.js';
import {
  AGENT_LOGS,
  applied,
  CLUSTER_ADMIN,
  type FailureRow,
  grant,
  PAST_GATEWAY,
  PROJECT_OWNER,
  reasonOf,
  refused,
  YOU,
} from './failure-row.js';

/** The longest that a session lives is 20 to 30 minutes; a little less is still that. */
const CUTOFF_MS = 15 * 60_000;

/** By its name, or as the quotas page calls it. */
const ACTIVE_STREAMS = /active_streams|\bquota\b.*\bactive streams\b/i;

const agentIsLost = { status: 503, reason: 'ServiceUnavailable', retry: 'later' } as const;

/** Status in a text such as `(status=403 Forbidden, …`, the API server's own answer to the gateway. */
function innerStatus({ text }: GoogleError): number | undefined {
  const match = /API\s*Server with response \(?\s*status\s*[=:]\s*"?(\d{3})/i.exec(text);
  return match === null ? undefined : Number(match[1]);
}

/** The way from Google to the cluster: its agent, its streams, and what the agent may do there. */
export const WAY_ROWS: readonly FailureRow[] = [
  {
    ...agentIsLost,
    code: 'gke-asked-for-agent',
    certain: true,
    matches: ({ text }, { about }) => /no active connections? found/i.test(text) && about.kind === 'gke',
    what: ({ membership }) =>
      `the endpoint of GKE cluster ${membership} asks for a Connect agent, and GKE clusters need none`,
    who: YOU,
    fix: () =>
      'remove memberships[].endpoint from config.yaml if it is set, and ask the fleet again: connect-gateway-proxy memberships --refresh',
  },
  {
    ...agentIsLost,
    code: 'agent-missing',
    certain: true,
    matches: ({ text }) => /no active connections? found/i.test(text),
    what: ({ membership }) => `no Connect agent of membership ${membership} has a connection to Google`,
    who: CLUSTER_ADMIN,
    fix: () =>
      `${PAST_GATEWAY} see whether the agent is installed (where it is, its log says why: ${AGENT_LOGS}), with: kubectl get pods -n gke-connect`,
  },
  {
    ...agentIsLost,
    code: 'agent-lost',
    certain: true,
    matches: ({ text }) =>
      /cannot connect to (?:the )?(?:connect )?agent|connection unexpectedly terminated/i.test(text),
    what: ({ membership }) => `the Connect agent of membership ${membership} has lost its connection to Google`,
    who: CLUSTER_ADMIN,
    fix: () => `${PAST_GATEWAY} look at the agent, with: ${AGENT_LOGS}`,
  },
  {
    ...agentIsLost,
    code: 'agent-unhealthy',
    wordsSuffice: true,
    matches: ({ text }) => /\bagent\b.*\b(?:unhealthy|not healthy)\b/i.test(text),
    what: ({ membership }) => `the Connect agent of membership ${membership} is not healthy`,
    who: CLUSTER_ADMIN,
    fix: () => `${PAST_GATEWAY} look at its pods with: kubectl describe pods -n gke-connect -l app=gke-connect-agent`,
  },
  {
    ...agentIsLost,
    code: 'session-cutoff',
    wordsSuffice: true,
    matches: ({ text }, { ageMs = 0 }) => isAgentConnectionEnd(text) && ageMs >= CUTOFF_MS,
    what: ({ membership }) =>
      `the session to membership ${membership} has reached the age of 20 to 30 minutes at which Google ends it, for security's sake`,
    who: YOU,
    fix: () => 'start it again; see what is due next with: connect-gateway-proxy sessions',
  },
  {
    ...agentIsLost,
    code: 'agent-connection-failed',
    wordsSuffice: true,
    matches: ({ text }) => isAgentConnectionEnd(text),
    what: ({ membership }) =>
      `the stream to membership ${membership} failed between Google and the cluster, at once and not at the usual cutoff`,
    who: CLUSTER_ADMIN,
    fix: () => `${PAST_GATEWAY} look at its connection to Google with: ${AGENT_LOGS}`,
  },
  {
    ...refused,
    code: 'stream-permission-denied',
    certain: true,
    matches: ({ text, metadata }) => /gkehub\.gateway\.stream\b/.test(`${text} ${metadata}`),
    what: ({ membership }) => `this identity may not open streams (exec, attach, cp, port-forward) to ${membership}`,
    who: PROJECT_OWNER,
    fix: (place) =>
      `grant a role with gkehub.gateway.stream (roles/gkehub.gatewayAdmin has it), with: ${grant('roles/gkehub.gatewayAdmin', place)}`,
  },
  {
    ...refused,
    code: 'stream-rbac-denied',
    certain: true,
    matches: (error) => innerStatus(error) === 403,
    what: ({ membership }) =>
      `the RBAC of cluster ${membership} refuses this stream: it takes the verbs get and, from Kubernetes 1.35, create on pods/exec, pods/attach and pods/portforward`,
    who: CLUSTER_ADMIN,
    fix: (place) => `grant them, with: ${applied('--streams-only --namespace NAMESPACE', place)}`,
  },
  {
    code: 'stream-refused-by-cluster',
    certain: true,
    status: (error) => innerStatus(error) ?? 500,
    reason: (error) => reasonOf(innerStatus(error) ?? 500),
    retry: 'never',
    matches: (error) => (innerStatus(error) ?? 0) >= 400,
    what: ({ membership }) => `the API server of cluster ${membership} refused this stream`,
    who: YOU,
    fix: () => 'see whether the pod and the container are there and run, with: kubectl get pods',
  },
  {
    code: 'stream-quota',
    status: 429,
    reason: 'TooManyRequests',
    retry: 'later',
    certain: true,
    matches: ({ text, metadata }) => ACTIVE_STREAMS.test(`${text} ${metadata}`),
    what: ({ about }) =>
      `the active streams of fleet host project ${about.project} are used up, of which it has 10 where no more were granted`,
    who: YOU,
    fix: ({ about }) =>
      `end a stream (connect-gateway-proxy sessions lists those of this machine), or ask for more of the quota connectgateway.googleapis.com/active_streams at: https://console.cloud.google.com/iam-admin/quotas?project=${about.project}`,
  },
  {
    code: 'cluster-error',
    status: 503,
    reason: 'ServiceUnavailable',
    retry: 'later',
    certain: true,
    matches: ({ text }) => /error encountered within the cluster/i.test(text),
    what: ({ membership }) =>
      `the stream failed inside cluster ${membership}, between its Connect agent and API server`,
    who: CLUSTER_ADMIN,
    fix: () => `look for "failed to create the websocket connection" in the agent's log, with: ${AGENT_LOGS}`,
  },
  {
    ...refused,
    code: 'agent-may-not-impersonate-groups',
    certain: true,
    matches: ({ form, text }) => form === 'kubernetes' && /impersonate resource "?(?:groups|userextras)/.test(text),
    what: ({ membership }) =>
      `the Connect agent of cluster ${membership} may not act for the Google groups or third-party identity of this user`,
    who: CLUSTER_ADMIN,
    fix: ({ impersonated }) =>
      `look at the logs of the identity service where the groups are not as expected (kubectl logs -n anthos-identity-service -l k8s-app=ais --tail=-1), or let it, with: connect-gateway-proxy rbac --group ${impersonated ?? 'GROUP'} --impersonate | kubectl apply -f -`,
  },
  {
    ...refused,
    code: 'agent-may-not-impersonate',
    certain: true,
    matches: ({ form }) => form === 'kubernetes',
    what: ({ membership }) => `the Connect agent of cluster ${membership} may not act for this user`,
    who: CLUSTER_ADMIN,
    fix: (place) => `let it (the gateway-impersonate role), with: ${applied('--impersonate', place)}`,
  },
];

function isAgentConnectionEnd(text: string): boolean {
  return /(?:agent connection|connection (?:to|with) (?:the )?(?:connect )?agent)(?: was| has been| is)? (?:failed|terminated|lost|closed)/i.test(
    text,
  );
}
