import t from 'tap';
import { type AccessPolicy, assertPolicyAllows, policyObjection } from '../../../src/kubernetes/access-policy.js';

const NS = '/api/v1/namespaces/default';
const POD = `${NS}/pods/box`;

/** A method and a target, and for a few a header or an upgrade. */
type Case = readonly [method: string, target: string, more?: { headers?: readonly string[]; upgrade?: true }];

function allowed(policy: AccessPolicy, [method, target, more = {}]: Case): boolean {
  return policyObjection(policy, { method, target, headers: [], upgrade: false, ...more }) === undefined;
}

const READS: readonly Case[] = [
  ['GET', '/'],
  ['GET', '/api'],
  ['GET', '/api/'],
  ['GET', '/api/v1'],
  ['GET', '/api/v1/'],
  ['GET', '/apis?timeout=32s'],
  ['GET', '/apis/'],
  ['GET', '/apis/apps'],
  ['GET', '/apis/apps/v1/'],
  ['GET', '/apis/rbac.authorization.k8s.io/v1'],
  ['GET', '/openapi/v2?timeout=32s'],
  ['GET', '/openapi/v3'],
  ['GET', '/openapi/v3/apis/rbac.authorization.k8s.io/v1?hash=AB%2F12'],
  ['GET', '/openapi/v3/.well-known/openid-configuration'],
  ['GET', '/version'],
  ['GET', '/version/'],
  ['GET', '/healthz'],
  ['GET', '/livez/ping?verbose'],
  ['GET', '/readyz?verbose=true'],
  ['GET', '/metrics'],
  ['GET', '/openid/v1/jwks'],
  ['GET', '/.well-known/openid-configuration'],
  ['GET', '/api/v1/pods?limit=500&labelSelector=a%3Db%2Cc%21%3Dd'],
  ['HEAD', POD],
  ['GET', POD],
  ['GET', `${NS}/pods?watch=true&allowWatchBookmarks=true`],
  ['GET', `${NS}/pods?watch`],
  ['GET', `${NS}/pods?watch=1&fieldSelector=metadata.name%3Dbox`],
  ['GET', '/api/v1/watch/namespaces/default/pods'],
  ['GET', '/api/v1/watch/pods/box'],
  ['GET', '/apis/apps/v1/watch/deployments?resourceVersion=5'],
  ['GET', `${POD}/log?follow=true&container=c&tailLines=10`],
  ['GET', `${POD}/status`],
  ['GET', '/apis/apps/v1/namespaces/default/deployments/web/scale'],
  ['GET', '/api/v1/namespaces'],
  ['GET', NS],
  ['GET', `${NS}/status`],
  ['GET', '/api/v1/nodes/node-1.example'],
  ['GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles/system:controller:job-controller'],
  ['GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode'],
  ['GET', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/person%40example.com'],
  ['GET', '/apis/metrics.k8s.io/v1beta1/nodes'],
  ['GET', '/apis/example.com/v1/namespaces/a/secrets/not-the-core-kind'],
  // A pod may be called anything: only its place in the path says what a word is.
  ['GET', `${NS}/pods/exec`],
  ['GET', `${NS}/pods/proxy`],
  ['GET', '/api/v1/namespaces/exec/pods'],
  ['GET', '/api/v1/namespaces/proxy'],
  ['GET', `${POD}/log?container=exec&x=/proxy/`],
  ['POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'],
  ['POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews?fieldManager=kubectl'],
  ['POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews'],
  ['POST', '/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews'],
  ['POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews'],
];

/** What no-exec lets through and read-only does not. */
const WRITES: readonly Case[] = [
  ['POST', `${NS}/pods`],
  ['POST', `${NS}/pods?dryRun=All`],
  ['PUT', POD],
  ['PATCH', `${POD}?fieldManager=kubectl&force=true`],
  ['PATCH', `${POD}?dryRun=All`],
  ['PATCH', `${POD}/status`],
  ['DELETE', POD],
  ['DELETE', `${NS}/pods`],
  ['DELETE', `${POD}?watch=true`],
  ['POST', '/api/v1/namespaces'],
  ['PUT', `${NS}/finalize`],
  ['GET', `${NS}/finalize`],
  ['POST', `${POD}/eviction`],
  ['POST', `${POD}/binding`],
  ['POST', `${NS}/bindings`],
  ['PATCH', `${POD}/resize`],
  ['GET', `${POD}/resize`],
  ['POST', `${NS}/serviceaccounts/robot/token`],
  ['GET', `${NS}/serviceaccounts/robot/token`],
  ['PUT', '/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval'],
  ['PUT', '/apis/apps/v1/namespaces/default/deployments/web/scale'],
  ['POST', '/apis/authentication.k8s.io/v1/tokenreviews'],
  ['POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/name'],
  ['POST', '/apis/example.com/v1/selfsubjectaccessreviews'],
  ['DELETE', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'],
  // Kubernetes' own role `view` does not show them either.
  ['GET', `${NS}/secrets`],
  ['GET', `${NS}/secrets/key`],
  ['GET', '/api/v1/secrets?watch=true'],
  ['GET', '/api/v1/watch/secrets'],
  ['GET', '/api/v1/watch/namespaces/default/secrets/key'],
];

const WEB_SOCKET = { headers: ['Upgrade', 'websocket', 'Connection', 'Upgrade'], upgrade: true } as const;

/** What both refuse. */
const REFUSED: readonly Case[] = [
  // Programs and connections, by any method, upgraded or not.
  ...['GET', 'POST', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE', 'get'].flatMap(
    (method): Case[] => [
      [method, `${POD}/exec?command=sh&stdin=true`],
      [method, `${POD}/attach`],
      [method, `${POD}/portforward?ports=80`],
      [method, `${POD}/proxy`],
      [method, `${POD}/ephemeralcontainers`],
    ],
  ),
  ['GET', `${POD}/exec?command=sh`, WEB_SOCKET],
  ['POST', `${POD}/exec?command=sh`, { headers: ['Upgrade', 'SPDY/3.1', 'Connection', 'Upgrade'], upgrade: true }],
  ['GET', `${POD}/portforward`, WEB_SOCKET],
  ['GET', `${POD}/log?follow=true`, WEB_SOCKET],
  ['GET', `${NS}/pods?watch=true`, WEB_SOCKET],
  ['GET', POD, { headers: ['Upgrade', 'websocket'] }],
  ['GET', `${NS}/services/web/proxy`],
  ['GET', `${NS}/services/https:web:443/proxy/`],
  ['GET', `${NS}/services/web:80/proxy/healthz`],
  ['POST', `${NS}/services/web:80/proxy/api/v1/pods`],
  ['GET', `${POD}/proxy/a/b/c`],
  ['GET', `${NS}/pods/http:box:8080/proxy/metrics`],
  ['GET', '/api/v1/nodes/node-1/proxy'],
  ['GET', '/api/v1/nodes/node-1:10250/proxy/run/default/box/c?cmd=id'],
  ['GET', '/api/v1/nodes/node-1/proxy/logs/'],
  // Forms of the old API.
  ['GET', '/api/v1/proxy/namespaces/default/pods/box'],
  ['GET', '/api/v1/proxy/nodes/node-1/run'],
  ['GET', '/api/v1/redirect/nodes/node-1'],
  ['GET', '/apis/apps/v1/proxy/x/status'],
  ['GET', '/api/v1/watch'],
  ['GET', '/api/v1/watch/watch/pods'],
  ['GET', '/api/v1/watch/namespaces/default/pods/box/exec'],
  ['GET', '/api/v1/watch/proxy/pods'],
  ['POST', '/api/v1/watch/namespaces/default/pods'],
  ['DELETE', '/api/v1/watch/namespaces/default/pods'],
  // Subresources that nobody has vouched for.
  ['GET', `${POD}/logs`],
  ['GET', `${POD}/checkpoint`],
  ['POST', `${POD}/anything`],
  ['GET', '/apis/subresources.kubevirt.io/v1/namespaces/d/virtualmachineinstances/vm/console'],
  ['GET', '/apis/subresources.kubevirt.io/v1/namespaces/d/virtualmachineinstances/vm/portforward/22/tcp'],
  ['GET', '/apis/build.openshift.io/v1/namespaces/d/builds/b/log'],
  ['PUT', '/apis/example.com/v1/namespaces/d/pods/box/exec'],
  ['GET', `${POD}/status/exec`],
  ['GET', `${POD}/log/x`],
  ['GET', `${NS}/status/x`],
  ['GET', `${NS}/finalize/pods/box/exec`],
  // Targets that two servers could read differently.
  ['GET', ''],
  ['GET', 'api/v1/pods'],
  ['GET', 'https://other.example/api/v1/pods'],
  ['GET', '*'],
  ['GET', '//api/v1/pods'],
  ['GET', '//'],
  ['GET', '/api//v1/pods'],
  ['GET', `${NS}//pods`],
  ['GET', `${POD}//exec`],
  ['GET', `${POD}/`],
  ['GET', `${POD}/status/`],
  ['GET', `${NS}/pods/`],
  ['GET', '/api/v1/./pods'],
  ['GET', '/api/v1/pods/.'],
  ['GET', '/api/v1/pods/..'],
  ['GET', '/api/v1/pods/../namespaces/default/pods/box/exec'],
  ['GET', '/api/v1/../v1/pods'],
  ['GET', '/api/v1/%2e%2e/v1/pods'],
  ['GET', '/api/v1/%2E/pods'],
  ['GET', `${NS}/pods/box%2Fexec`],
  ['GET', `${NS}/pods/box%2fexec`],
  ['GET', `${NS}/pods/box%252Fexec`],
  ['GET', `${NS}/pods/box%5Cexec`],
  ['GET', `${NS}/pods/box\\exec`],
  ['GET', `${NS}/pods/box%3Fcommand=sh`],
  ['GET', `${NS}/pods/box%23`],
  ['GET', `${NS}/pods/box#/exec`],
  ['GET', `${NS}/pods/box%00`],
  ['GET', `${NS}/pods/box%0d%0a`],
  ['GET', `${NS}/pods/box%`],
  ['GET', `${NS}/pods/b%6Fx`],
  ['GET', `${POD}/%65xec`],
  ['GET', `${POD}/exe%63`],
  ['GET', '/%61pi/v1/pods'],
  ['GET', '/api/v1/%70ods'],
  ['GET', `${POD};x=y`],
  ['GET', `${NS};a/pods`],
  ['GET', `${POD}/status;/exec`],
  ['GET', '/api;v=1/v1/pods'],
  ['GET', `${POD}/Exec`],
  ['GET', `${POD}/STATUS`],
  ['GET', `${NS}/Pods/box`],
  ['GET', '/API/v1/pods'],
  ['GET', '/Api'],
  ['GET', '/api/V1/pods'],
  ['GET', '/api/v1/namespaces/Default/pods'],
  ['GET', '/apis/APPS/v1/deployments'],
  ['GET', `${NS}/pods/böx`],
  ['GET', `${NS}/pods/box `],
  ['GET', `${NS}/pods/box\t`],
  ['GET', `${NS}/pods?watch=true#x`],
  ['GET', `${NS}/pods?x=\u00e9`],
  // Paths of the server that are no objects.
  ['GET', '/logs/kube-apiserver.log'],
  ['GET', '/debug/pprof/profile'],
  ['GET', '/configz'],
  ['GET', '/metrics/slis/'],
  ['GET', '/metrics/cadvisor'],
  ['GET', '/apiserver'],
  ['GET', '/api-evil/v1/pods'],
  ['GET', '/versionx'],
  ['GET', '/openapi/v2/x'],
  ['GET', '/v1/projects/1/locations/global/memberships/other/api/v1/pods'],
  ['POST', '/version'],
  ['DELETE', '/apis/apps'],
  ['PATCH', '/'],
  ['POST', '/openapi/v3'],
  // Requests that could turn into others behind us.
  ['GET', POD, { headers: ['X-HTTP-Method-Override', 'DELETE'] }],
  ['GET', POD, { headers: ['x-http-method', 'DELETE'] }],
  ['GET', POD, { headers: ['X-Method-Override', 'GET'] }],
  ['GET', POD, { headers: ['X_HTTP_METHOD_OVERRIDE', 'PUT'] }],
  ['GET', POD, { headers: ['Accept', 'x', 'X-Original-URL', '/api/v1/namespaces/default/pods/box/exec'] }],
  ['GET', POD, { headers: ['X-Rewrite-Url', '/x'] }],
  ['GET', `${POD}?_method=DELETE`],
  ['GET', `${POD}?a=b&$httpHeaders=X-HTTP-Method-Override%3ADELETE`],
  ['GET', `${POD}?%24httpMethod=DELETE`],
];

t.test('read-only allows reading objects and asking questions, and nothing else', async (t) => {
  for (const call of READS) t.ok(allowed('read-only', call), call.slice(0, 2).join(' '));
  for (const call of [...WRITES, ...REFUSED]) t.notOk(allowed('read-only', call), JSON.stringify(call));
});

t.test('no-exec allows writing too, but no programs and no connections', async (t) => {
  for (const call of [...READS, ...WRITES]) t.ok(allowed('no-exec', call), call.slice(0, 2).join(' '));
  for (const call of REFUSED) t.notOk(allowed('no-exec', call), JSON.stringify(call));
});

t.test('full looks at nothing', async (t) => {
  for (const call of [...READS, ...WRITES, ...REFUSED]) t.ok(allowed('full', call), JSON.stringify(call));
});

t.test('a refusal names the policy, the membership and the key, and none of what the client sent', async (t) => {
  const name = 'projects/1/locations/global/memberships/prod';
  const call = { method: 'DELETE', target: `${POD}?token=secret`, headers: [], upgrade: false };
  t.throws(() => assertPolicyAllows({ name, alias: 'prod', policy: 'read-only' }, call), {
    code: 'policy-refused',
    answer: { status: 403, reason: 'Forbidden' },
    message:
      /the policy read-only of membership prod refuses this DELETE: .*only reading.* policy: of projects\/1.*memberships:/,
  });
  try {
    assertPolicyAllows(
      { name, alias: 'prod', policy: 'no-exec' },
      { ...call, method: 'X\u001b[2J', target: '/a\u001b' },
    );
  } catch (error) {
    t.notOk(/secret/.test(String(error)) || String(error).includes('\u001b'));
  }
});
