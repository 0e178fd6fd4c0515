import { readFileSync } from 'node:fs';
import t from 'tap';
import { ApiError } from '../../../src/emulator/cluster/api-error.js';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, dict, dicts } from '../../../src/emulator/cluster/json.js';
import { applyServerSide } from '../../../src/emulator/cluster/managed-fields.js';
import { applyJsonPatch } from '../../../src/emulator/cluster/patch/json-patch.js';
import { applyMergePatch } from '../../../src/emulator/cluster/patch/merge-patch.js';
import { applyStrategicMergePatch } from '../../../src/emulator/cluster/patch/strategic-merge.js';
import { decodeProtobufObject } from '../../../src/emulator/cluster/protobuf-bodies.js';
import { Registry } from '../../../src/emulator/cluster/registry.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { schemaOf } from '../../../src/emulator/cluster/schema/schemas.js';
import { Store } from '../../../src/emulator/cluster/store.js';
import { toPartialMetadata, toPartialMetadataList, toTable } from '../../../src/emulator/cluster/table-printer.js';
import { FakeClock } from '../../support/fake-clock.js';

const FIXTURES = new URL('../../fixtures/cluster/', import.meta.url);
/** A pod of a real Kubernetes 1.36 cluster, as its API server wrote it. */
const REAL_POD = JSON.parse(readFileSync(new URL('pod-1.36.json', FIXTURES), 'utf8')) as KubeObject;
const REAL_POD_PROTOBUF = Buffer.from(readFileSync(new URL('pod-1.36.protobuf.base64', FIXTURES), 'utf8'), 'base64');

const PODS = resourceById('pods');
const CONFIG_MAPS = resourceById('configmaps');
const DEPLOYMENTS = resourceById('deployments.apps');
const SERVICES = resourceById('services');
const NOW = Date.UTC(2026, 10, 24);

interface Bench {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly registry: Registry;
}

function bench(): Bench {
  const clock = new FakeClock(NOW);
  const store = new Store({ clock });
  let address = 1;
  const help = { serviceAddress: () => `10.96.0.${++address}`, nodePort: () => 30_000 + address++ };
  const registry = new Registry({ store, clock, random: () => 0.5, help });
  registry.create(resourceById('namespaces'), '', { metadata: { name: 'default' } }, { manager: 'setup' });
  return { clock, store, registry };
}

function configMap(name: string, data: Record<string, string>, metadata: Dict = {}): Dict {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default', ...metadata }, data };
}

function entries(object: KubeObject): readonly Dict[] {
  return dicts(object.metadata['managedFields']);
}

function fieldsOf(object: KubeObject, manager: string, operation = 'Update'): unknown {
  return entries(object).find((e) => e['manager'] === manager && e['operation'] === operation)?.['fieldsV1'];
}

