import t from 'tap';
import { systemClock } from '../../src/base/clock.js';
import { emulatedMembership } from '../support/daemon-scene.js';
import { answeringCluster, DoctorScene } from '../support/doctor-scene.js';

const named = (id: string, version = 'v1.36.2', changes: object = {}): ReturnType<typeof emulatedMembership> =>
  emulatedMembership(id, { backend: answeringCluster(version), ...changes });

t.test('clusters that are too old for streams', async (t) => {
  const scene = await DoctorScene.open([named('old', 'v1.29.5-gke.100'), named('older', 'v1.30.1')]);
  t.teardown(() => scene.close());
  const machine = await scene.machine(t);
  const old = await machine.report(['old']);
  t.match(old.first, {
    id: 'version',
    status: 'fail',
    message: /^v1\.29\.5-gke\.100: exec, attach and cp need 1\.30, port-forward 1\.31/,
    next: /^gcloud container fleet memberships describe old --location=global --project=demo-project$/,
  });
  t.match(
    old.checks.find(({ id }) => id === 'exec'),
    { status: 'skip', message: /needs Kubernetes 1\.30/ },
  );
  t.equal(old.checks.find(({ id }) => id === 'round-trip')?.status, 'ok');
  const older = await machine.report(['older']);
  t.match(older.first, { id: 'version', message: /^v1\.30\.1: port-forward needs 1\.31/ });
  t.equal(older.checks.find(({ id }) => id === 'exec')?.status, 'ok');
});

t.test('what the configuration keeps from everybody is not missed', async (t) => {
  const scene = await DoctorScene.open([named('prod', 'v1.29.0')]);
  t.teardown(() => scene.close());
  const name = 'projects/demo-project/locations/global/memberships/prod';
  const machine = await scene.machine(t, { settings: { memberships: [{ name, policy: 'read-only' }] } });
  const writes = ['post', 'put', 'patch', 'delete', 'stream'].map((verb) => `gkehub.gateway.${verb}`);
  scene.emulator.faults.add({ deniedPermissions: writes });
  const report = await machine.report();
  t.equal(report.healthy, true, JSON.stringify(report.first));
  t.match(report.checks.find(({ id }) => id === 'rbac')?.message, /policy read-only/);
});

t.test('memberships on their way out, and those that are gone', async (t) => {
  const [a, b, c] = [named('a'), named('b'), named('c')] as const;
  const scene = await DoctorScene.open([a, b, c]);
  t.teardown(() => scene.close());
  // The daemon has not heard of it yet.
  const machine = await scene.machine(t, { clock: systemClock });
  scene.emulator.setMemberships([
    { ...a, state: 'DELETING' },
    { ...b, kind: 'gke', clusterMissing: true },
  ]);
  t.match((await machine.report(['a'])).first, {
    id: 'membership',
    status: 'warn',
    message: /^a is in state DELETING$/,
  });
  t.match((await machine.report(['b'])).first, {
    id: 'membership',
    status: 'fail',
    message: /^b is registered, and its cluster is gone$/,
  });
  t.match((await machine.report(['c'])).first, {
    id: 'membership',
    status: 'fail',
    message: /does not know membership c|not in the fleet of demo-project any more/,
  });
  const fresh = await scene.machine(t);
  t.match((await fresh.report(['b'])).first, {
    id: 'membership',
    message: /^b is registered, and its cluster is gone$/,
  });
  t.match((await fresh.report(['c'])).first, {
    id: 'membership',
    message: /no membership "c": there is a|did you mean/,
  });
});

t.test('dozens of memberships: one line a check, few questions, and no more than the quota bears', async (t) => {
  const ids = Array.from({ length: 40 }, (_, i) => `m${String(i).padStart(2, '0')}`);
  const scene = await DoctorScene.open(ids.map((id) => named(id)));
  t.teardown(() => scene.close());
  // So many answers take a while on a busy machine, which no deadline may count twenty times.
  const machine = await scene.machine(t, { clock: systemClock });
  const before = scene.emulator.requests.length;
  const report = await machine.report();
  t.equal(report.healthy, true, JSON.stringify(report.first));
  const asked = scene.emulator.requests.slice(before).filter(({ kind }) => kind !== 'control');
  t.equal(asked.length, 40 * 9, 'nine questions a cluster');
  t.comment(`${report.ms} ms for 40 memberships`);
  const { out } = await machine.doctor();
  t.match(out, /^ok {4}membership +m00, m01, m02, m03 and 36 more: READY$/m);

  const few = await scene.machine(t, { clock: systemClock, settings: { requests: { perMinute: 600 } } });
  const sparing = await few.report();
  t.equal(sparing.healthy, true, JSON.stringify(sparing.first));
  for (const id of ['rbac', 'exec']) {
    t.match(
      sparing.checks.find((check) => check.id === id),
      {
        status: 'skip',
        message: /to ask 40 clusters takes too much of the fleet's quota; name one/,
      },
    );
  }
  t.equal((await few.report(['m07'])).counts.skip, 0);
});
