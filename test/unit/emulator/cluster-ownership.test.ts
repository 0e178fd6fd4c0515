import t from 'tap';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { at, dict, dicts } from '../../../src/emulator/cluster/json.js';
import { applyServerSide } from '../../../src/emulator/cluster/managed-fields.js';
import type { Bench } from './cluster-object-bench.js';
import {
  CONFIG_MAPS,
  configMap,
  createObjectBench,
  DEPLOYMENTS,
  fieldsManagedBy,
  managersOf,
  PODS,
  REAL_POD,
  refusal,
  SERVICES,
} from './cluster-object-bench.js';

t.test('managed fields', async (t) => {
  t.test('of a new pod are those that a real server notes', async (t) => {
    const { registry } = createObjectBench();
    const annotation = REAL_POD.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration'] ?? '';
    const draft = JSON.parse(annotation) as Dict;
    draft['metadata'] = {
      ...dict(draft['metadata']),
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': annotation },
    };
    const pod = registry.create(PODS, 'default', draft, { manager: 'kubectl-client-side-apply' });
    const [real] = managersOf(REAL_POD);
    t.equal(JSON.stringify(managersOf(pod)), JSON.stringify([{ ...real, time: '2026-11-24T00:00:00Z' }]));
  });

  t.test('of a status are those that a real server notes', async (t) => {
    const { registry, store } = createObjectBench();
    const [first, kubelet] = managersOf(REAL_POD);
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
    t.same(managersOf(after)[0], first);
    const expected = structuredClone(dict(kubelet?.['fieldsV1']));
    // An explicit null is dropped here.
    const noted = JSON.stringify(expected).replaceAll('"f:lastProbeTime":{},', '');
    t.equal(JSON.stringify(fieldsManagedBy(after, 'kubelet')), noted);
    t.equal(managersOf(after)[1]?.['subresource'], 'status');
  });

  t.test('move to whoever changes them, and entries without fields vanish', async (t) => {
    const { registry, clock } = createObjectBench();
    const one = registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1', y: '1' }), { manager: 'one' });
    clock.advance(5000);
    const two = registry.update(CONFIG_MAPS, one, configMap('a', { x: '2', y: '1' }), { manager: 'two' });
    t.same(fieldsManagedBy(two, 'one'), { 'f:data': { '.': {}, 'f:y': {} } });
    t.same(fieldsManagedBy(two, 'two'), { 'f:data': { 'f:x': {} } });
    t.same(
      managersOf(two).map(({ time }) => time),
      ['2026-11-24T00:00:00Z', '2026-11-24T00:00:05Z'],
    );
    const three = registry.update(CONFIG_MAPS, two, configMap('a', { y: '1' }), { manager: 'three' });
    t.same(
      managersOf(three).map(({ manager }) => manager),
      ['one'],
      'who only removes owns nothing, and who lost all is gone',
    );
  });

  t.test('may be rewritten or given up by clients', async (t) => {
    const { registry } = createObjectBench();
    const one = registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1' }), { manager: 'one' });
    const renamed = managersOf(one).map((entry) => ({ ...entry, manager: 'other' }));
    const two = registry.update(CONFIG_MAPS, one, configMap('a', { x: '1' }, { managedFields: renamed }), {
      manager: 'm',
    });
    t.same(fieldsManagedBy(two, 'other'), { 'f:data': { '.': {}, 'f:x': {} } });
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
    const { registry } = createObjectBench();
    const service = registry.create(
      SERVICES,
      'default',
      {
        metadata: { name: 'web', finalizers: ['x/a'] },
        spec: { ports: [{ port: 80, name: 'http' }], selector: { app: 'web' } },
      },
      { manager: 'm' },
    );
    t.same(fieldsManagedBy(service, 'm'), {
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
    const b = createObjectBench();
    const container = { name: 'main', image: 'a', ports: [{ containerPort: 80 }] };
    const created = apply(b, deployment([container], { replicas: 2 }), { type: DEPLOYMENTS });
    t.equal(at(created, 'spec.progressDeadlineSeconds'), 600);
    t.match(managersOf(created), [
      { manager: 'one', operation: 'Apply', apiVersion: 'apps/v1', fieldsType: 'FieldsV1' },
    ]);
    t.same(fieldsManagedBy(created, 'one', 'Apply'), {
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
    const b = createObjectBench();
    const config = deployment([{ name: 'main', image: 'a' }]);
    const created = apply(b, config, { type: DEPLOYMENTS });
    b.clock.advance(60_000);
    t.equal(apply(b, config, { type: DEPLOYMENTS }), created);
    const shared = apply(b, config, { type: DEPLOYMENTS, manager: 'two' });
    t.same(
      managersOf(shared).map(({ manager }) => manager),
      ['one', 'two'],
      'another who says the same shares the fields',
    );
  });

  t.test('merges lists by their keys, and removes what the manager no longer speaks of', async (t) => {
    const b = createObjectBench();
    apply(b, deployment([{ name: 'main', image: 'a', env: [{ name: 'X', value: '1' }] }], { replicas: 3 }), {
      type: DEPLOYMENTS,
    });
    const side = apply(b, deployment([{ name: 'side', image: 's' }]), { type: DEPLOYMENTS, manager: 'two' });
    const containers = (object: KubeObject): unknown[] =>
      dicts(at(object, 'spec.template.spec.containers')).map(({ name, image }) => [name, image]);
    t.same(containers(side), [
      ['main', 'a'],
      ['side', 's'],
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
    const b = createObjectBench();
    apply(b, configMap('a', { x: '1', y: '1' }));
    apply(b, configMap('a', { x: '1' }), { manager: 'two' });
    const less = apply(b, configMap('a', {}));
    t.same(less['data'], { x: '1' });
    t.same(
      managersOf(less).map(({ manager, fieldsV1 }) => [manager, fieldsV1]),
      [
        ['one', { 'f:data': {} }],
        ['two', { 'f:data': { 'f:x': {} } }],
      ],
    );
  });

  t.test('is refused when it would change what others own', async (t) => {
    const b = createObjectBench();
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
    t.same(fieldsManagedBy(forced, 'one'), { 'f:data': { '.': {}, 'f:k': {} } });
    t.same(fieldsManagedBy(forced, 'two', 'Apply'), { 'f:data': { 'f:owner': {} } });
  });

  t.test('names list items in a conflict, and the subresource of the other', async (t) => {
    const b = createObjectBench();
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
    const b = createObjectBench();
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
    const b = createObjectBench();
    const one = b.registry.create(CONFIG_MAPS, 'default', configMap('a', { x: '1' }), { manager: 'one' });
    b.registry.update(CONFIG_MAPS, one, configMap('a', { x: '1' }, { managedFields: [{}] }), { manager: 'one' });
    const refused = refusal(() => apply(b, configMap('a', { x: '2' })));
    t.match(refused.status.message, /conflict with "before-first-apply" using v1: \.data\.x$/);
    const added = apply(b, configMap('a', { x: '1', y: '1' }));
    t.same(
      managersOf(added).map(({ manager, operation }) => [manager, operation]),
      [
        ['one', 'Apply'],
        ['before-first-apply', 'Update'],
      ],
    );
  });

  t.test('does not let a configuration bring its own managed fields', async (t) => {
    const config = configMap('a', {}, { managedFields: [{ manager: 'x' }] });
    t.match(refusal(() => apply(createObjectBench(), config)).status, {
      code: 400,
      message: 'metadata.managedFields must be nil',
    });
  });
});