function refusal(act: () => unknown): ApiError {
  try {
    act();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

t.test('the store keeps its history', async (t) => {
  t.test('an older list is rebuilt from the changes since', async (t) => {
    const { store, registry } = bench();
    const a = registry.create(CONFIG_MAPS, 'default', configMap('a', { v: '1' }), { manager: 'm' });
    const revisionOfA = Number(a.metadata.resourceVersion);
    registry.create(CONFIG_MAPS, 'default', configMap('b', {}), { manager: 'm' });
    const changed = registry.update(CONFIG_MAPS, a, configMap('a', { v: '2' }), { manager: 'm' });
    registry.delete(CONFIG_MAPS, changed, {});

    const names = (revision: number): string[] =>
      store.listAt('configmaps', 'default', revision).map((o) => `${o.metadata.name}=${String(at(o, 'data.v'))}`);
    t.same(names(revisionOfA), ['a=1']);
    t.same(names(revisionOfA + 1), ['a=1', 'b=undefined']);
    t.same(names(revisionOfA + 2), ['a=2', 'b=undefined']);
    t.same(names(store.revision), ['b=undefined']);
    t.same(store.listAt('configmaps', 'elsewhere', revisionOfA), []);
  });

  t.test('changes come in order, each with what was before', async (t) => {
    const { store, registry } = bench();
    const seen: string[] = [];
    const start = store.revision;
    const stop = store.subscribe(({ type, object, previous, revision }) =>
      seen.push(`${type} ${object.metadata.name} ${revision - start} ${String(at(previous, 'data.v'))}`),
    );
    const a = registry.create(CONFIG_MAPS, 'default', configMap('a', { v: '1' }), { manager: 'm' });
    const b = registry.update(CONFIG_MAPS, a, configMap('a', { v: '2' }), { manager: 'm' });
    t.equal(
      registry.update(CONFIG_MAPS, b, configMap('a', { v: '2' }), { manager: 'other' }),
      b,
      'no change, no write',
    );
    registry.delete(CONFIG_MAPS, b, {});
    stop();
    registry.create(CONFIG_MAPS, 'default', configMap('c', {}), { manager: 'm' });
    t.same(seen, ['ADDED a 1 undefined', 'MODIFIED a 2 1', 'DELETED a 3 2']);
    t.same(
      store.since(start + 1)?.map(({ type }) => type),
      ['MODIFIED', 'DELETED', 'ADDED'],
    );
  });

  t.test('after a compaction, what is older is gone', async (t) => {
    const { store, registry } = bench();
    const a = registry.create(CONFIG_MAPS, 'default', configMap('a', {}), { manager: 'm' });
    registry.create(CONFIG_MAPS, 'default', configMap('b', {}), { manager: 'm' });
    store.compact();
    t.equal(store.compactedRevision, store.revision);
    t.equal(store.since(Number(a.metadata.resourceVersion)), undefined);
    t.same(store.since(store.revision), []);
    const refused = refusal(() => store.listAt('configmaps', 'default', Number(a.metadata.resourceVersion)));
    t.match(refused.status, { code: 410, reason: 'Expired' });
  });

  t.test('a long history forgets its older half by itself', async (t) => {
    const { store, registry } = bench();
    let a = registry.create(CONFIG_MAPS, 'default', configMap('a', { v: '0' }), { manager: 'm' });
    const first = Number(a.metadata.resourceVersion);
    for (let n = 1; n <= 5001; n++) {
      a = store.update('configmaps', { ...a, data: { v: String(n) } });
    }
    t.equal(store.since(first), undefined);
    t.ok(store.compactedRevision > first);
    t.equal(store.since(store.compactedRevision)?.length, store.revision - store.compactedRevision);
  });
});

t.test('patches', async (t) => {
  t.test('a JSON patch', async (t) => {
    const target = { a: { b: [1, 2, 3] }, 'x/y~z': 1 };
    const patch = [
      { op: 'test', path: '/a/b/0', value: 1 },
      { op: 'add', path: '/a/b/-', value: 4 },
      { op: 'add', path: '/a/b/1', value: 9 },
      { op: 'remove', path: '/a/b/0' },
      { op: 'replace', path: '/x~1y~0z', value: 2 },
      { op: 'copy', from: '/a/b', path: '/c' },
      { op: 'move', from: '/a/b', path: '/d' },
    ];
    t.same(applyJsonPatch(target, patch), { a: {}, 'x/y~z': 2, c: [9, 2, 3, 4], d: [9, 2, 3, 4] });
    t.same(target, { a: { b: [1, 2, 3] }, 'x/y~z': 1 }, 'the target is left alone');
    for (const operation of [
      { op: 'test', path: '/a', value: 1 },
      { op: 'remove', path: '/nothing' },
      { op: 'replace', path: '/nothing', value: 1 },
      { op: 'add', path: '/a/b/7', value: 1 },
      { op: 'dance', path: '/a' },
    ]) {
      const refused = refusal(() => applyJsonPatch(target, [operation]));
      t.match(refused.status, { code: 422, reason: 'Invalid' }, operation.op);
    }
  });

  t.test('a merge patch', async (t) => {
    const target = { a: 1, b: { c: 1, d: [1, 2] }, e: 'x' };
    t.same(applyMergePatch(target, { a: null, b: { d: [3], f: 1 }, e: { g: null, h: 1 } }), {
      b: { c: 1, d: [3], f: 1 },
      e: { h: 1 },
    });
    t.same(target.b.d, [1, 2]);
  });

  t.test('a strategic merge patch', async (t) => {
    const pod = {
      metadata: { labels: { a: '1' }, finalizers: ['x/a', 'x/b'] },
      spec: {
        containers: [
          { name: 'main', image: 'a', env: [{ name: 'X', value: '1' }], args: ['1'] },
          { name: 'side', image: 'b' },
        ],
        volumes: [{ name: 'v', emptyDir: {} }],
      },
    };
    const patched = applyStrategicMergePatch(
      pod,
      {
        metadata: { labels: { b: '2' }, '$deleteFromPrimitiveList/finalizers': ['x/a'], finalizers: ['x/c'] },
        spec: {
          '$setElementOrder/containers': [{ name: 'new' }, { name: 'main' }],
          containers: [
            { name: 'main', env: [{ name: 'Y', value: '2' }], args: ['2'] },
            { name: 'side', $patch: 'delete' },
            { name: 'new', image: 'c' },
          ],
          volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/' } }],
        },
      },
      schemaOf('Pod'),
    );
    t.same(patched, {
      metadata: { labels: { a: '1', b: '2' }, finalizers: ['x/b', 'x/c'] },
      spec: {
        containers: [
          { name: 'new', image: 'c' },
          {
            name: 'main',
            image: 'a',
            env: [
              { name: 'X', value: '1' },
              { name: 'Y', value: '2' },
            ],
            args: ['2'],
          },
        ],
        volumes: [{ name: 'v', hostPath: { path: '/' } }],
      },
    });
    t.same(applyStrategicMergePatch({ spec: { a: 1 } }, { spec: { $patch: 'replace', b: 1 } }, schemaOf('Pod')), {
      spec: { b: 1 },
    });
    t.throws(
      () => applyStrategicMergePatch(pod, { spec: { containers: [{ image: 'x' }] } }, schemaOf('Pod')),
      /merge key/,
    );
  });
});

t.test('what the server fills in', async (t) => {
  t.test('a service keeps its address when it is sent again without it', async (t) => {
    const { registry } = bench();
    const draft = (port: number, type = 'ClusterIP'): Dict => ({
      metadata: { name: 'web' },
      spec: { type, ports: [{ port }], selector: { app: 'web' } },
    });
    const created = registry.create(SERVICES, 'default', draft(80), { manager: 'm' });
    t.equal(at(created, 'spec.clusterIP'), '10.96.0.2');
    t.notOk(JSON.stringify(entries(created)).includes('clusterIP'), 'which nobody manages');
    const replaced = registry.update(SERVICES, created, draft(81), { manager: 'm' });
    t.equal(at(replaced, 'spec.clusterIP'), '10.96.0.2');
    const nodePort = registry.update(SERVICES, replaced, draft(81, 'NodePort'), { manager: 'm' });
    t.type(dicts(at(nodePort, 'spec.ports'))[0]?.['nodePort'], 'number');
    const again = registry.update(SERVICES, nodePort, draft(81, 'NodePort'), { manager: 'm' });
    t.equal(again, nodePort, 'nothing has changed');
  });

  t.test('a pod stays on its node when it is sent again without it', async (t) => {
    const { registry } = bench();
    const draft = (): Dict => ({ metadata: { name: 'box' }, spec: { containers: [{ name: 'main', image: 'x' }] } });
    const created = registry.create(PODS, 'default', draft(), { manager: 'm' });
    const bound = registry.change(PODS, created, { manager: 'scheduler' }, (pod) => {
      pod.spec = { ...pod.spec, nodeName: 'n1' };
    });
    t.ok(bound);
    if (bound !== undefined) t.equal(registry.update(PODS, bound, draft(), { manager: 'm' }), bound);
  });
});

t.test('managed fields', async (t) => {
  t.test('of a new pod are those that a real server notes', async (t) => {
    const { registry } = bench();
    const annotation = REAL_POD.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration'] ?? '';
    const draft = JSON.parse(annotation) as Dict;
    draft['metadata'] = {
      ...dict(draft['metadata']),
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': annotation },
    };
    const pod = registry.create(PODS, 'default', draft, { manager: 'kubectl-client-side-apply' });
    const [real] = entries(REAL_POD);
    t.equal(JSON.stringify(entries(pod)), JSON.stringify([{ ...real, time: '2026-11-24T00:00:00Z' }]));
  });

  t.test('of a status are those that a real server notes', async (t) => {
    const { registry, store } = bench();
    const [first, kubelet] = entries(REAL_POD);
    const scheduled = dicts(at(REAL_POD, 'status.conditions')).filter(({ type }) => type === 'PodScheduled');
    const conditions = scheduled.map(({ observedGeneration: _later, ...condition }) => condition);
    const before = store.create('pods', {
      ...REAL_POD,
      metadata: { ...REAL_POD.metadata, managedFields: [first] },
      status: { phase: 'Pending', qosClass: 'BestEffort', conditions },
    });
    const after = registry.update(
      PODS,
      before,
      { ...structuredClone(REAL_POD), metadata: structuredClone(before.metadata) },
      { manager: 'kubelet', subresource: 'status' },
    );
    t.same(entries(after)[0], first);
    const expected = structuredClone(dict(kubelet?.['fieldsV1']));
    // An explicit null is dropped here.
    const noted = JSON.stringify(expected).replaceAll('"f:lastProbeTime":{},', '');
    t.equal(JSON.stringify(fieldsOf(after, 'kubelet')), noted);
    t.equal(entries(after)[1]?.['subresource'], 'status');
  });

  t.test('move to whoever changes them, and entries without fields vanish', async (t) => {
    const { registry, clock } = bench();
    const one = registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1', y: '1' }), { manager: 'one' });
    clock.advance(5000);
    const two = registry.update(CONFIG_MAPS, one, configMap('a', { x: '2', y: '1' }), { manager: 'two' });
    t.same(fieldsOf(two, 'one'), { 'f:data': { '.': {}, 'f:y': {} } });
    t.same(fieldsOf(two, 'two'), { 'f:data': { 'f:x': {} } });
    t.same(
      entries(two).map(({ time }) => time),
      ['2026-11-24T00:00:00Z', '2026-11-24T00:00:05Z'],
    );
    const three = registry.update(CONFIG_MAPS, two, configMap('a', { y: '1' }), { manager: 'three' });
    t.same(
      entries(three).map(({ manager }) => manager),
      ['one'],
      'who only removes owns nothing, and who lost all is gone',
    );
  });

  t.test('may be rewritten or given up by clients', async (t) => {
    const { registry } = bench();
    const one = registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1' }), { manager: 'one' });
    const renamed = entries(one).map((entry) => ({ ...entry, manager: 'other' }));
    const two = registry.update(CONFIG_MAPS, one, configMap('a', { x: '1' }, { managedFields: renamed }), {
      manager: 'm',
    });
    t.same(fieldsOf(two, 'other'), { 'f:data': { '.': {}, 'f:x': {} } });
    const spoilt = configMap('a', { x: '1' }, { managedFields: [{ manager: 'x' }] });
    t.equal(registry.update(CONFIG_MAPS, two, spoilt, { manager: 'm' }), two);
    const none = registry.update(CONFIG_MAPS, two, configMap('a', { x: '1' }, { managedFields: [{}] }), {
      manager: 'm',
    });
    t.equal(none.metadata['managedFields'], undefined);
    const still = registry.update(CONFIG_MAPS, none, configMap('a', { x: '2' }), { manager: 'm' });
    t.equal(still.metadata['managedFields'], undefined, 'and are not begun again by updates');
  });

  t.test('name list items by their keys and set items by their value', async (t) => {
    const { registry } = bench();
    const service = registry.create(
      SERVICES,
      'default',
      {
        metadata: { name: 'web', finalizers: ['x/a'] },
        spec: { ports: [{ port: 80, name: 'http' }], selector: { app: 'web' } },
      },
      { manager: 'm' },
    );
    t.same(fieldsOf(service, 'm'), {
      'f:metadata': { 'f:finalizers': { '.': {}, 'v:"x/a"': {} } },
      'f:spec': {
        'f:internalTrafficPolicy': {},
        'f:ports': {
          '.': {},
          'k:{"port":80,"protocol":"TCP"}': {
            '.': {},
            'f:name': {},
            'f:port': {},
            'f:protocol': {},
            'f:targetPort': {},
          },
        },
        'f:selector': {},
        'f:sessionAffinity': {},
        'f:type': {},
      },
    });
  });
});

t.test('server-side apply', async (t) => {
  interface Apply {
    readonly manager?: string;
    readonly force?: boolean;
    readonly type?: typeof CONFIG_MAPS;
  }
  function apply({ registry, store, clock }: Bench, config: Dict, options: Apply = {}): KubeObject {
    const { manager = 'one', force = false, type = CONFIG_MAPS } = options;
    const existing = store.get(type.id, 'default', String(at(config, 'metadata.name')));
    const { object } = applyServerSide({ type, existing, config, manager, force, now: clock.now() });
    const write = { manager, applied: true } as const;
    return existing === undefined
      ? registry.create(type, 'default', object, write)
      : registry.update(type, existing, object, write);
  }
  const deployment = (containers: readonly Dict[], spec: Dict = {}): Dict => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', labels: { app: 'web' } },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers } },
      ...spec,
    },
  });

  t.test('creates, with one entry that speaks of the configuration alone', async (t) => {
    const b = bench();
    const container = { name: 'main', image: 'a', ports: [{ containerPort: 80 }] };
    const created = apply(b, deployment([container], { replicas: 2 }), { type: DEPLOYMENTS });
    t.equal(at(created, 'spec.progressDeadlineSeconds'), 600);
    t.match(entries(created), [{ manager: 'one', operation: 'Apply', apiVersion: 'apps/v1', fieldsType: 'FieldsV1' }]);
    t.same(fieldsOf(created, 'one', 'Apply'), {
      'f:metadata': { 'f:labels': { 'f:app': {} } },
      'f:spec': {
        'f:replicas': {},
        'f:selector': {},
        'f:template': {
          'f:metadata': { 'f:labels': { 'f:app': {} } },
          'f:spec': {
            'f:containers': {
              'k:{"name":"main"}': {
                '.': {},
                'f:image': {},
                'f:name': {},
                'f:ports': {
                  'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} },
                },
              },
            },
          },
        },
      },
    });
  });

  t.test('changes nothing when it says the same again', async (t) => {
    const b = bench();
    const config = deployment([{ name: 'main', image: 'a' }]);
    const created = apply(b, config, { type: DEPLOYMENTS });
    b.clock.advance(60_000);
    t.equal(apply(b, config, { type: DEPLOYMENTS }), created);
    const shared = apply(b, config, { type: DEPLOYMENTS, manager: 'two' });
    t.same(
      entries(shared).map(({ manager }) => manager),
      ['one', 'two'],
      'another who says the same shares the fields',
    );
  });

  t.test('merges lists by their keys, and removes what the manager no longer speaks of', async (t) => {
    const b = bench();
    apply(b, deployment([{ name: 'main', image: 'a', env: [{ name: 'X', value: '1' }] }], { replicas: 3 }), {
      type: DEPLOYMENTS,
    });
    const side = apply(b, deployment([{ name: 'side', image: 's' }]), { type: DEPLOYMENTS, manager: 'two' });
    const containers = (object: KubeObject): unknown[] =>
      dicts(at(object, 'spec.template.spec.containers')).map(({ name, image }) => [name, image]);
    t.same(containers(side), [
      ['side', 's'],
      ['main', 'a'],
    ]);
    t.equal(at(side, 'spec.replicas'), 3);
    const less = apply(b, deployment([{ name: 'new', image: 'n' }]), { type: DEPLOYMENTS });
    t.same(containers(less), [
      ['side', 's'],
      ['new', 'n'],
    ]);
    t.equal(at(less, 'spec.replicas'), 1, 'removed, and then defaulted');
    const gone = apply(b, configMap('a', { x: '1', y: '1' }));
    t.same(gone['data'], { x: '1', y: '1' });
    t.same(apply(b, configMap('a', { y: '2' }))['data'], { y: '2' });
    const { data: _data, ...bare } = configMap('a', {});
    t.equal(apply(b, bare)['data'], undefined);
  });

  t.test('keeps what is owned by others too', async (t) => {
    const b = bench();
    apply(b, configMap('a', { x: '1', y: '1' }));
    apply(b, configMap('a', { x: '1' }), { manager: 'two' });
    const less = apply(b, configMap('a', {}));
    t.same(less['data'], { x: '1' });
    t.same(
      entries(less).map(({ manager, fieldsV1 }) => [manager, fieldsV1]),
      [
        ['one', { 'f:data': {} }],
        ['two', { 'f:data': { 'f:x': {} } }],
      ],
    );
  });

  t.test('is refused when it would change what others own', async (t) => {
    const b = bench();
    b.registry.create(CONFIG_MAPS, 'default', configMap('a', { owner: 'one', k: '1' }), { manager: 'one' });
    const single = refusal(() => apply(b, configMap('a', { owner: 'two' }), { manager: 'two' }));
    t.match(single.status, {
      code: 409,
      reason: 'Conflict',
      message: 'Apply failed with 1 conflict: conflict with "one" using v1: .data.owner',
      details: {
        causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "one" using v1', field: '.data.owner' }],
      },
    });
    apply(b, configMap('a', { z: '1' }), { manager: 'applier' });
    const several = refusal(() => apply(b, configMap('a', { owner: 'two', k: '2', z: '2' }), { manager: 'two' }));
    t.equal(
      several.status.message,
      'Apply failed with 3 conflicts: conflicts with "applier":\n- .data.z\nconflicts with "one" using v1:\n- .data.k\n- .data.owner',
    );
    const forced = apply(b, configMap('a', { owner: 'two' }), { manager: 'two', force: true });
    t.same(forced['data'], { owner: 'two', k: '1', z: '1' });
    t.same(fieldsOf(forced, 'one'), { 'f:data': { '.': {}, 'f:k': {} } });
    t.same(fieldsOf(forced, 'two', 'Apply'), { 'f:data': { 'f:owner': {} } });
  });

  t.test('names list items in a conflict, and the subresource of the other', async (t) => {
    const b = bench();
    apply(b, deployment([{ name: 'main', image: 'a' }], { replicas: 1 }), { type: DEPLOYMENTS });
    const existing = b.registry.find(DEPLOYMENTS, 'default', 'web');
    b.registry.change(DEPLOYMENTS, existing, { manager: 'kubectl', subresource: 'scale' }, (draft) => {
      draft.spec = { ...draft.spec, replicas: 5 };
    });
    const refused = refusal(() =>
      apply(b, deployment([{ name: 'main', image: 'b' }], { replicas: 1 }), { type: DEPLOYMENTS, manager: 'two' }),
    );
    t.equal(
      refused.status.message,
      'Apply failed with 2 conflicts: conflicts with "kubectl" with subresource "scale" using apps/v1:\n- .spec.replicas\n' +
        'conflicts with "one":\n- .spec.template.spec.containers[name="main"].image',
    );
  });

  t.test('may take over what kubectl applied from the client’s side', async (t) => {
    const b = bench();
    const applied = configMap('a', { x: '1', y: '1' });
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(applied) };
    b.registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1', y: '1' }, { annotations }), {
      manager: 'kubectl-client-side-apply',
    });
    t.match(refusal(() => apply(b, configMap('a', { x: '2' }), { manager: 'flux' })).status, { code: 409 });
    const taken = apply(b, configMap('a', { x: '2' }), { manager: 'kubectl' });
    t.same(taken['data'], { x: '2', y: '1' });
    const last = taken.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration'] ?? '';
    t.match(JSON.parse(last), { data: { x: '2' } }, 'and the annotation follows');
  });

  t.test('first gives an object that nobody manages to a manager of the past', async (t) => {
    const b = bench();
    const one = b.registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1' }), { manager: 'one' });
    b.registry.update(CONFIG_MAPS, one, configMap('a', { x: '1' }, { managedFields: [{}] }), { manager: 'one' });
    const refused = refusal(() => apply(b, configMap('a', { x: '2' })));
    t.match(refused.status.message, /conflict with "before-first-apply" using v1: \.data\.x$/);
    const added = apply(b, configMap('a', { x: '1', y: '1' }));
    t.same(
      entries(added).map(({ manager, operation }) => [manager, operation]),
      [
        ['one', 'Apply'],
        ['before-first-apply', 'Update'],
      ],
    );
  });

  t.test('does not let a configuration bring its own managed fields', async (t) => {
    const config = configMap('a', {}, { managedFields: [{ manager: 'x' }] });
    t.match(refusal(() => apply(bench(), config)).status, { code: 400, message: 'metadata.managedFields must be nil' });
  });
});

