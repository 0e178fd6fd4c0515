import t from 'tap';
import { controllerOf } from '../../../src/emulator/cluster/json.js';
import { condition, imagesOf, job, names, node, openCluster, template, workload } from './cluster-controllers-bench.js';

t.test('deployments', async (t) => {
  t.test('become a replica set and pods, and say so as `kubectl rollout status` wants it', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    t.same(cluster.list('pods'), [], 'nothing happens inside the write');
    await cluster.settle();
    const [set, ...others] = cluster.list('replicasets.apps');
    t.equal(others.length, 0);
    const hash = set?.metadata.labels?.['pod-template-hash'] ?? '';
    t.match(hash, /^[bcdfghjklmnpqrstvwxz2456789]{8,10}$/);
    t.equal(set?.metadata.name, `web-${hash}`);
    t.match(set?.spec, { replicas: 2, selector: { matchLabels: { app: 'web', 'pod-template-hash': hash } } });
    const pods = cluster.list('pods');
    t.equal(pods.length, 2);
    for (const one of pods) {
      t.match(one.metadata.name, new RegExp(`^web-${hash}-[a-z0-9]{5}$`));
      t.match(controllerOf(one), {
        kind: 'ReplicaSet',
        apiVersion: 'apps/v1',
        uid: set?.metadata.uid,
        controller: true,
      });
    }
    const deployment = cluster.get('deployments.apps', 'web');
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '1');
    t.match(deployment.status, {
      ...{ observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
    });
    t.match(condition(deployment, 'Available'), { status: 'True' });
    t.match(condition(deployment, 'Progressing'), { status: 'True', reason: 'NewReplicaSetAvailable' });
    t.same(cluster.warnings, []);
  });

  t.test('are scaled up and down, to nothing too', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [first] = cluster.list('pods');
    for (const replicas of [4, 1, 0]) {
      cluster.scale('deployments.apps', 'web', replicas);
      await cluster.settle();
      t.equal(cluster.list('pods').length, replicas);
      t.match(cluster.get('deployments.apps', 'web').status, {
        observedGeneration: cluster.get('deployments.apps', 'web').metadata.generation,
        ...(replicas > 0 ? { readyReplicas: replicas } : {}),
      });
      if (replicas === 1) t.same(names(cluster.list('pods')), [first?.metadata.name], 'the oldest stays');
    }
    t.equal(cluster.list('replicasets.apps').length, 1);
  });

  t.test('roll: old pods stay until the new ones are ready', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { replicas: 2 }));
    await cluster.settle();
    cluster.runtime.holdsBack = true;
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    const one = 'emulator.example/hello:1';
    const two = 'emulator.example/hello:2';
    t.same(imagesOf(cluster.list('pods')).sort(), [one, one, two, two]);
    t.match(cluster.get('deployments.apps', 'web').status, { observedGeneration: 2, updatedReplicas: 2, replicas: 4 });
    t.match(condition(cluster.get('deployments.apps', 'web'), 'Progressing'), { reason: 'ReplicaSetUpdated' });
    t.match(condition(cluster.get('deployments.apps', 'web'), 'Available'), { status: 'True' });
    cluster.runtime.runAll();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), [two, two]);
    const deployment = cluster.get('deployments.apps', 'web');
    t.match(deployment.status, { replicas: 2, updatedReplicas: 2, availableReplicas: 2 });
    t.match(condition(deployment, 'Progressing'), { reason: 'NewReplicaSetAvailable' });
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '2');
    t.equal(cluster.list('replicasets.apps').length, 2, 'the old one is kept for a rollback');
  });

  t.test('take an earlier replica set again, however its template is written', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [old] = names(cluster.list('replicasets.apps'));
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    cluster.change('deployments.apps', 'web', (draft) => {
      // As `kubectl rollout undo` sends it: other order of keys, null for what is empty.
      const spec = { containers: [{ image: 'emulator.example/hello:1', name: 'web' }] };
      draft.spec = { ...draft.spec, template: { spec, metadata: { labels: { app: 'web' }, creationTimestamp: null } } };
    });
    await cluster.settle();
    const sets = cluster.list('replicasets.apps');
    t.equal(sets.length, 2);
    const again = sets.find(({ metadata }) => metadata.name === old);
    t.equal(again?.spec?.['replicas'], 1);
    t.equal(again?.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
    const deployment = cluster.get('deployments.apps', 'web');
    t.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '3');
  });

  t.test('of type Recreate end the old pods first', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web', { strategy: { type: 'Recreate' } }));
    await cluster.settle();
    cluster.runtime.lingers = true;
    cluster.change('deployments.apps', 'web', (draft) => {
      draft.spec = { ...draft.spec, template: template('web', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:1'], 'still ending');
    cluster.runtime.letGo();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:2']);
  });

  t.test('replace a pod that is deleted', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [before = ''] = names(cluster.list('pods'));
    cluster.delete('pods', before);
    await cluster.settle();
    const after = names(cluster.list('pods'));
    t.equal(after.length, 1);
    t.not(after[0], before);
  });
});

