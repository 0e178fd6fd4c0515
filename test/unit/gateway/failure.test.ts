import t from 'tap';
import { type ErrorContext, type ErrorName, errorAnswer } from '../../../src/emulator/google/error-catalogue.js';
import { judge, judgeStreamText, type MembershipFacts, type UpstreamFailure } from '../../../src/gateway/failure.js';
import { FAILURE_TABLE, UNTRANSLATED } from '../../../src/gateway/failure-table.js';

const failure = (changes: Partial<UpstreamFailure>): UpstreamFailure => ({
  status: 404,
  contentType: 'application/json; charset=UTF-8',
  body: '',
  fromWorkload: false,
  membership: 'prod',
  ...changes,
});

const google = (code: number, status: string, message: string): string =>
  JSON.stringify({ error: { code, status, message } });

const AT: ErrorContext = {
  projectNumber: '123456789012',
  projectId: 'demo-project',
  location: 'global',
  membership: 'edge',
  user: 'dev@example.com',
  target: '/v1/x',
};
const ABOUT = { id: 'edge', location: 'global', project: 'demo-project', kind: 'attached' } as const;

t.test('what the cluster or a workload says passes', async (t) => {
  const passing: Partial<UpstreamFailure>[] = [
    { body: '{"kind":"Status","code":404}' },
    { body: '{"kind":"Status","status":"Failure","error":{"code":1,"message":"x"}}' },
    { status: 403, body: '{"kind":"Status","message":"pods is forbidden: User \\"a\\" cannot list resource"}' },
    { status: 403, body: '{"kind":"Status","message":"users \\"b\\" is forbidden: User \\"a\\" cannot impersonate"}' },
    { body: '404 page not found\n', contentType: 'text/plain' },
    { body: '', contentType: '' },
    { body: '{"error":"not google"}' },
    { body: '{"error":{"message":"no code"}}' },
    { body: '{broken' },
    { body: '<html><title>Not found</title></html>', contentType: 'text/html', fromWorkload: true },
    { body: 'cannot connect to agent', contentType: 'text/plain', fromWorkload: true },
    { status: 500, body: '[+]ping ok\n[-]etcd failed', contentType: 'text/plain' },
    { status: 400, body: '', contentType: 'text/plain', fromWorkload: true },
    // A workload that speaks as googleapis do.
    { body: google(404, 'NOT_FOUND', 'no such book'), fromWorkload: true },
    { status: 403, body: google(403, 'PERMISSION_DENIED', 'not your shelf'), fromWorkload: true },
    { status: 429, body: google(429, 'RESOURCE_EXHAUSTED', 'too many books'), fromWorkload: true },
    { status: 500, body: 'generic::internal: shelf broke', contentType: 'text/plain', fromWorkload: true },
  ];
  for (const one of passing) t.equal(judge(failure(one)).kind, 'pass', JSON.stringify(one));
});

t.test('a Status of which only the beginning is at hand passes, whatever it quotes', async (t) => {
  const quoted = `admission webhook said: generic::not_found: cannot connect to agent ${'x'.repeat(70_000)}`;
  const beginnings = [
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, message: quoted }),
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, message: quoted }, null, 2),
    JSON.stringify({ apiVersion: 'v1', kind: 'Status', metadata: {}, message: quoted }),
  ].map((body) => body.slice(0, 65_536));
  for (const body of beginnings) t.equal(judge(failure({ status: 422, body })).kind, 'pass', body.slice(0, 40));
});