t.test('tables', async (t) => {
  const ago = (ms: number): string => new Date(NOW - ms).toISOString();
  const cells = (typeId: string, object: Dict, createdAgo = 0): unknown => {
    const metadata = { name: 'x', creationTimestamp: ago(createdAgo), ...dict(object['metadata']) };
    const full = { kind: 'X', apiVersion: 'v1', ...object, metadata } as KubeObject;
    const table = toTable(resourceById(typeId), [full], { now: NOW, includeObject: 'None', withColumns: true });
    const row = dicts(table['rows'])[0];
    t.equal(
      dicts(table['columnDefinitions']).length,
      (row?.['cells'] as unknown[]).length,
      `${typeId}: as many cells as columns`,
    );
    return row?.['cells'];
  };
  const pod = (status: Dict, more: Dict = {}): unknown =>
    cells('pods', { spec: { containers: [{ name: 'a' }, { name: 'b' }] }, status, ...more });

  t.test('of pods are like a real server’s', async (t) => {
    const now = Date.parse('2026-11-23T20:27:20Z');
    const table = toTable(PODS, [REAL_POD], {
      now,
      includeObject: 'Metadata',
      withColumns: true,
      listMetadata: { resourceVersion: '503' },
    });
    t.match(table, { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: { resourceVersion: '503' } });
    t.same(
      dicts(table['columnDefinitions']).map(({ name, type, format, priority }) => [name, type, format, priority]),
      [
        ['Name', 'string', 'name', 0],
        ['Ready', 'string', '', 0],
        ['Status', 'string', '', 0],
        ['Restarts', 'string', '', 0],
        ['Age', 'string', '', 0],
        ['IP', 'string', '', 1],
        ['Node', 'string', '', 1],
        ['Nominated Node', 'string', '', 1],
        ['Readiness Gates', 'string', '', 1],
      ],
    );
    t.same(table['rows'], [
      {
        cells: ['box', '2/2', 'Running', '0', '5m34s', '10.244.0.20', 'n1', '<none>', '<none>'],
        object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: REAL_POD.metadata },
      },
    ]);
    const bookmark = { kind: 'Pod', apiVersion: 'v1', metadata: { resourceVersion: '9' } } as unknown as KubeObject;
    const next = toTable(PODS, [bookmark], { now, includeObject: 'Object', withColumns: false });
    t.equal(next['columnDefinitions'], null);
    t.same(next['rows'], [
      { cells: ['', '0/0', '', '0', '<unknown>', '<none>', '<none>', '<none>', '<none>'], object: bookmark },
    ]);
  });

  t.test('say in one word what a pod does', async (t) => {
    const running = { ready: true, restartCount: 0, state: { running: {} } };
    const waiting = (reason: string): Dict => ({ restartCount: 0, state: { waiting: { reason } } });
    const ended = (exitCode: number, reason?: string): Dict => ({
      restartCount: 0,
      state: { terminated: { exitCode, ...(reason === undefined ? {} : { reason }) } },
    });
    const ready = [{ type: 'Ready', status: 'True' }];
    const cases: [string, Dict, Dict?][] = [
      ['0/2 Pending', { phase: 'Pending' }],
      ['0/2 Evicted', { phase: 'Failed', reason: 'Evicted' }],
      ['1/2 ContainerCreating', { phase: 'Pending', containerStatuses: [running, waiting('ContainerCreating')] }],
      ['1/2 CrashLoopBackOff', { phase: 'Running', containerStatuses: [waiting('CrashLoopBackOff'), running] }],
      ['0/2 Completed', { phase: 'Succeeded', containerStatuses: [ended(0, 'Completed'), ended(0, 'Completed')] }],
      ['0/2 Error', { phase: 'Failed', containerStatuses: [ended(0, 'Completed'), ended(1, 'Error')] }],
      ['0/2 ExitCode:3', { phase: 'Failed', containerStatuses: [ended(3)] }],
      ['1/2 Running', { phase: 'Running', conditions: ready, containerStatuses: [ended(0, 'Completed'), running] }],
      ['1/2 NotReady', { phase: 'Running', containerStatuses: [ended(0, 'Completed'), running] }],
      ['1/2 Terminating', { phase: 'Running', containerStatuses: [running] }, { deletionTimestamp: ago(0) }],
      ['0/2 Init:0/1', { phase: 'Pending', initContainerStatuses: [{ restartCount: 0, state: { running: {} } }] }],
      ['0/2 Init:Error', { phase: 'Pending', initContainerStatuses: [ended(1, 'Error')] }],
    ];
    for (const [expected, status, metadata] of cases) {
      const containers = [{ name: 'a' }, { name: 'b' }];
      const spec = expected.includes('Init') ? { containers, initContainers: [{ name: 'i' }] } : { containers };
      const found = pod(status, { spec, ...(metadata === undefined ? {} : { metadata }) }) as string[];
      t.equal(`${found[1]} ${found[2]}`, expected);
    }
    const restarted = pod({
      phase: 'Running',
      containerStatuses: [
        { ...running, restartCount: 2, lastState: { terminated: { exitCode: 1, finishedAt: ago(125_000) } } },
        running,
      ],
    }) as string[];
    t.equal(restarted[3], '2 (2m5s ago)');
    const done = toTable(PODS, [{ ...REAL_POD, status: { phase: 'Succeeded' } }], {
      now: NOW,
      includeObject: 'None',
      withColumns: false,
    });
    t.match(done['rows'], [{ conditions: [{ type: 'Completed', status: 'True', reason: 'Succeeded' }], object: null }]);
  });

  t.test('tell ages as kubectl does', async (t) => {
    const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
    const cases: [number, string][] = [
      [-5 * second, '<invalid>'],
      [0, '0s'],
      [119 * second, '119s'],
      [2 * minute, '2m'],
      [5 * minute + 3 * second, '5m3s'],
      [10 * minute + 3 * second, '10m'],
      [3 * hour, '3h'],
      [7 * hour + 5 * minute, '7h5m'],
      [47 * hour, '47h'],
      [2 * day + 3 * hour, '2d3h'],
      [8 * day + 3 * hour, '8d'],
      [729 * day, '729d'],
      [3 * 365 * day + day, '3y1d'],
      [9 * 365 * day, '9y'],
    ];
    for (const [ms, expected] of cases) t.same(cells('serviceaccounts', {}, ms), ['x', expected]);
  });

  t.test('of other types have their own columns', async (t) => {
    const template = {
      spec: {
        containers: [
          { name: 'a', image: 'i' },
          { name: 'b', image: 'j' },
        ],
        nodeSelector: { k: 'v' },
      },
    };
    const selector = { matchLabels: { b: '2', a: '1' } };
    const workload = ['a,b', 'i,j', 'a=1,b=2'];
    const counts = { replicas: 3, readyReplicas: 2, updatedReplicas: 1, availableReplicas: 2 };
    const spec = { replicas: 3, selector, template };
    t.same(cells('deployments.apps', { spec, status: counts }), ['x', '2/3', 1, 2, '0s', ...workload]);
    t.same(cells('replicasets.apps', { spec, status: counts }), ['x', 3, 3, 2, '0s', ...workload]);
    t.same(cells('statefulsets.apps', { spec, status: counts }), ['x', '2/3', '0s', 'a,b', 'i,j']);
    const nodes = { desiredNumberScheduled: 1, currentNumberScheduled: 1, numberReady: 1 };
    t.same(cells('daemonsets.apps', { spec, status: nodes }), ['x', 1, 1, 1, 0, 0, 'k=v', '0s', ...workload]);
    const job = { spec: { completions: 1, selector, template }, status: { startTime: ago(65_000) } };
    t.same(cells('jobs.batch', job), ['x', 'Running', '0/1', '65s', '0s', ...workload]);
    const complete = [{ type: 'Complete', status: 'True' }];
    const finished = { conditions: complete, succeeded: 1, startTime: ago(65_000), completionTime: ago(60_000) };
    t.same(cells('jobs.batch', { ...job, status: finished }), ['x', 'Complete', '1/1', '5s', '0s', ...workload]);
    t.same(cells('cronjobs.batch', { spec: { schedule: '* * * * *', jobTemplate: { spec: { template } } } }), [
      ...['x', '* * * * *', '<none>', 'False', 0, '<none>', '0s', 'a,b', 'i,j', '<none>'],
    ]);
    const ports = [
      { port: 80, protocol: 'TCP' },
      { port: 53, protocol: 'UDP', nodePort: 30053 },
    ];
    t.same(cells('services', { spec: { type: 'LoadBalancer', clusterIP: '10.96.0.2', ports } }), [
      ...['x', 'LoadBalancer', '10.96.0.2', '<pending>', '80/TCP,53:30053/UDP', '0s', '<none>'],
    ]);
    t.same(
      cells('nodes', {
        metadata: { labels: { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/role': 'edge' } },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
          nodeInfo: { kubeletVersion: 'v1.36.2', osImage: 'Linux' },
        },
      }),
      [
        ...['x', 'Ready,SchedulingDisabled', 'control-plane,edge', '0s', 'v1.36.2', '10.0.0.1', '<none>', 'Linux'],
        ...['<unknown>', '<unknown>'],
      ],
    );
    t.same(cells('namespaces', { status: { phase: 'Active' } }), ['x', 'Active', '0s']);
    t.same(cells('configmaps', { data: { a: '' }, binaryData: { b: '' } }), ['x', 2, '0s']);
    t.same(cells('secrets', { type: 'Opaque', data: { a: '' } }), ['x', 'Opaque', 1, '0s']);
    const event = {
      ...{ type: 'Normal', reason: 'Started', message: ' it runs\n', involvedObject: { kind: 'Pod', name: 'box' } },
      ...{
        source: { component: 'kubelet', host: 'n1' },
        firstTimestamp: ago(90_000),
        lastTimestamp: ago(5000),
        count: 3,
      },
    };
    const told = ['5s', 'Normal', 'Started', 'pod/box', '', 'kubelet, n1', 'it runs', '90s', 3, 'x'];
    t.same(cells('events', event), told);
    const renamed = { type: 'Normal', reason: 'Started', note: 'it runs', regarding: event.involvedObject };
    const newer = { deprecatedSource: event.source, deprecatedFirstTimestamp: ago(90_000), deprecatedCount: 3 };
    const both = { ...renamed, ...newer, deprecatedLastTimestamp: ago(5000) };
    t.same(cells('events.events.k8s.io', both), told);
    const addresses = ['1', '2', '3', '4'].map((n) => ({ ip: `10.0.0.${n}` }));
    t.same(cells('endpoints', { subsets: [{ addresses, ports: [{ port: 80 }] }] }), [
      ...['x', '10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...', '0s'],
    ]);
    t.same(cells('endpointslices.discovery.k8s.io', { addressType: 'IPv4', endpoints: [], ports: [{ port: 80 }] }), [
      ...['x', 'IPv4', '80', '<unset>', '0s'],
    ]);
    const volume = { volumeName: 'pv', storageClassName: 'fast', volumeMode: 'Filesystem' };
    const bound = { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] };
    t.same(cells('persistentvolumeclaims', { spec: volume, status: bound }), [
      ...['x', 'Bound', 'pv', '1Gi', 'RWO', 'fast', '<unset>', '0s', 'Filesystem'],
    ]);
    const claimRef = { namespace: 'default', name: 'data' };
    const pv = { capacity: { storage: '1Gi' }, accessModes: ['ReadOnlyMany'], claimRef };
    t.same(cells('persistentvolumes', { spec: { ...pv, persistentVolumeReclaimPolicy: 'Delete' }, status: bound }), [
      ...['x', '1Gi', 'ROX', 'Delete', 'Bound', 'default/data', '', '<unset>', '', '0s', '<unset>'],
    ]);
    t.same(cells('leases.coordination.k8s.io', { spec: { holderIdentity: 'me' } }), ['x', 'me', '0s']);
    const subjects = [
      { kind: 'User', name: 'u' },
      { kind: 'ServiceAccount', namespace: 'n', name: 's' },
    ];
    t.same(cells('rolebindings.rbac.authorization.k8s.io', { roleRef: { kind: 'Role', name: 'r' }, subjects }), [
      ...['x', 'Role/r', '0s', 'u', '', 'n/s'],
    ]);
    t.same(cells('roles.rbac.authorization.k8s.io', {}), ['x', ago(0)]);
  });

  t.test('partial metadata', async (t) => {
    const partial = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: REAL_POD.metadata };
    t.same(toPartialMetadata(REAL_POD), partial);
    t.same(toPartialMetadataList([REAL_POD], { resourceVersion: '1' }), {
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion: '1' },
      items: [partial],
    });
  });
});

t.test('protobuf bodies', async (t) => {
  t.test('a real server’s pod is the same as in JSON', async (t) => {
    const decoded = decodeProtobufObject(REAL_POD_PROTOBUF) as unknown as KubeObject;
    const { metadata: realMetadata, ...real } = REAL_POD;
    const { metadata, ...rest } = decoded;
    t.same(rest, withoutNulls(real));
    // The two were asked for at different times, with another label and renewed entries between.
    for (const key of ['name', 'namespace', 'uid', 'generation', 'creationTimestamp', 'annotations']) {
      t.same(metadata[key], realMetadata[key], key);
    }
    t.same(fieldsOf(decoded, 'kubectl-client-side-apply'), fieldsOf(REAL_POD, 'kubectl-client-side-apply'));
  });

  t.test('anything else is refused', async (t) => {
    t.match(refusal(() => decodeProtobufObject(Buffer.from('{}'))).status, { code: 400 });
    t.match(refusal(() => decodeProtobufObject(REAL_POD_PROTOBUF.subarray(0, 500))).status, { code: 400 });
  });
});

function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, inner: unknown) => (inner === null ? undefined : inner)));
}
