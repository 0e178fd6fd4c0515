import t from 'tap';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, dict, dicts } from '../../../src/emulator/cluster/json.js';
import { applyJsonPatch } from '../../../src/emulator/cluster/patch/json-patch.js';
import { applyMergePatch } from '../../../src/emulator/cluster/patch/merge-patch.js';
import { applyStrategicMergePatch } from '../../../src/emulator/cluster/patch/strategic-merge.js';
import { decodeProtobufObject } from '../../../src/emulator/cluster/protobuf-bodies.js';
import { schemaOf } from '../../../src/emulator/cluster/schema/schemas.js';
import {
  CONFIG_MAPS,
  configMap,
  createObjectBench,
  fieldsManagedBy,
  managersOf,
  PODS,
  REAL_POD,
  REAL_POD_PROTOBUF,
  refusal,
  SERVICES,
} from './cluster-object-bench.js';

t.test('the store keeps its history', async (t) => {
  t.test('an older list is rebuilt from the changes since', async (t) => {
    const { store, registry } = createObjectBench();
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
    const { store, registry } = createObjectBench();
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
    const { store, registry } = createObjectBench();
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
    const { store, registry } = createObjectBench();
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
    const { registry } = createObjectBench();
    const draft = (port: number, type = 'ClusterIP'): Dict => ({
      metadata: { name: 'web' },
      spec: { type, ports: [{ port }], selector: { app: 'web' } },
    });
    const created = registry.create(SERVICES, 'default', draft(80), { manager: 'm' });
    t.equal(at(created, 'spec.clusterIP'), '10.96.0.2');
    t.notOk(JSON.stringify(managersOf(created)).includes('clusterIP'), 'which nobody manages');
    const replaced = registry.update(SERVICES, created, draft(81), { manager: 'm' });
    t.equal(at(replaced, 'spec.clusterIP'), '10.96.0.2');
    const nodePort = registry.update(SERVICES, replaced, draft(81, 'NodePort'), { manager: 'm' });
    t.type(dicts(at(nodePort, 'spec.ports'))[0]?.['nodePort'], 'number');
    const again = registry.update(SERVICES, nodePort, draft(81, 'NodePort'), { manager: 'm' });
    t.equal(again, nodePort, 'nothing has changed');
  });

  t.test('a pod stays on its node when it is sent again without it', async (t) => {
    const { registry } = createObjectBench();
    const draft = (): Dict => ({ metadata: { name: 'box' }, spec: { containers: [{ name: 'main', image: 'x' }] } });
    const created = registry.create(PODS, 'default', draft(), { manager: 'm' });
    const bound = registry.change(PODS, created, { manager: 'scheduler' }, (pod) => {
      pod.spec = { ...pod.spec, nodeName: 'n1' };
    });
    t.ok(bound);
    if (bound !== undefined) t.equal(registry.update(PODS, bound, draft(), { manager: 'm' }), bound);
  });
});

t.test('protobuf bodies', async (t) => {
  t.test('a real server’s pod is the same as in JSON', async (t) => {
    const decoded = decodeProtobufObject(REAL_POD_PROTOBUF) as unknown as KubeObject;
    // The two were asked for at different times: labels, resources in force and entries had changed between.
    const { metadata: realMetadata, ...real } = REAL_POD;
    const { metadata, ...rest } = decoded;
    t.same(withoutResources(rest), withoutResources(withoutNulls(real)));
    for (const key of ['name', 'namespace', 'uid', 'generation', 'creationTimestamp', 'annotations']) {
      t.same(metadata[key], realMetadata[key], key);
    }
    t.same(
      fieldsManagedBy(decoded, 'kubectl-client-side-apply'),
      fieldsManagedBy(REAL_POD, 'kubectl-client-side-apply'),
    );
  });

  t.test('anything else is refused', async (t) => {
    t.match(refusal(() => decodeProtobufObject(Buffer.from('{}'))).status, { code: 400 });
    t.match(refusal(() => decodeProtobufObject(REAL_POD_PROTOBUF.subarray(0, 500))).status, { code: 400 });
  });
});

function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, inner: unknown) => (inner === null ? undefined : inner)));
}

function withoutResources(pod: unknown): unknown {
  const { resources: _resources, ...status } = dict(at(pod, 'status'));
  return { ...dict(pod), status };
}
