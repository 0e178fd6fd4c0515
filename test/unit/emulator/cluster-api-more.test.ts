import { Readable } from 'node:stream';
import t from 'tap';
import { dict, dicts } from '../../../src/emulator/cluster/json.js';
import { decodeProtobufObject } from '../../../src/emulator/cluster/protobuf-bodies.js';
import { openClusterApi, settle } from './cluster-api-bench.js';

const BOX = '/api/v1/namespaces/default/pods/box';
const EPHEMERAL = `${BOX}/ephemeralcontainers`;
const AUTOSCALERS = '/namespaces/default/horizontalpodautoscalers';
const V1 = `/apis/autoscaling/v1${AUTOSCALERS}`;
const V2 = `/apis/autoscaling/v2${AUTOSCALERS}`;
const MERGE = { 'Content-Type': 'application/strategic-merge-patch+json' };

t.test('containers for debugging are added to a running pod, and change nothing else of it', async (t) => {
  const api = await openClusterApi(t);
  await settle(api);
  const debug = (...containers: object[]): Parameters<typeof api.ask>[1] => ({
    method: 'PATCH',
    headers: MERGE,
    body: { spec: { ephemeralContainers: containers }, metadata: { labels: { a: 'b' } } },
  });
  const added = await api.ask(
    EPHEMERAL,
    debug({ name: 'dbg', image: 'emulator.example/box', command: ['sh'], tty: true }),
  );
  t.equal(added.status, 200, added.text);
  await settle(api);
  const box = (await api.ask(BOX)).body;
  t.match(box, {
    spec: { ephemeralContainers: [{ name: 'dbg', tty: true }] },
    status: { phase: 'Running', ephemeralContainerStatuses: [{ name: 'dbg', state: { running: {} } }] },
  });
  t.equal(dicts(dict(box['status'])['containerStatuses']).length, 1, 'it is no container of the pod');
  t.equal(dict(dict(box['metadata'])['labels'])['a'], undefined, 'only what the subresource is for');
  t.match(api.runtime.started.at(-1), { name: 'box', restartPolicy: 'Never', containers: [{ name: 'dbg' }] });
  api.runtime.log = Readable.from(['a line\n']);
  t.equal((await api.ask(`${BOX}/log?container=dbg`)).text, 'a line\n');
  t.match(await api.ask(EPHEMERAL, debug({ name: 'box', image: 'x' })), {
    status: 422,
    body: { message: /Duplicate/ },
  });
  const other = {
    method: 'PATCH',
    headers: MERGE,
    body: { spec: { ephemeralContainers: [{ name: 'dbg', image: 'y' }] } },
  };
  t.match(await api.ask(EPHEMERAL, other), { status: 422, body: { message: /may not be removed or changed/ } });
  t.equal((await api.ask(BOX, other)).status, 200);
  t.match((await api.ask(BOX)).body, { spec: { ephemeralContainers: [{ image: 'emulator.example/box' }] } });
});

t.test('an autoscaler is one object in two versions', async (t) => {
  const api = await openClusterApi(t);
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'hello' };
  const created = await api.ask(V1, {
    method: 'POST',
    body: {
      apiVersion: 'autoscaling/v1',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'hello' },
      spec: { scaleTargetRef, maxReplicas: 3, targetCPUUtilizationPercentage: 50 },
    },
  });
  t.match(created, {
    status: 201,
    body: {
      apiVersion: 'autoscaling/v1',
      spec: { minReplicas: 1, maxReplicas: 3, targetCPUUtilizationPercentage: 50 },
    },
  });
  const target = { type: 'Utilization', averageUtilization: 50 };
  const second = await api.ask(`${V2}/hello`);
  t.match(second.body, {
    apiVersion: 'autoscaling/v2',
    metadata: { uid: dict(created.body['metadata'])['uid'] },
    spec: { metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] },
  });
  const patched = await api.ask(`${V2}/hello`, { method: 'PATCH', headers: MERGE, body: { spec: { maxReplicas: 7 } } });
  t.equal(patched.status, 200, patched.text);
  t.match((await api.ask(`${V1}/hello`)).body, { spec: { maxReplicas: 7, targetCPUUtilizationPercentage: 50 } });
  for (const path of [V1, V2]) {
    const table = await api.ask(path, { headers: { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' } });
    const [row] = dicts(table.body['rows']);
    t.match(row?.['cells'], ['hello', 'Deployment/hello', 'cpu: <unknown>/50%', '1', 7, 0], path);
  }
  const unknown = await api.ask(V1, { method: 'POST', body: { metadata: { name: 'x' }, spec: { scaleTargetRef } } });
  t.match(unknown, { status: 422, body: { message: /maxReplicas/ } });
  t.match((await api.ask('/apis/autoscaling')).body, {
    versions: [{ version: 'v2' }, { version: 'v1' }],
    preferredVersion: { version: 'v2' },
  });
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const groups = dicts((await api.ask('/apis', { headers: { Accept: accept } })).body['items']);
  const autoscaling = groups.filter(({ metadata }) => dict(metadata)['name'] === 'autoscaling');
  t.match(autoscaling, [{ versions: [{ version: 'v2' }, { version: 'v1' }] }], 'one group, two versions');
  t.equal((await api.ask(`${V2}/hello`, { method: 'DELETE' })).status, 200);
  t.equal((await api.ask(`${V1}/hello`)).status, 404);
});

t.test('what somebody may do is answered in the form of its type', async (t) => {
  const api = await openClusterApi(t);
  const ask = async (headers: Record<string, string>): Promise<unknown> => {
    const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
    const { body } = await api.ask(path, { method: 'POST', headers, body: { spec: { namespace: 'default' } } });
    return body['status'];
  };
  t.match(await ask({}), { incomplete: false, resourceRules: [{ verbs: ['*'], apiGroups: ['*'] }] });
  // As kubectl 1.33 writes it: of the status what cannot be left out.
  const field = (number: number, content: Buffer | string): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, Buffer.byteLength(content)]), Buffer.from(content)]);
  const type = Buffer.concat([field(1, 'authorization.k8s.io/v1'), field(2, 'SelfSubjectRulesReview')]);
  const status = Buffer.concat([Buffer.from([3 << 3, 0]), field(4, '')]);
  const raw = Buffer.concat([field(1, ''), field(2, field(1, 'default')), field(3, status)]);
  const written = Buffer.concat([Buffer.from('k8s\0'), field(1, type), field(2, raw), field(3, ''), field(4, '')]);
  t.match(decodeProtobufObject(written), {
    kind: 'SelfSubjectRulesReview',
    spec: { namespace: 'default' },
    status: { incomplete: false },
  });
});

t.test('metadata that is empty is left out', async (t) => {
  const api = await openClusterApi(t);
  const path = '/api/v1/namespaces/default/configmaps';
  const metadata = { name: 'plain', annotations: {}, labels: { a: '1' }, finalizers: [], ownerReferences: null };
  const made = await api.ask(path, { method: 'POST', body: { metadata } });
  t.match(made, { status: 201, body: { metadata: { labels: { a: '1' } } } });
  for (const key of ['annotations', 'finalizers', 'ownerReferences']) {
    t.notOk(key in dict(made.body['metadata']), key);
  }
  const headers = { 'Content-Type': 'application/merge-patch+json' };
  const same = await api.ask(`${path}/plain`, { method: 'PATCH', headers, body: { metadata: { annotations: {} } } });
  t.strictSame(same.body, made.body, 'nothing has changed');
});