t.test('a refused agent is known in protobuf too, and nothing else there is anybody’s but the cluster’s', async (t) => {
  const contentType = 'application/vnd.kubernetes.protobuf';
  const said =
    'users "dev@example.com" is forbidden: User "system:serviceaccount:gke-connect:connect-agent-sa" cannot impersonate resource "users" in API group "" at the cluster scope';
  const body = `k8s\0\n\f\n\x02v1\x12\x06Status\x12\x07Failure\x1a\x8a\x01${said}"\tForbidden0\x93\x03`;
  const verdict = judge(failure({ status: 403, contentType, body }));
  t.match(verdict, { kind: 'answer', code: 'agent-may-not-impersonate', status: 403 });
  t.match((verdict as { message: string }).message, `(Google says: ${said}).`);
  t.equal(judge(failure({ status: 403, contentType, body, fromWorkload: true })).kind, 'pass');
  const other = body.replace(said, 'generic::not_found: cannot connect to agent');
  t.equal(judge(failure({ status: 403, contentType, body: other })).kind, 'pass');
});

/** What the emulator's catalogue says, and what becomes of it: code, status, reason, and a word of the message. */
const ROWS: readonly (readonly [
  name: ErrorName,
  changes: Partial<UpstreamFailure>,
  code: string,
  status: number,
  reason: string,
  message: RegExp,
])[] = [
  ['agent-lost', {}, 'agent-lost', 503, 'ServiceUnavailable', /kubectl logs -n gke-connect/],
  ['agent-missing', {}, 'agent-missing', 503, 'ServiceUnavailable', /kubectl get pods -n gke-connect/],
  ['agent-unhealthy', {}, 'agent-unhealthy', 503, 'ServiceUnavailable', /kubectl describe pods -n gke-connect/],
  ['agent-terminated', {}, 'agent-connection-failed', 503, 'ServiceUnavailable', /at once and not at the usual cutoff/],
  [
    'agent-not-authorised',
    {},
    'agent-may-not-impersonate',
    403,
    'Forbidden',
    /rbac --user dev@example\.com --impersonate/,
  ],
  [
    'groups-not-authorised',
    {},
    'agent-may-not-impersonate-groups',
    403,
    'Forbidden',
    /rbac --group developers@example\.com --impersonate/,
  ],
  ['api-disabled', {}, 'api-disabled', 403, 'Forbidden', /gcloud services enable .* --project=demo-project/],
  ['bad-request-page', {}, 'gateway-bad-request', 400, 'BadRequest', /Error 400 \(Bad Request\)/],
  ['bad-request-page', { upgrade: 'websocket' }, 'stream-bad-request', 400, 'BadRequest', /1\.30 or later/],
  ['cluster-error', {}, 'cluster-error', 503, 'ServiceUnavailable', /failed to create the websocket connection/],
  ['gateway-permission-denied', {}, 'gateway-permission-denied', 403, 'Forbidden', /roles\/gkehub\.gatewayEditor/],
  ['groups-too-large', {}, 'groups-too-large', 400, 'BadRequest', /restructure the groups/],
  [
    'headers-too-large',
    {},
    'headers-too-large',
    431,
    'RequestHeaderFieldsTooLarge',
    /8 KB that Connect gateway accepts/,
  ],
  ['internal', {}, 'gateway-failure', 500, 'InternalError', /status\.cloud\.google\.com/],
  ['invalid-argument', {}, 'gateway-bad-request', 400, 'BadRequest', /invalid argument/],
  ['list-permission-denied', {}, 'google-permission-denied', 403, 'Forbidden', /gkehub\.memberships\.list/],
  ['membership-not-found', {}, 'membership-not-found', 404, 'NotFound', /memberships list --project=demo-project/],
  ['not-found-page', {}, 'gateway-url-not-found', 404, 'NotFound', /memberships --refresh/],
  ['request-quota', {}, 'request-quota', 429, 'TooManyRequests', /iam-admin\/quotas\?project=demo-project/],
  ['server-error-page', {}, 'gateway-failure', 502, 'BadGateway', /Error 502/],
  ['service-account-token-denied', {}, 'google-permission-denied', 403, 'Forbidden', /getAccessToken/],
  ['spdy-refused', { upgrade: 'spdy/3.1' }, 'spdy-refused', 400, 'BadRequest', /asks for spdy\/3\.1/],
  ['spdy-refused-400', { upgrade: 'spdy/3.1' }, 'spdy-refused', 400, 'BadRequest', /kubectl does from 1\.31/],
  ['stream-permission-denied', {}, 'stream-permission-denied', 403, 'Forbidden', /roles\/gkehub\.gatewayAdmin/],
  ['stream-quota', {}, 'stream-quota', 429, 'TooManyRequests', /connect-gateway-proxy sessions/],
  ['stream-rbac-denied', {}, 'stream-rbac-denied', 403, 'Forbidden', /rbac --user EMAIL --streams-only/],
  ['unauthenticated', {}, 'google-unauthenticated', 401, 'Unauthorized', /gcloud auth application-default login/],
  ['unavailable', {}, 'gateway-failure', 503, 'ServiceUnavailable', /currently unavailable/],
  ['unknown-rejection', {}, 'throttled-without-a-word', 429, 'TooManyRequests', /did not say why/],
  [
    'wrong-collection',
    { about: { ...ABOUT, kind: 'gke' } },
    'gke-asked-for-agent',
    503,
    'ServiceUnavailable',
    /memberships --refresh/,
  ],
];

