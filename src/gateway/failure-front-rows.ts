import {
  AGENT_LOGS,
  CLUSTER_ADMIN,
  type FailureRow,
  GOOGLE,
  grant,
  PAST_GATEWAY,
  PROJECT_OWNER,
  reasonOf,
  refused,
  YOU,
} from './failure-row.js';

/** Google's front end and the gateway itself: who asks, how much, and for what. */
export const FRONT_ROWS: readonly FailureRow[] = [
  {
    code: 'groups-too-large',
    status: 400,
    reason: 'BadRequest',
    retry: 'never',
    certain: true,
    matches: ({ text }) => /gke-security-groups/.test(text),
    what: () => "the names of this user's groups below gke-security-groups exceed the 8 KB that Google's headers hold",
    who: "the administrator of the organization's Google groups",
    fix: ({ about }) =>
      `restructure the groups so that the user is in fewer of them, and look at them with: gcloud identity groups memberships search-transitive-groups --member-email=${about.user ?? 'EMAIL'} --labels=cloudidentity.googleapis.com/groups.discussion_forum`,
  },
  {
    code: 'headers-too-large',
    status: 431,
    reason: 'RequestHeaderFieldsTooLarge',
    retry: 'never',
    matches: ({ form, text, httpStatus }) =>
      httpStatus === 431 ||
      httpStatus === 413 ||
      (form === 'page' && /headers? (?:are|is)? ?too large|header/i.test(text)),
    what: () => "the request's headers exceed the 8 KB that Connect gateway accepts, the user's groups included",
    who: YOU,
    fix: () => 'send shorter headers, such as fewer --as-group; see what is sent with: kubectl -v=8 get namespaces',
  },
  {
    ...refused,
    code: 'api-disabled',
    certain: true,
    matches: ({ text, reason }) =>
      reason === 'SERVICE_DISABLED' || /has not been used in project \S+ before or it is disabled/.test(text),
    what: ({ about }) => `the Connect gateway API is not enabled in project ${about.project}`,
    who: PROJECT_OWNER,
    fix: ({ about }) =>
      `enable it, with: gcloud services enable connectgateway.googleapis.com --project=${about.project}`,
  },
  {
    ...refused,
    code: 'gateway-permission-denied',
    certain: true,
    matches: ({ text, metadata }) => /gkehub\.gateway\.[a-zA-Z]+/.test(`${text} ${metadata}`),
    what: ({ membership }) => `this identity may not use the Connect gateway for ${membership}`,
    who: PROJECT_OWNER,
    fix: (place) =>
      `grant roles/gkehub.gatewayReader, gatewayEditor or gatewayAdmin, with: ${grant('roles/gkehub.gatewayEditor', place)}`,
  },
  {
    ...refused,
    code: 'google-permission-denied',
    matches: ({ canonical }) => canonical === 'PERMISSION_DENIED',
    what: ({ membership }) => `Google refused the request for ${membership}`,
    who: PROJECT_OWNER,
    fix: ({ about }) =>
      `grant the role that holds the permission; see who has which, with: gcloud projects get-iam-policy ${about.project}`,
  },
  {
    code: 'google-unauthenticated',
    status: 401,
    reason: 'Unauthorized',
    retry: 'safe',
    matches: ({ canonical }) => canonical === 'UNAUTHENTICATED',
    what: ({ membership }) => `Google did not accept the daemon's access token for ${membership}`,
    who: YOU,
    fix: ({ about }) => `if it goes on, ${about.renewal ?? 'run: gcloud auth application-default login'}`,
  },
  {
    code: 'request-quota',
    status: 429,
    reason: 'TooManyRequests',
    retry: 'later',
    // It is counted by the minute: within ten repeats of kubectl's the wait is over.
    retryAfterSeconds: 6,
    matches: ({ canonical }) => canonical === 'RESOURCE_EXHAUSTED',
    what: ({ about }) =>
      `the requests per minute of fleet host project ${about.project} are used up, of which the whole fleet has 2,400 where no more were granted`,
    who: YOU,
    fix: ({ about }) =>
      `wait for the next minute and ask less often, or ask for more at https://console.cloud.google.com/iam-admin/quotas?project=${about.project}; see what this machine asks for with: connect-gateway-proxy status`,
  },
  {
    code: 'throttled-without-a-word',
    status: 429,
    reason: 'TooManyRequests',
    retry: 'later',
    matches: ({ form }) => form === 'empty',
    what: ({ membership }) =>
      `Connect gateway rejected the request for ${membership} and did not say why; it does so when there are too many at once`,
    who: YOU,
    fix: () => 'try again in a minute; see what this machine asks for with: connect-gateway-proxy status',
  },
  {
    code: 'spdy-refused',
    status: 400,
    reason: 'BadRequest',
    retry: 'never',
    matches: ({ form, httpStatus }, { upgrade }) =>
      form === 'page' && upgrade !== undefined && upgrade !== 'websocket' && (httpStatus === 400 || httpStatus === 404),
    what: ({ upgrade, membership }) =>
      `Connect gateway carries WebSocket only, and this upgrade to ${membership} asks for ${upgrade}`,
    who: YOU,
    fix: () =>
      'use a client that speaks WebSocket; kubectl does from 1.31, which it tells with: kubectl version --client',
  },
  {
    code: 'stream-bad-request',
    status: 400,
    reason: 'BadRequest',
    retry: 'never',
    matches: ({ form, httpStatus }, { upgrade }) => form === 'page' && upgrade !== undefined && httpStatus === 400,
    what: ({ membership }) =>
      `Connect gateway refused the stream to ${membership} without saying why: exec, attach and cp need a cluster of 1.30 or later, port-forward 1.31`,
    who: CLUSTER_ADMIN,
    fix: () => 'see its version, with: connect-gateway-proxy memberships',
  },
  {
    code: 'gateway-url-not-found',
    status: 404,
    reason: 'NotFound',
    retry: 'never',
    matches: ({ form, httpStatus }) => form === 'page' && httpStatus === 404,
    what: ({ membership }) => `Google knows no such URL: the endpoint of membership ${membership} is wrong`,
    who: YOU,
    fix: () =>
      'remove memberships[].endpoint from config.yaml if it is set, and ask the fleet again: connect-gateway-proxy memberships --refresh',
  },
  {
    code: 'membership-not-found',
    status: 404,
    reason: 'NotFound',
    retry: 'never',
    matches: ({ canonical, form }) => canonical === 'NOT_FOUND' && form !== 'page',
    what: ({ membership }) => `Connect gateway does not know membership ${membership}`,
    who: YOU,
    fix: ({ about }) => `see which there are, with: gcloud container fleet memberships list --project=${about.project}`,
  },
  {
    code: 'gateway-precondition',
    status: 503,
    reason: 'ServiceUnavailable',
    retry: 'later',
    matches: ({ canonical }) => canonical === 'FAILED_PRECONDITION',
    what: ({ membership }) => `Connect gateway could not carry the request to ${membership}`,
    who: CLUSTER_ADMIN,
    fix: () => `${PAST_GATEWAY} look at the Connect agent with: ${AGENT_LOGS}`,
  },
  {
    code: 'gateway-bad-request',
    status: 400,
    reason: 'BadRequest',
    retry: 'never',
    matches: ({ canonical }) => canonical === 'INVALID_ARGUMENT',
    what: ({ membership }) => `Connect gateway rejected the request for ${membership}`,
    who: YOU,
    fix: () => 'see what is asked, with: kubectl -v=8 get namespaces',
  },
  {
    code: 'gateway-failure',
    status: ({ httpStatus }) => (httpStatus >= 400 ? httpStatus : 503),
    reason: ({ httpStatus }) => reasonOf(httpStatus >= 400 ? httpStatus : 503),
    retry: 'later',
    matches: () => true,
    what: ({ membership }) => `Connect gateway itself failed at the request for ${membership}`,
    who: GOOGLE,
    fix: () => 'try again; if it goes on, look at: https://status.cloud.google.com',
  },
];
