import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import type { Dict } from '../../../src/emulator/cluster/json.js';
import { dict, dicts } from '../../../src/emulator/cluster/json.js';
import { type Answer, type ClusterApi, CONFIGMAPS, openClusterApi, settle } from './cluster-api-bench.js';

const PODS = '/api/v1/namespaces/default/pods';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
const WEBSOCKET = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

function refusalOf({ status, body }: Answer): [number, unknown, unknown] {
  return [status, body['reason'], body['message']];
}

t.test('what is no resource', async (t) => {
  const api = await openClusterApi(t);
  t.match((await api.ask('/version')).body, { major: '1', minor: '36', gitVersion: 'v1.36.2' });
  for (const path of ['/healthz', '/livez', '/readyz?verbose']) t.equal((await api.ask(path)).text, 'ok', path);
  t.equal((await api.ask('/version', { method: 'POST' })).status, 405);
  t.match((await api.ask('/api')).body, { kind: 'APIVersions', versions: ['v1'] });
  t.match((await api.ask('/apis')).body, { kind: 'APIGroupList' });
  t.match((await api.ask('/apis/apps')).body, { kind: 'APIGroup', name: 'apps' });
  t.match((await api.ask('/api/v1')).body, { kind: 'APIResourceList', groupVersion: 'v1' });
  const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
  const discovery = await api.ask('/apis', { headers: { Accept: aggregated } });
  t.match(discovery, {
    headers: { 'content-type': 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' },
    body: { kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2' },
  });
  for (const path of ['/nothing', '/apis/none.example/v1', '/api/v1/nothings', '/api/v1/namespaces/x/nodes']) {
    t.match(await api.ask(path), { status: 404, body: { kind: 'Status', reason: 'NotFound' } }, path);
  }
  t.match(await api.ask('/api/v1/namespaces/%zz/pods'), { status: 400, body: { reason: 'BadRequest' } });
});

t.test('OpenAPI', async (t) => {
  const api = await openClusterApi(t);
  t.match((await api.ask('/openapi/v2')).body, { swagger: '2.0' });
  const index = dict((await api.ask('/openapi/v3')).body['paths']);
  const url = String(dict(index['apis/apps/v1'])['serverRelativeURL']);
  const document = await api.ask(url);
  t.match(document, { headers: { 'cache-control': 'public, immutable' }, body: { openapi: '3.0.0' } });
  const etag = String(document.headers.etag);
  t.equal((await api.ask(url, { headers: { 'If-None-Match': etag } })).status, 304);
  const moved = await api.ask('/openapi/v3/apis/apps/v1?hash=OLD');
  t.match(moved, { status: 301, headers: { location: `?hash=${etag.replaceAll('"', '')}` } });
  t.equal((await api.ask('/openapi/v3/apis/none/v1')).status, 404);
});

t.test('verbs that a resource does not have', async (t) => {
  const api = await openClusterApi(t);
  const cases: [string, string][] = [
    ['POST', '/api/v1/pods'],
    ['DELETE', '/api/v1/pods'],
    ['POST', `${PODS}/box`],
    ['PUT', PODS],
    ['PATCH', PODS],
    ['DELETE', '/api/v1/namespaces'],
    ['POST', `${PODS}/box/status`],
    ['PUT', `${PODS}/box/log`],
    ['GET', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'],
    ['OPTIONS', PODS],
  ];
  for (const [method, path] of cases) {
    t.match(
      await api.ask(path, { method }),
      { status: 405, body: { reason: 'MethodNotAllowed' } },
      `${method} ${path}`,
    );
  }
});

t.test('who may do what', async (t) => {
  const api = await openClusterApi(t);
  const review = async (kind: string, spec: Dict, headers = {}): Promise<Dict> => {
    const group = kind === 'SelfSubjectReview' ? 'authentication' : 'authorization';
    const target = `/apis/${group}.k8s.io/v1/${kind.toLowerCase()}s`;
    const answer = await api.ask(target, { method: 'POST', body: { kind, spec }, headers });
    t.equal(answer.status, 201, kind);
    t.equal(answer.body['apiVersion'], `${group}.k8s.io/v1`);
    return dict(answer.body['status']);
  };
  const may = async (verb: string, resource: string): Promise<unknown> =>
    (await review('SelfSubjectAccessReview', { resourceAttributes: { verb, resource } }))['allowed'];
  t.same((await review('SelfSubjectReview', {}))['userInfo'], {
    username: 'dev@example.com',
    groups: ['devs', 'system:authenticated'],
  });
  t.equal(await may('delete', 'secrets'), true);
  const as = {
    'Impersonate-User': 'system:serviceaccount:demo:robot',
    'Impersonate-Uid': '7',
    'Impersonate-Extra-Scopes%2Fx': ['one', 'two'],
  };
  t.same((await review('SelfSubjectReview', {}, as))['userInfo'], {
    username: 'system:serviceaccount:demo:robot',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:demo', 'system:authenticated'],
    uid: '7',
    extra: { 'scopes/x': ['one', 'two'] },
  });
  t.match(await api.ask(PODS, { headers: { 'Impersonate-Group': 'g' } }), { status: 500 });
  const asViewer = { 'Impersonate-User': 'viewer@example.com', 'Impersonate-Group': ['a', 'b'] };
  t.equal((await api.ask(`${PODS}/box`, { method: 'DELETE', headers: asViewer })).status, 403);

  api.user = 'viewer@example.com';
  t.equal((await api.ask(PODS)).status, 200);
  t.same(refusalOf(await api.ask(PODS, { method: 'POST', body: {} })), [
    403,
    'Forbidden',
    'pods is forbidden: User "viewer@example.com" cannot create resource "pods" in API group "" in the namespace "default"',
  ]);
  t.same(refusalOf(await api.ask('/api/v1/secrets')), [
    403,
    'Forbidden',
    'secrets is forbidden: User "viewer@example.com" cannot list resource "secrets" in API group "" at the cluster scope',
  ]);
  t.same(refusalOf(await api.ask(`${DEPLOYMENTS}/hello/scale`, { method: 'PATCH', body: {} })), [
    403,
    'Forbidden',
    'deployments.apps "hello" is forbidden: User "viewer@example.com" cannot patch resource "deployments/scale" in API group "apps" in the namespace "default"',
  ]);
  t.same(refusalOf(await api.ask(`${PODS}/box/exec?command=sh`, { headers: WEBSOCKET })), [
    403,
    'Forbidden',
    'pods "box" is forbidden: User "viewer@example.com" cannot create resource "pods/exec" in API group "" in the namespace "default"',
  ]);
  t.match(refusalOf(await api.ask(PODS, { headers: { 'Impersonate-User': 'dev@example.com' } })), [
    403,
    'Forbidden',
    /cannot impersonate resource "users" in API group "" at the cluster scope$/,
  ]);
  t.equal((await api.ask('/api/v1/namespaces/default/secrets?watch=1')).status, 403);
  t.equal((await api.ask(CONFIGMAPS, { method: 'DELETE' })).status, 403);
  t.same([await may('list', 'pods'), await may('get', 'secrets'), await may('*', '*')], [true, false, false]);
  const rules = dicts((await review('SelfSubjectRulesReview', { namespace: 'default' }))['resourceRules']);
  t.notOk(rules.some(({ resources }) => (resources as string[]).includes('secrets')));
});

t.test('subresources of workloads', async (t) => {
  const api = await openClusterApi(t);
  const scale = await api.ask(`${DEPLOYMENTS}/hello/scale`);
  t.match(scale.body, {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    spec: { replicas: 2 },
    status: { selector: 'app=hello' },
  });
  const merge = { 'Content-Type': 'application/merge-patch+json' };
  const patch = { method: 'PATCH', headers: merge, body: { spec: { replicas: 3 } } };
  t.match((await api.ask(`${DEPLOYMENTS}/hello/scale?dryRun=All`, patch)).body, { spec: { replicas: 3 } });
  t.match((await api.ask(`${DEPLOYMENTS}/hello`)).body, { spec: { replicas: 2 } });
  t.match((await api.ask(`${DEPLOYMENTS}/hello/scale`, patch)).body, { spec: { replicas: 3 } });
  const stale = await api.ask(`${DEPLOYMENTS}/hello/scale`, { method: 'PUT', body: scale.body });
  t.equal(stale.status, 409);

  await settle(api);
  const status = { status: { conditions: [{ type: 'Mine', status: 'True' }] }, spec: { replicas: 9 } };
  const written = await api.ask(`${DEPLOYMENTS}/hello/status`, { method: 'PATCH', headers: merge, body: status });
  t.match(written.body, { spec: { replicas: 3 }, status: { conditions: [{ type: 'Mine' }] } }, 'the status alone');

  const eviction = (name: string): Dict => ({
    kind: 'Eviction',
    apiVersion: 'policy/v1',
    metadata: { name },
    deleteOptions: { gracePeriodSeconds: 0 },
  });
  const mismatched = await api.ask(`${PODS}/box/eviction`, { method: 'POST', body: eviction('other') });
  t.equal(mismatched.status, 400);
  t.match(await api.ask(`${PODS}/box/eviction`, { method: 'POST', body: eviction('box') }), {
    status: 201,
    body: { kind: 'Status', status: 'Success' },
  });
  t.equal((await api.ask(`${PODS}/box`)).status, 404);
  const token = '/api/v1/namespaces/default/serviceaccounts/default/token';
  const issued = await api.ask(token, { method: 'POST', body: { spec: { expirationSeconds: 600 } } });
  t.match(issued, { status: 201, body: { kind: 'TokenRequest', metadata: { name: 'default' } } });
  const [, claims = ''] = String(dict(issued.body['status'])['token']).split('.');
  t.match(JSON.parse(Buffer.from(claims, 'base64url').toString()), {
    sub: 'system:serviceaccount:default:default',
    'kubernetes.io': { namespace: 'default', serviceaccount: { name: 'default' } },
  });
  const short = await api.ask(token, { method: 'POST', body: { spec: { expirationSeconds: 60 } } });
  t.match(short, { status: 422, body: { message: /less than 10 minutes/ } });
  t.equal((await api.ask(token.replace('/default/token', '/none/token'), { method: 'POST', body: {} })).status, 404);
});

t.test('a whole collection is deleted', async (t) => {
  const api = await openClusterApi(t);
  await api.create(CONFIGMAPS, { metadata: { name: 'one', labels: { go: 'yes' } } });
  await api.create(CONFIGMAPS, { metadata: { name: 'two', labels: { go: 'yes' } } });
  const target = `${CONFIGMAPS}?labelSelector=go`;
  const dry = await api.ask(`${target}&dryRun=All`, { method: 'DELETE' });
  t.match(dry.body, { kind: 'ConfigMapList', items: [{}, {}] });
  t.equal(dicts((await api.ask(target)).body['items']).length, 2);
  t.equal((await api.ask(target, { method: 'DELETE' })).status, 200);
  t.equal(dicts((await api.ask(target)).body['items']).length, 0);
  t.not(dicts((await api.ask(CONFIGMAPS)).body['items']).length, 0, 'what was not selected stays');
});

t.test('events under both of their names', async (t) => {
  const api = await openClusterApi(t);
  const at = '/apis/events.k8s.io/v1/namespaces/default/events';
  const regarding = { kind: 'Pod', name: 'box', namespace: 'default' };
  const draft = { metadata: { name: 'e' }, regarding, reason: 'Tested', note: 'well', type: 'Normal' };
  t.match(await api.create(at, { kind: 'Event', apiVersion: 'events.k8s.io/v1', ...draft }), {
    apiVersion: 'events.k8s.io/v1',
    note: 'well',
    regarding,
  });
  const core = '/api/v1/namespaces/default/events';
  t.match((await api.ask(`${core}/e`)).body, { apiVersion: 'v1', message: 'well', involvedObject: regarding });
  t.equal(dicts((await api.ask(`${core}?fieldSelector=reason%3DTested`)).body['items']).length, 1);
  const headers = { 'Content-Type': 'application/merge-patch+json' };
  const patched = await api.ask(`${at}/e`, { method: 'PATCH', headers, body: { note: 'better' } });
  t.match(patched.body, { note: 'better' });
  t.match((await api.ask(`${core}/e`)).body, { message: 'better' });
  t.equal((await api.ask(`${at}/e`, { method: 'DELETE' })).status, 200);
  t.equal((await api.ask(`${core}/e`)).status, 404);
});

t.test('logs', async (t) => {
  const api = await openClusterApi(t);
  const log = (pod: string, query = ''): Promise<Answer> => api.ask(`${PODS}/${pod}/log${query}`);
  const end = (text: string): void => {
    const stream = new PassThrough();
    stream.end(text);
    api.runtime.log = stream;
  };
  end('hello\n');
  const answer = await log('box', '?tailLines=3&limitBytes=9&timestamps=true&sinceSeconds=10&previous=false');
  t.match(answer, { status: 200, text: 'hello\n', headers: { 'content-type': 'text/plain' } });
  t.same(api.runtime.logs[0]?.options, {
    follow: false,
    previous: false,
    timestamps: true,
    sinceTime: api.clock.now() - 10_000,
    tailLines: 3,
    limitBytes: 9,
  });
  end('');
  await log('two', '?container=sidecar&sinceTime=2026-11-24T01:02:03.987Z');
  const asked = api.runtime.logs.at(-1);
  t.equal(asked?.container, 'sidecar');
  t.equal(asked?.options.sinceTime, Date.parse('2026-11-24T01:02:03Z'), 'whole seconds');

  const about = 'PodLogOptions "box" is invalid:';
  const refusals: [string, string, number, string][] = [
    ['none', '', 404, 'pods "none" not found'],
    ['two', '', 400, 'a container name must be specified for pod two, choose one of: [main sidecar]'],
    ['box', '?container=c', 400, 'container c is not valid for pod box'],
    ['box', '?previous=true', 400, 'previous terminated container "box" in pod "box" not found'],
    ['box', '?tailLines=-1', 422, `${about} tailLines: Invalid value: -1: must be greater than or equal to 0`],
    ['box', '?limitBytes=0', 422, `${about} limitBytes: Invalid value: 0: must be greater than 0`],
    ['box', '?sinceSeconds=0', 422, `${about} sinceSeconds: Invalid value: 0: must be greater than 0`],
    ['box', '?tailLines=x', 400, 'strconv.ParseInt: parsing "x": invalid syntax'],
  ];
  for (const [pod, query, status, message] of refusals) {
    const refused = await log(pod, query);
    t.same([refused.status, refused.body['message']], [status, message]);
  }
  t.equal((await log('box', '?sinceSeconds=1&sinceTime=2026-11-24T01:02:03Z')).status, 422);
  api.runtime.states = { kind: 'waiting', reason: 'ImagePullBackOff' };
  t.match((await log('box')).body, { message: 'container "box" in pod "box" is waiting to start: ImagePullBackOff' });
});

t.test('a followed log goes as fast as it is read, and ends with its reader', async (t) => {
  const api = await openClusterApi(t);
  const source = new PassThrough({ highWaterMark: 64 * 1024 });
  api.runtime.log = source;
  const reader = await api.open(`${PODS}/box/log?follow=true`);
  t.equal(reader.statusCode, 200, 'the head comes before the first line');
  const line = Buffer.alloc(64 * 1024, 'x');
  let written = 0;
  const blocked = (): boolean => source.writableLength > 0 && source.readableLength > 0;
  while (written < 512 && !blocked()) {
    source.write(line);
    written++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(written < 512, `the writer was held up after ${written * 64} KiB`);
  const signal = api.runtime.logs[0]?.signal;
  t.ok(signal);
  const gone = signal === undefined ? Promise.resolve() : once(signal, 'abort');
  reader.destroy();
  await gone;
  t.ok(source.destroyed);
});

t.test('streams into pods', async (t) => {
  const api = await openClusterApi(t);
  const upgrade = async (t: Test, target: string): Promise<Answer> => {
    const response = await api.open(`${PODS}/${target}`, { headers: WEBSOCKET });
    if (response.statusCode === 101) return { status: 101, headers: response.headers, text: '', body: {} };
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = String(Buffer.concat(chunks));
    t.equal(response.headers['content-type'], 'application/json');
    return { status: response.statusCode ?? 0, headers: response.headers, text, body: JSON.parse(text) as Dict };
  };
  t.equal((await upgrade(t, 'box/exec?command=sh&stdin=true')).status, 101);
  t.match(api.runtime.upgrades[0], { subresource: 'exec', container: 'box' });
  t.equal(api.runtime.upgrades[0]?.query.get('command'), 'sh');
  t.equal((await upgrade(t, 'two/attach?container=sidecar')).status, 101);
  t.equal(api.runtime.upgrades[1]?.container, 'sidecar');
  t.equal((await upgrade(t, 'box/portforward')).status, 101);
  t.notOk('container' in (api.runtime.upgrades[2] ?? {}));

  const refusals: [string, number, string][] = [
    ['none/exec?command=sh', 404, 'pods "none" not found'],
    ['box/exec?command=sh&container=c', 400, 'container c is not valid for pod box'],
    ['two/exec?command=sh', 400, 'a container name must be specified for pod two, choose one of: [main sidecar]'],
    ['box/status', 404, 'the server could not find the requested resource'],
  ];
  for (const [target, status, message] of refusals) {
    t.same([status, message], await upgrade(t, target).then((got) => [got.status, got.body['message']]), target);
  }
  api.runtime.states = { kind: 'terminated', exitCode: 0, startedAt: 0, finishedAt: 1 };
  t.match((await upgrade(t, 'box/exec?command=sh')).body, {
    code: 500,
    message: 'Internal error occurred: unable to upgrade connection: container not found ("box")',
  });
  t.match((await upgrade(t, 'box/portforward')).body, { code: 400, message: /because pod is not running/ });
  t.equal(api.runtime.upgrades.length, 3, 'what is refused does not reach the pod');
  t.match(await api.ask(`${PODS}/box/exec?command=sh`, { method: 'POST' }), {
    status: 400,
    body: { message: 'Upgrade request required' },
  });
});

t.test('a pod goes when its grace period is over', async (t) => {
  const api: ClusterApi = await openClusterApi(t);
  const deleted = await api.ask(`${PODS}/box`, { method: 'DELETE' });
  t.match(deleted.body, { kind: 'Pod', metadata: { name: 'box', deletionGracePeriodSeconds: 1 } });
  await settle(api);
  t.equal((await api.ask(`${PODS}/box`)).status, 404);
  const body = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Sometimes' };
  t.match(await api.ask(`${PODS}/two`, { method: 'DELETE', body }), {
    status: 422,
    body: { message: /^DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sometimes"/ },
  });
});