t.test('every row of the emulator’s catalogue has its verdict', async (t) => {
  for (const [name, changes, code, status, reason, message] of ROWS) {
    const { status: sent, contentType, body } = errorAnswer(name, AT);
    const verdict = judge(failure({ status: sent, contentType, body, about: ABOUT, ...changes }));
    t.match(verdict, { kind: 'answer', code, status, reason }, name);
    if (verdict.kind !== 'answer') continue;
    t.match(verdict.message, message, name);
    t.match(verdict.message, /^connect-gateway-proxy: .*\(Google says: .*\)\. To be fixed by .*: /, name);
    t.notMatch(verdict.message, /[<>\n]/, `${name}: one line, no HTML`);
    const knows = verdict.message.includes('prod') || verdict.message.includes('demo-project');
    t.ok(knows || /8 KB/.test(verdict.message), `${name}: says which cluster or project is meant`);
  }
  const { status, contentType, body } = errorAnswer('rbac-denied', AT);
  t.equal(judge(failure({ status, contentType, body })).kind, 'pass', 'RBAC of the cluster is its own');
  const thirdParty = errorAnswer('third-party-rbac-denied', AT);
  t.equal(judge(failure({ ...thirdParty })).kind, 'pass');
});

t.test('only what a short wait helps has a pause, and never a lost agent', async (t) => {
  for (const row of FAILURE_TABLE) {
    t.equal(row.retryAfterSeconds !== undefined, row.code === 'request-quota', row.code);
  }
});

t.test('codes are unique, and the last row takes everything', async (t) => {
  const codes = [...FAILURE_TABLE, ...UNTRANSLATED].map(({ code }) => code);
  t.equal(new Set(codes).size, codes.length);
  for (const code of codes) t.match(code, /^[a-z]+(-[a-z]+)*$/);
  t.match(judge(failure({ status: 418, body: google(418, 'TEAPOT', 'short and stout') })), {
    code: 'gateway-failure',
    status: 418,
  });
});

t.test('Google’s words are known in each of its forms', async (t) => {
  const said = 'No active connections found for cluster (project: 12345, membership: my-cluster)';
  const forms: Partial<UpstreamFailure>[] = [
    { body: google(404, 'NOT_FOUND', said) },
    { body: google(404, 'NOT_FOUND', `generic::not_found: ${said}`) },
    { body: `generic::not_found: ${said}`, contentType: 'text/plain' },
    { body: `rpc failed: generic::not_found: ${said}`, contentType: 'text/plain' },
    { body: said, contentType: 'text/plain' },
    { body: google(404, 'NOT_FOUND', said), fromWorkload: true },
    { body: `[${google(404, 'NOT_FOUND', said)}]` },
  ];
  for (const form of forms) {
    t.match(judge(failure(form)), { kind: 'answer', code: 'agent-missing', status: 503 }, JSON.stringify(form));
  }
  const page =
    '<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><style>x{}</style><a href=//www.google.com/><span id=logo></span></a><p><b>404.</b> <ins>That’s an error.</ins><p>The requested URL <code>/v1/x</code> was not found on this server. <ins>That’s all we know.</ins>';
  t.match(judge(failure({ body: page, contentType: 'text/html' })), {
    code: 'gateway-url-not-found',
    message: /The requested URL \/v1\/x was not found on this server/,
  });
  t.match(
    judge(failure({ status: 400, body: page.replaceAll('404', '400'), contentType: 'text/html', fromWorkload: true })),
    { code: 'gateway-bad-request' },
    'Google’s own page is Google’s below a proxy subresource as well',
  );
});

