import { failureStatus } from '../../kubernetes/status.js';
import { type Answer, googleError, htmlPage, jsonAnswer, notFoundPage } from './answers.js';
import { IDENTITY_ERRORS, type IdentityErrorName } from './identity-errors.js';

/** What an error's text names. */
export interface ErrorContext {
  readonly projectNumber: string;
  readonly projectId: string;
  readonly location: string;
  readonly membership: string;
  readonly user: string;
  /** The request target as it came. */
  readonly target: string;
  /** The one that is missing, where a call needs another than the usual. */
  readonly permission?: string;
}

interface CatalogueEntry {
  /** One line for people who choose a fault. */
  readonly about: string;
  answer(at: ErrorContext): Answer;
}

/**
 * Every row of gateway-facts 1.7 and of the guide's troubleshooting list that has an HTTP form. Texts are as reported;
 * where no report gives status or content type, Google's canonical mapping is assumed.
 */
const CATALOGUE = {
  'agent-lost': {
    about: 'the Connect agent lost its connection: 404 for every request',
    answer: ({ projectNumber, membership }) =>
      googleError(
        404,
        'NOT_FOUND',
        `cannot connect to agent or connection unexpectedly terminated for (project: ${projectNumber}, membership: ${membership})`,
      ),
  },
  'agent-missing': {
    about: 'no Connect agent is installed in the cluster, or it never connected',
    answer: ({ projectNumber, membership }) =>
      googleError(
        404,
        'NOT_FOUND',
        `No active connections found for cluster (project: ${projectNumber}, membership: ${membership})`,
      ),
  },
  'agent-terminated': {
    about: 'a stream is refused because the agent connection failed; after 20 to 30 minutes it is the usual cutoff',
    answer: () =>
      googleError(400, 'FAILED_PRECONDITION', 'generic::failed_precondition: agent connection failed/terminated'),
  },
  'agent-not-authorised': {
    about: 'the Connect agent may not impersonate the caller (gateway-impersonate role missing)',
    answer: ({ user }) =>
      forbidden(
        `users "${user}" is forbidden: User "system:serviceaccount:gke-connect:connect-agent-sa" cannot impersonate resource "users" in API group "" at the cluster scope`,
        { name: user, kind: 'users' },
      ),
  },
  'agent-unhealthy': {
    about: 'the Connect agent answers Google but is not healthy (no report gives the text)',
    answer: ({ membership }) =>
      googleError(
        503,
        'UNAVAILABLE',
        `generic::unavailable: the Connect agent of membership ${membership} is unhealthy`,
      ),
  },
  'api-disabled': {
    about: 'the Connect Gateway API is not enabled in the project',
    answer: ({ projectNumber }) =>
      googleError(
        403,
        'PERMISSION_DENIED',
        `Connect Gateway API has not been used in project ${projectNumber} before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/connectgateway.googleapis.com/overview?project=${projectNumber} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.`,
        [
          {
            '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
            reason: 'SERVICE_DISABLED',
            domain: 'googleapis.com',
            metadata: { service: 'connectgateway.googleapis.com', consumer: `projects/${projectNumber}` },
          },
        ],
      ),
  },
  'bad-request-page': {
    about: 'the generic 400 page that streams often end in',
    answer: () => htmlPage(400, 'Bad Request', 'Your client has issued a malformed or illegal request.'),
  },
  'cluster-error': {
    about: 'a stream failed inside the cluster (agent log: failed to create the websocket connection)',
    answer: () =>
      googleError(400, 'FAILED_PRECONDITION', 'generic::failed_precondition: error encountered within the cluster'),
  },
  'gateway-permission-denied': {
    about: 'the caller has none of the gkehub.gateway roles',
    answer: (at) => permissionDenied(at.permission ?? 'gkehub.gateway.get', at),
  },
  'generate-credentials-denied': {
    about: 'the caller may not call generateCredentials',
    answer: (at) => permissionDenied('gkehub.gateway.generateCredentials', at),
  },
  'groups-not-authorised': {
    about: "the Connect agent may not impersonate the caller's Google groups or third-party identity",
    answer: () =>
      forbidden(
        'groups "developers@example.com" is forbidden: User "system:serviceaccount:gke-connect:connect-agent-sa" cannot impersonate resource "groups" in API group "" at the cluster scope',
        { name: 'developers@example.com', kind: 'groups' },
      ),
  },
  'groups-too-large': {
    about: "the caller's groups under gke-security-groups exceed the 8 KB header limit",
    answer: () =>
      googleError(
        400,
        'INVALID_ARGUMENT',
        'The size of the groups returned under gke-security-groups exceeds the 8KB HTTP header size limit. Restructure the group hierarchy and try again.',
      ),
  },
  'headers-too-large': {
    about: 'the request headers exceed 8 KB',
    answer: () => htmlPage(400, 'Bad Request', 'Your client has issued a request whose headers are too large.'),
  },
  internal: {
    about: 'the gateway failed: JSON 500',
    answer: () => googleError(500, 'INTERNAL', 'Internal error encountered.'),
  },
  'invalid-argument': {
    about: 'what generateCredentials says of a regional membership on the global host',
    answer: () => googleError(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.'),
  },
  'list-permission-denied': {
    about: 'the caller may not list memberships (gatewayReader alone cannot)',
    answer: ({ projectId, location }) =>
      googleError(
        403,
        'PERMISSION_DENIED',
        `Permission 'gkehub.memberships.list' denied on 'projects/${projectId}/locations/${location}/memberships'.`,
      ),
  },
  'membership-not-found': {
    about: 'there is no such membership',
    answer: ({ projectId, location, membership }) =>
      googleError(
        404,
        'NOT_FOUND',
        `Resource 'projects/${projectId}/locations/${location}/memberships/${membership}' was not found`,
      ),
  },
  'not-found-page': {
    about: 'a wrong server URL: the 404 page',
    answer: ({ target }) => notFoundPage(target),
  },
  'rbac-denied': {
    about: 'the cluster refuses the caller: a Kubernetes Status',
    answer: ({ user }) =>
      forbidden(
        `pods is forbidden: User "${user}" cannot list resource "pods" in API group "" in the namespace "default"`,
        {
          kind: 'pods',
        },
      ),
  },
  'request-quota': {
    about: 'the 2,400 requests a minute of the fleet host project are used up',
    answer: ({ projectNumber }) =>
      googleError(
        429,
        'RESOURCE_EXHAUSTED',
        `Quota exceeded for quota metric 'Requests' and limit 'Requests per minute' of service 'connectgateway.googleapis.com' for consumer 'project_number:${projectNumber}'.`,
        [
          {
            '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
            reason: 'RATE_LIMIT_EXCEEDED',
            domain: 'googleapis.com',
            metadata: { service: 'connectgateway.googleapis.com', consumer: `projects/${projectNumber}` },
          },
        ],
      ),
  },
  'server-error-page': {
    about: 'the front end failed: 502 page',
    answer: () =>
      htmlPage(
        502,
        'Server Error',
        'The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.',
      ),
  },
  'service-account-token-denied': {
    about: 'iamcredentials refuses to mint a token for a service account',
    answer: () =>
      googleError(
        403,
        'PERMISSION_DENIED',
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
      ),
  },
  'spdy-refused-400': {
    about: 'the other page that refuses SPDY',
    answer: () => htmlPage(400, 'Bad Request', 'Your client has issued a malformed or illegal request.'),
  },
  'spdy-refused': {
    about: 'the front end refuses an upgrade to SPDY: the 404 page',
    answer: ({ target }) => notFoundPage(target),
  },
  'stream-permission-denied': {
    about: 'exec, attach, cp and port-forward without gkehub.gateway.stream',
    answer: (at) =>
      googleError(
        403,
        'PERMISSION_DENIED',
        `generic::permission_denied: Permission 'gkehub.gateway.stream' denied on resource '${resourceOf(at)}' (or it may not exist).`,
      ),
  },
  'stream-quota': {
    about: 'the ten active streams of the fleet host project are used up',
    answer: () =>
      googleError(
        429,
        'RESOURCE_EXHAUSTED',
        'generic::resource_exhausted: the active_streams quota of the gateway is exhausted',
      ),
  },
  'stream-rbac-denied': {
    about: 'a stream without the RBAC verb get on pods/exec, pods/attach or pods/portforward',
    answer: () =>
      googleError(
        400,
        'FAILED_PRECONDITION',
        "generic::failed_precondition: failed to connect to the cluster's API Server with response (status=403 Forbidden, body=pods/exec is forbidden)",
      ),
  },
  'third-party-rbac-denied': {
    about:
      'the cluster refuses an identity of a workforce pool, or one whose groups it does not know: a Kubernetes Status',
    answer: () =>
      forbidden(
        'pods is forbidden: User "principal://iam.googleapis.com/locations/global/workforcePools/example/subject/dev" cannot list resource "pods" in API group "" in the namespace "default"',
        { kind: 'pods' },
      ),
  },
  unauthenticated: {
    about: 'the access token is wrong or expired',
    answer: () => ({
      ...googleError(
        401,
        'UNAUTHENTICATED',
        'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.',
        [
          {
            '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
            reason: 'ACCESS_TOKEN_EXPIRED',
            domain: 'googleapis.com',
            metadata: { service: 'connectgateway.googleapis.com' },
          },
        ],
      ),
      headers: { 'WWW-Authenticate': 'Bearer realm="https://accounts.google.com/", error="invalid_token"' },
    }),
  },
  unavailable: {
    about: 'the gateway is not available: JSON 503',
    answer: () => googleError(503, 'UNAVAILABLE', 'The service is currently unavailable.'),
  },
  'unknown-rejection': {
    about: 'throttling that reaches kubectl as "the server rejected our request for an unknown reason"',
    answer: () => ({ status: 400, contentType: 'text/plain; charset=utf-8', body: '' }),
  },
  'wrong-collection': {
    about: 'memberships instead of gkeMemberships for a GKE cluster without an agent',
    answer: ({ projectNumber, membership }) =>
      googleError(
        404,
        'NOT_FOUND',
        `No active connections found for cluster (project: ${projectNumber}, membership: ${membership})`,
      ),
  },
} as const satisfies Readonly<Record<string, CatalogueEntry>>;

/** Of the gateway and the fleet API. */
export type ErrorName = keyof typeof CATALOGUE;
export type AnyErrorName = ErrorName | IdentityErrorName;

const ALL: Readonly<Record<AnyErrorName, CatalogueEntry>> = { ...CATALOGUE, ...IDENTITY_ERRORS };

export const ERROR_NAMES = Object.keys(CATALOGUE) as readonly ErrorName[];
export const ALL_ERROR_NAMES = Object.keys(ALL) as readonly AnyErrorName[];

export function isErrorName(name: string): name is AnyErrorName {
  return Object.hasOwn(ALL, name);
}

/** What the error means, for people who choose one. */
export function aboutError(name: AnyErrorName): string {
  return ALL[name].about;
}

export function errorAnswer(name: AnyErrorName, at: ErrorContext): Answer {
  return ALL[name].answer(at);
}

function resourceOf(at: ErrorContext): string {
  return `projects/${at.projectNumber}/locations/${at.location}/memberships/${at.membership}`;
}

function permissionDenied(permission: string, at: ErrorContext): Answer {
  return googleError(
    403,
    'PERMISSION_DENIED',
    `Permission '${permission}' denied on resource '//gkehub.googleapis.com/${resourceOf(at)}' (or it may not exist).`,
    [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'IAM_PERMISSION_DENIED',
        domain: 'gkehub.googleapis.com',
        metadata: { permission, resource: resourceOf(at) },
      },
    ],
  );
}

function forbidden(message: string, details: { name?: string; kind: string }): Answer {
  const answer = jsonAnswer(failureStatus({ code: 403, reason: 'Forbidden', message, details }), 403);
  return { ...answer, contentType: 'application/json' };
}