t.test('stateful sets', async (t) => {
  t.test('start one after the other and end with the highest', async (t) => {
    const cluster = await openCluster(t);
    cluster.runtime.holdsBack = true;
    cluster.create('statefulsets.apps', workload('db', { replicas: 3, serviceName: 'db' }));
    for (const expected of [['db-0'], ['db-0', 'db-1'], ['db-0', 'db-1', 'db-2']]) {
      await cluster.settle();
      t.same(names(cluster.list('pods')), expected);
      cluster.runtime.runAll();
    }
    await cluster.settle();
    t.match(cluster.get('statefulsets.apps', 'db').status, { replicas: 3, readyReplicas: 3, updatedReplicas: 3 });
    cluster.scale('statefulsets.apps', 'db', 1);
    await cluster.settle();
    t.same(names(cluster.list('pods')), ['db-0']);
  });

  t.test('do not call pods of an older template updated, and replace them', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('statefulsets.apps', workload('db', { replicas: 2, serviceName: 'db' }));
    await cluster.settle();
    cluster.runtime.holdsBack = true;
    cluster.change('statefulsets.apps', 'db', (draft) => {
      draft.spec = { ...draft.spec, template: template('db', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(
      imagesOf(cluster.list('pods')),
      ['emulator.example/hello:1', 'emulator.example/hello:2'],
      'the highest first',
    );
    const { status } = cluster.get('statefulsets.apps', 'db');
    t.equal(status?.['updatedReplicas'], 1);
    t.not(status?.['currentRevision'], status?.['updateRevision']);
    cluster.runtime.holdsBack = false;
    cluster.runtime.runAll();
    await cluster.settle();
    t.same(imagesOf(cluster.list('pods')), ['emulator.example/hello:2', 'emulator.example/hello:2']);
    const after = cluster.get('statefulsets.apps', 'db').status;
    t.match(after, { updatedReplicas: 2, readyReplicas: 2 });
    t.equal(after?.['currentRevision'], after?.['updateRevision']);
  });
});

t.test('daemon sets', async (t) => {
  t.test('have a pod on each node, new nodes too, and roll', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('daemonsets.apps', workload('agent'));
    await cluster.settle();
    cluster.create('nodes', node('node-3', 'True'), '');
    await cluster.settle();
    const nodes = cluster.list('pods').map(({ spec }) => spec?.['nodeName']);
    t.same(nodes.sort(), ['node-1', 'node-2', 'node-3']);
    cluster.change('daemonsets.apps', 'agent', (draft) => {
      draft.spec = { ...draft.spec, template: template('agent', 'emulator.example/hello:2') };
    });
    await cluster.settle();
    t.same(new Set(imagesOf(cluster.list('pods'))), new Set(['emulator.example/hello:2']));
    t.match(cluster.get('daemonsets.apps', 'agent').status, {
      ...{ desiredNumberScheduled: 3, numberReady: 3, updatedNumberScheduled: 3, observedGeneration: 2 },
    });
  });
});

t.test('jobs', async (t) => {
  t.test('complete when enough pods have succeeded', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('once', { completions: 2 }));
    await cluster.settle();
    for (const done of [0, 1]) {
      t.equal(cluster.get('jobs.batch', 'once').status?.['succeeded'] ?? 0, done);
      t.equal(cluster.get('jobs.batch', 'once').status?.['active'], 1, 'one at a time');
      for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 0);
      await cluster.settle();
    }
    const { status } = cluster.get('jobs.batch', 'once');
    t.match(status, { succeeded: 2, completionTime: String, startTime: String });
    t.notOk(status?.['active']);
    t.match(condition(cluster.get('jobs.batch', 'once'), 'Complete'), { status: 'True' });
    const pods = cluster.list('pods');
    t.same(
      pods.map((one) => one.status?.['phase']),
      ['Succeeded', 'Succeeded'],
    );
    t.match(pods[0]?.metadata.labels, { 'job-name': 'once', 'batch.kubernetes.io/job-name': 'once' });
    t.match(condition(pods[0], 'Ready'), { status: 'False', reason: 'PodCompleted' });
  });

  t.test('stay complete when their pods are deleted', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('once'));
    await cluster.settle();
    for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 0);
    await cluster.settle();
    const before = cluster.get('jobs.batch', 'once').status;
    for (const name of names(cluster.list('pods'))) cluster.delete('pods', name);
    await cluster.settle();
    t.same(cluster.list('pods'), [], 'it does not run again');
    t.same(cluster.get('jobs.batch', 'once').status, before);
  });

  t.test('give up after their limit', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('jobs.batch', job('never', { backoffLimit: 1 }));
    await cluster.settle();
    for (const failed of [1, 2]) {
      for (const uid of cluster.runtime.pods.keys()) cluster.runtime.exit(uid, 3);
      await cluster.settle();
      t.equal(cluster.get('jobs.batch', 'never').status?.['failed'], failed);
    }
    t.match(condition(cluster.get('jobs.batch', 'never'), 'Failed'), {
      status: 'True',
      reason: 'BackoffLimitExceeded',
    });
    t.equal(cluster.list('pods').length, 2);
  });
});

t.test('pods that are relabelled', async (t) => {
  t.test('leave their replica set, which makes another, and come back', async (t) => {
    const cluster = await openCluster(t);
    cluster.create('deployments.apps', workload('web'));
    await cluster.settle();
    const [name = ''] = names(cluster.list('pods'));
    const relabel = async (app: string): Promise<void> => {
      cluster.change('pods', name, (draft) => {
        draft.metadata.labels = { ...draft.metadata.labels, app };
      });
      await cluster.settle();
    };
    await relabel('examined');
    t.equal(controllerOf(cluster.get('pods', name)), undefined);
    t.equal(cluster.list('pods').length, 2);
    await relabel('web');
    const left = cluster.list('pods');
    t.equal(left.length, 1, 'one is too many now');
    t.equal(controllerOf(left[0] ?? cluster.get('pods', name))?.kind, 'ReplicaSet');
  });
});