/** The documented words of gateway-facts 1.7 and of Google's guide, each with what differs from one report to the next. */
const DOCUMENTED: readonly (readonly [code: string, status: number, generic: string, words: readonly string[]])[] = [
  [
    'agent-lost',
    503,
    'not_found',
    [
      'cannot connect to agent or connection unexpectedly terminated for (project: xxx, membership: xxx)',
      'Cannot connect to agent or connection unexpectedly terminated for(project:42,membership:m)',
    ],
  ],
  [
    'agent-missing',
    503,
    'not_found',
    [
      'No active connections found for cluster (project: 12345, membership: my-cluster)',
      'No active connections found for cluster(project: some-id, membership: my-cluster)',
      'no active connections  found\nfor cluster (project: 1, membership: m)',
    ],
  ],
  [
    'stream-permission-denied',
    403,
    'permission_denied',
    [
      "Permission 'gkehub.gateway.stream' denied on resource 'projects/1/locations/global/memberships/m'",
      "Permission'gkehub.gateway.stream' denied on resource",
      'Permission "gkehub.gateway.stream" denied on resource "//connectgateway.googleapis.com/x" (or it may not exist).',
    ],
  ],
  [
    'gateway-permission-denied',
    403,
    'permission_denied',
    ["Permission 'gkehub.gateway.get' denied on resource", "Permission 'gkehub.gateway.post' denied on 'projects/x'."],
  ],
  [
    'stream-rbac-denied',
    403,
    'failed_precondition',
    [
      "failed to connect to the cluster's API Server with response (status=403 Forbidden, body={})",
      "failed to connect to the cluster's API server with response (status = 403",
      'failed to connect to the cluster’s API Server with response (status: 403 Forbidden)',
    ],
  ],
  [
    'stream-quota',
    429,
    'resource_exhausted',
    [
      'the active_streams quota of the gateway is exhausted',
      'active_streams quota exhausted',
      "Quota exceeded for quota metric 'Active streams' and limit 'Active streams per fleet' of service 'x'",
    ],
  ],
  [
    'cluster-error',
    503,
    'failed_precondition',
    ['error encountered within the cluster', 'error encountered within\nthe cluster: dial tcp: refused'],
  ],
  [
    'agent-connection-failed',
    503,
    'failed_precondition',
    [
      'agent connection failed/terminated',
      'agent connection terminated',
      'agent connection has been closed',
      'connection to agent failed/terminated',
      'connection to the agent was terminated',
    ],
  ],
  [
    'api-disabled',
    403,
    'permission_denied',
    [
      'Connect Gateway API has not been used in project 1234 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/connectgateway.googleapis.com/overview?project=1234 then retry.',
    ],
  ],
  [
    'groups-too-large',
    400,
    'invalid_argument',
    [
      'The size of the groups returned under the gke-security-groups group exceeds the 8KB HTTP header size limit. Restructure your group hierarchy and try again',
    ],
  ],
];

const RPC_NUMBERS: Readonly<Record<string, number>> = {
  invalid_argument: 3,
  not_found: 5,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
};

