import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { systemClock } from '../../../src/base/clock.js';
import type { CommandIo } from '../../../src/commands/io.js';
import { runCommandLine } from '../../../src/commands/program.js';
import { startDemoDaemon } from '../../support/demo-daemon.js';

const folder = mkdtempSync(join(tmpdir(), 'cgp-rbac-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { CGP_STATE_DIR: join(folder, 'state') },
    errIsTty: false,
    outIsTty: false,
    outColumns: 120,
    clock: systemClock,
    version: '0.0.0-test',
    paths: { config: folder, data: folder },
    onSignal: () => {},
    onReload: () => {},
    pause: async () => {},
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
  };
  return { code: await runCommandLine(['rbac', ...args], io), out, err };
}

t.test('what is printed can be applied, with get and create for streams', async (t) => {
  const { code, out } = await run('--user', 'dev@example.com', '--namespace', 'web', '--streams-only');
  t.equal(code, 0);
  t.equal(
    out,
    `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: connect-gateway-streams
  namespace: web
rules:
  - apiGroups:
      - ""
    resources:
      - pods/exec
      - pods/attach
      - pods/portforward
    verbs:
      - get
      - create
  - apiGroups:
      - ""
    resources:
      - pods
    verbs:
      - get
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: connect-gateway-streams:dev@example.com
  namespace: web
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: connect-gateway-streams
subjects:
  - apiGroup: rbac.authorization.k8s.io
    kind: User
    name: dev@example.com
`,
  );
});

t.test('impersonation as in Google’s guide, one role for each subject', async (t) => {
  const { out } = await run('--service-account', 'ci@p.iam.gserviceaccount.com', '--impersonate');
  const name = 'gateway-impersonate:ci@p.iam.gserviceaccount.com';
  t.strictSame(
    parseAllDocuments(out).map((one) => one.toJSON()),
    [
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name, labels: { 'connect.gke.io/owner-feature': 'connect-gateway' } },
        rules: [
          {
            apiGroups: [''],
            resources: ['users'],
            resourceNames: ['ci@p.iam.gserviceaccount.com'],
            verbs: ['impersonate'],
          },
        ],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name, labels: { 'connect.gke.io/owner-feature': 'connect-gateway' } },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
        subjects: [{ kind: 'ServiceAccount', name: 'connect-agent-sa', namespace: 'gke-connect' }],
      },
    ],
  );
});

t.test('groups, service accounts and principals', async (t) => {
  const group = JSON.parse((await run('--group', 'devs@example.com', '--cluster-wide', '-o', 'json')).out);
  t.match(group, {
    kind: 'List',
    items: [
      { kind: 'ClusterRole', metadata: { name: 'connect-gateway-streams' } },
      {
        kind: 'ClusterRoleBinding',
        subjects: [{ kind: 'Group', name: 'devs@example.com', apiGroup: 'rbac.authorization.k8s.io' }],
      },
      {
        kind: 'ClusterRole',
        rules: [{ resources: ['groups'], resourceNames: ['devs@example.com'], verbs: ['impersonate'] }],
      },
      { kind: 'ClusterRoleBinding', subjects: [{ name: 'connect-agent-sa' }] },
    ],
  });
  t.equal(group.items[0].metadata.namespace, undefined);
  const account = JSON.parse((await run('--service-account', 'web/robot', '-n', 'web', '-o', 'json')).out);
  t.strictSame(account.items[1].subjects, [{ kind: 'ServiceAccount', namespace: 'web', name: 'robot' }]);
  t.match(account.items[2].rules, [{ resources: ['serviceaccounts'], resourceNames: ['robot'] }]);
  const principal = 'principal://iam.googleapis.com/locations/global/workforcePools/p/subject/s';
  const third = JSON.parse((await run('--user', principal, '--impersonate', '-o', 'json')).out);
  t.match(third.items[0].rules, [{ resourceNames: [principal] }]);
  t.notMatch(third.items[0].metadata.name, '/', 'names of objects have no slash');
});

t.test('contradictions are usage errors', async (t) => {
  const wrong: [string[], RegExp][] = [
    [['--namespace', 'web'], /for whom\?/],
    [['--user', 'a'], /where\?/],
    [['--user', 'a', '--group', 'b', '--cluster-wide'], /choose one of --user/],
    [['--user', 'a', '--namespace', 'b', '--cluster-wide'], /choose one of --namespace/],
    [['--user', 'a', '--streams-only', '--impersonate'], /choose one of --streams-only/],
    [['--service-account', 'a/b/c', '--impersonate'], /NAMESPACE\/NAME/],
    [['--service-account', 'robot', '--impersonate'], /NAMESPACE\/NAME/],
  ];
  for (const [args, message] of wrong) {
    const { code, err } = await run(...args);
    t.equal(code, 2, args.join(' '));
    t.match(err, message);
  }
});

t.test('the cluster is asked through the daemon', async (t) => {
  const demo = await startDemoDaemon({ folder });
  t.teardown(() => demo.close());

  const own = await run('--check', 'prod', '--namespace', 'default');
  t.equal(own.code, 0, own.err);
  t.match(own.out, /^ok .* create +pods\/portforward +default/m);
  t.notMatch(own.out, /missing/);

  const viewer = await run('--check', 'edge-store', '--cluster-wide', '--user', 'viewer@example.com');
  t.equal(viewer.code, 1);
  t.match(viewer.out, /^missing +viewer@example\.com +get +pods\/exec +\*/m);
  t.match(viewer.out, /^missing +viewer@example\.com +create +pods\/exec +\*/m);
  t.match(viewer.out, /^ok +viewer@example\.com +get +pods +\*/m);
  t.match(viewer.out, /^ok +gke-connect\/connect-agent-sa +impersonate +users viewer@example\.com/m);
  t.match(
    viewer.err,
    /6 missing; .*rbac --user viewer@example\.com --cluster-wide --streams-only \| kubectl apply -f -/s,
  );

  const json = await run('--check', 'edge-store', '-n', 'x', '--user', 'viewer@example.com', '-o', 'json');
  t.equal(json.code, 1);
  const { findings } = JSON.parse(json.out);
  t.equal(findings.filter(({ result }: { result: string }) => result === 'missing').length, 6);

  const nowhere = await run('--check', 'prd', '--cluster-wide');
  t.equal(nowhere.code, 2);
  t.match(nowhere.err, /no membership "prd": did you mean prod/);

  demo.emulator.faults.add({ answer: 'gateway-permission-denied', match: 'request' });
  const refused = await run('--check', 'prod', '--cluster-wide');
  t.equal(refused.code, 1);
  t.match(refused.err, /did not answer who may what: connect-gateway-proxy: this identity may not use/);
  demo.emulator.faults.clear();
});
