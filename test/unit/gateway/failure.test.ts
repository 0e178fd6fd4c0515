import t from 'tap';
import { judge, type UpstreamFailure } from '../../../src/gateway/failure.js';

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

t.test('what the cluster or a workload says passes', async (t) => {
  const passing: Partial<UpstreamFailure>[] = [
    { body: '{"kind":"Status","code":404}' },
    { body: '{"kind":"Status","status":"Failure","error":{"code":1,"message":"x"}}' },
    { body: '404 page not found\n', contentType: 'text/plain' },
    { body: '', contentType: '' },
    { body: '{"error":"not google"}' },
    { body: '{"error":{"message":"no code"}}' },
    { body: '{broken' },
    { body: '<html><title>Not found</title></html>', contentType: 'text/html', fromWorkload: true },
    { body: 'cannot connect to agent', contentType: 'text/plain', fromWorkload: true },
    { status: 500, body: '[+]ping ok\n[-]etcd failed', contentType: 'text/plain' },
  ];
  for (const one of passing) t.equal(judge(failure(one)).kind, 'pass', JSON.stringify(one));
});

t.test('Google’s answers become a Status with the right code, whichever form they come in', async (t) => {
  const cases: [Partial<UpstreamFailure>, number, string, RegExp][] = [
    [
      {
        body: google(
          404,
          'NOT_FOUND',
          'cannot connect to agent or connection unexpectedly terminated for (project: 1, membership: prod).',
        ),
      },
      503,
      'agent-lost',
      /gke-connect-agent/,
    ],
    [
      {
        body: 'generic::not_found: No active connections found for cluster (project: 12345, membership: my-cluster)',
        contentType: 'text/plain',
      },
      503,
      'agent-lost',
      /No active connections/,
    ],
    [
      { status: 401, body: google(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.') },
      401,
      'google-unauthenticated',
      /gcloud auth/,
    ],
    [
      { status: 403, body: google(403, 'PERMISSION_DENIED', "Permission 'gkehub.gateway.get' denied on resource") },
      403,
      'google-permission-denied',
      /gkehub\.gateway\.get/,
    ],
    [
      {
        status: 400,
        body: "rpc: generic::permission_denied: Permission 'gkehub.gateway.stream' denied on resource x",
        contentType: 'text/plain',
      },
      403,
      'google-permission-denied',
      /gkehub\.gateway\.stream/,
    ],
    [
      {
        status: 400,
        body: google(
          400,
          'FAILED_PRECONDITION',
          "generic::failed_precondition: failed to connect to the cluster's API Server with response (status=403 Forbidden...",
        ),
      },
      403,
      'gateway-precondition',
      /status=403/,
    ],
    [
      {
        status: 400,
        body: 'generic::failed_precondition: error encountered within the cluster',
        contentType: 'text/plain',
      },
      503,
      'gateway-precondition',
      /within the cluster/,
    ],
    [{ status: 429, body: google(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded') }, 429, 'google-quota', /Quota exceeded/],
    [
      {
        body: '<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><style>x{}</style><a href=//www.google.com/><span id=logo></span></a><p><b>404.</b> <ins>That’s an error.</ins><p>The requested URL <code>/v1/x</code> was not found on this server. <ins>That’s all we know.</ins>',
        contentType: 'text/html',
      },
      404,
      'gateway-not-found',
      /The requested URL \/v1\/x was not found on this server/,
    ],
    [
      {
        status: 400,
        body: '<!DOCTYPE html><title>Error 400 (Bad Request)!!1</title>',
        contentType: 'text/html',
        fromWorkload: true,
      },
      400,
      'gateway-bad-request',
      /Error 400 \(Bad Request\)/,
    ],
    [
      { status: 502, body: '<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>', contentType: 'text/html' },
      502,
      'gateway-failure',
      /HTTP 502/,
    ],
  ];
  for (const [one, status, code, message] of cases) {
    const verdict = judge(failure(one));
    t.match(verdict, { kind: 'answer', status, code }, JSON.stringify(one));
    if (verdict.kind === 'answer') {
      t.match(verdict.message, message);
      t.notMatch(verdict.message, /[<>]/, 'no HTML in a message');
      t.match(verdict.message, 'prod', 'the membership is named');
    }
  }
});