t.test('the documented words are known whatever form, status and content type they come in', async (t) => {
  for (const [code, status, generic, all] of DOCUMENTED) {
    for (const words of all) {
      const rpc = generic.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
      const number = RPC_NUMBERS[generic] ?? 0;
      const prefixed = `generic::${generic}: ${words}`;
      const forms: Record<string, Partial<UpstreamFailure>> = {
        'JSON of googleapis': { body: google(400, generic.toUpperCase(), words) },
        'the same, with generic::': { body: google(400, generic.toUpperCase(), prefixed) },
        'the same, without a canonical status': { body: JSON.stringify({ error: { code: 400, message: prefixed } }) },
        'the same, as plain text': { body: google(404, 'NOT_FOUND', prefixed), contentType: 'text/plain' },
        'the same, without a content type': { body: google(404, 'NOT_FOUND', prefixed), contentType: '' },
        'the code as a word': { body: JSON.stringify({ error: { code: generic.toUpperCase(), message: words } }) },
        'google.rpc.Status as grpc-gateway writes it': {
          body: JSON.stringify({ code: number, message: words, details: [] }),
        },
        'as an older grpc-gateway wrote it': { body: JSON.stringify({ error: words, code: number, message: words }) },
        'an error that is a word': { body: JSON.stringify({ error: prefixed }) },
        'plain text': { body: prefixed, contentType: 'text/plain; charset=utf-8' },
        'plain text of another gateway': {
          body: `rpc error: code = ${rpc} desc = ${words}\n`,
          contentType: 'text/plain',
        },
        'the words alone': { body: `${words}\n`, contentType: 'text/plain' },
        'in capitals': { body: `generic::${generic.toUpperCase()}: ${words}`, contentType: 'text/plain' },
        'an HTML page': {
          body: `<!DOCTYPE html>\n<html lang=en><title>Error 400 (Bad Request)!!1</title><p>${prefixed.replaceAll("'", '&#39;')}</p>`,
          contentType: 'text/html; charset=UTF-8',
        },
        'a Status of the gateway': {
          body: JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message: prefixed, code: 400 }),
        },
      };
      for (const [form, changes] of Object.entries(forms)) {
        for (const sent of [400, 404, 503]) {
          const verdict = judge(failure({ status: sent, about: ABOUT, upgrade: 'websocket', ...changes }));
          if (verdict.kind === 'answer' && verdict.code === code && verdict.status === status) continue;
          t.fail(`${code}, ${form}, HTTP ${sent}: ${JSON.stringify(changes)}`, { verdict });
        }
      }
      t.pass(`${code}: ${words}`);
    }
  }
});

t.test('what only the details of an error say is read too', async (t) => {
  const detailed = (metadata: Record<string, string>): string =>
    JSON.stringify({
      error: {
        code: 429,
        status: 'RESOURCE_EXHAUSTED',
        message: 'Quota exceeded.',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'RATE_LIMIT_EXCEEDED', metadata }],
      },
    });
  t.match(
    judge(failure({ status: 429, body: detailed({ quota_metric: 'connectgateway.googleapis.com/active_streams' }) })),
    { code: 'stream-quota' },
  );
  t.match(judge(failure({ status: 429, body: detailed({ quota_metric: 'connectgateway.googleapis.com/requests' }) })), {
    code: 'request-quota',
  });
  t.match(judge(failure({ status: 429, contentType: '', body: '' })), { code: 'request-quota', status: 429 });
});

t.test('a Status that quotes the gateway, and does not begin with its words, is the cluster’s', async (t) => {
  const messages = [
    'admission webhook "w" denied the request: cannot connect to agent',
    'pods "agent connection failed" not found',
    'Internal error occurred: failed calling webhook: generic::not_found: No active connections found for cluster',
  ];
  for (const message of messages) {
    t.equal(judge(failure({ body: JSON.stringify({ kind: 'Status', message, code: 404 }) })).kind, 'pass', message);
  }
  for (const body of [
    'Too many requests, please try again later.\n',
    'error trying to reach service: EOF',
    'Forbidden',
  ]) {
    t.equal(judge(failure({ status: 429, contentType: 'text/plain', body })).kind, 'pass', body);
  }
});

t.test('commands name who asks, where that is known', async (t) => {
  const at = (about: Partial<MembershipFacts>, name: ErrorName): string => {
    const verdict = judge(failure({ ...errorAnswer(name, AT), about: { ...ABOUT, ...about } }));
    return verdict.kind === 'answer' ? verdict.message : '';
  };
  const robot = { user: 'ci@p.iam.gserviceaccount.com', member: 'serviceAccount:ci@p.iam.gserviceaccount.com' };
  t.match(at(robot, 'gateway-permission-denied'), `--member=${robot.member} --role=`);
  t.match(at(robot, 'stream-rbac-denied'), `rbac --user ${robot.user} --streams-only`);
  t.match(at(robot, 'groups-too-large'), `--member-email=${robot.user} `);
  t.match(at({}, 'gateway-permission-denied'), '--member=user:EMAIL ');
  // Whom the cluster itself has named is more than what is known here.
  t.match(at(robot, 'agent-not-authorised'), 'rbac --user dev@example.com --impersonate');
});

t.test('a name that a shell would read as more than a name is in no command', async (t) => {
  const message =
    'users "x;reboot" is forbidden: User "system:serviceaccount:gke-connect:connect-agent-sa" cannot impersonate resource "users" in API group "" at the cluster scope';
  const verdict = judge(failure({ status: 403, body: JSON.stringify({ kind: 'Status', message }) }));
  t.match((verdict as { message: string }).message, /rbac --user EMAIL --impersonate \| kubectl apply -f -$/);
});

t.test('every row ends in a command that can be typed, or a page that can be opened, as it stands', async (t) => {
  const place = { membership: 'prod', about: ABOUT, upgrade: 'spdy/3.1' };
  for (const row of FAILURE_TABLE) {
    t.match(
      row.fix(place),
      /(?:with|again|run): (?:connect-gateway-proxy|kubectl|gcloud) [^();]*$|at: https:\S+$/,
      row.code,
    );
  }
});

t.test('the status that the API server gave the gateway is the client’s', async (t) => {
  const inner = (code: string): string =>
    google(
      400,
      'FAILED_PRECONDITION',
      `generic::failed_precondition: failed to connect to the cluster's API Server with response (status=${code}, body=x)`,
    );
  t.match(judge(failure({ status: 400, body: inner('403 Forbidden') })), { code: 'stream-rbac-denied', status: 403 });
  t.match(judge(failure({ status: 400, body: inner('404 Not Found') })), {
    code: 'stream-refused-by-cluster',
    status: 404,
    reason: 'NotFound',
  });
});

t.test('an agent connection that ends at once is trouble, after twenty minutes it is the cutoff', async (t) => {
  const said = 'generic::failed_precondition: agent connection terminated';
  const at = (minutes: number) => judgeStreamText(said, { membership: 'prod', ageMs: minutes * 60_000 });
  t.match(at(0), { code: 'agent-connection-failed', status: 503 });
  t.match(at(21), { code: 'session-cutoff', message: /start it again/ });
  t.equal(judgeStreamText('going away', { membership: 'prod', ageMs: 0 }), undefined);
  const stream = { membership: 'prod', ageMs: 25 * 60_000 };
  for (const bare of [
    'agent connection terminated',
    'connection to the agent failed',
    'generic::failed_precondition: agent connection failed/terminated',
    JSON.stringify({ status: 'Failure', message: 'agent connection terminated' }),
  ]) {
    t.match(judgeStreamText(bare, stream), { code: 'session-cutoff' }, bare);
  }
  for (const own of ['my agent connection failed', JSON.stringify({ status: 'Failure', message: 'exit code 1' })]) {
    t.equal(judgeStreamText(own, stream), undefined, own);
  }
});
