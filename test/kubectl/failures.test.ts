import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ErrorName } from '../../src/emulator/google/error-catalogue.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

/** What a person reads. One line, and what names the way out. */
const READ_OF_GET: readonly (readonly [ErrorName, RegExp])[] = [
  [
    'agent-lost',
    /^Error from server \(ServiceUnavailable\): .*lost its connection.*straight to the cluster.* kubectl logs -n gke-connect/,
  ],
  ['agent-missing', /^Error from server \(ServiceUnavailable\): .*kubectl get pods -n gke-connect/],
  ['agent-unhealthy', /^Error from server \(ServiceUnavailable\): .*kubectl describe pods -n gke-connect/],
  [
    'agent-not-authorised',
    /^Error from server \(Forbidden\): .*rbac --user dev@example\.com --impersonate \| kubectl apply -f -/,
  ],
  ['groups-not-authorised', /^Error from server \(Forbidden\): .*rbac --group developers@example\.com --impersonate/],
  [
    'gateway-permission-denied',
    /^Error from server \(Forbidden\): .*gcloud projects add-iam-policy-binding demo-project/,
  ],
  ['api-disabled', /^Error from server \(Forbidden\): .*gcloud services enable connectgateway\.googleapis\.com/],
  ['groups-too-large', /^Error from server \(BadRequest\): .*gcloud identity groups/],
  ['membership-not-found', /^Error from server \(NotFound\): .*gcloud container fleet memberships list/],
  ['not-found-page', /^Error from server \(NotFound\): .*connect-gateway-proxy memberships --refresh/],
  ['unknown-rejection', /^Error from server \(TooManyRequests\): .*connect-gateway-proxy status/],
  ['unauthenticated', /^error: You must be logged in to the server \(.*gcloud auth print-access-token > \S+token/],
  ['rbac-denied', /^Error from server \(Forbidden\): pods is forbidden: User "dev@example\.com" cannot list resource/],
];

const READ_OF_EXEC: readonly (readonly [ErrorName, RegExp])[] = [
  ['stream-permission-denied', /may not open streams.*--role=roles\/gkehub\.gatewayAdmin/],
  ['stream-rbac-denied', /pods\/portforward.*rbac --user EMAIL --streams-only/],
  ['stream-quota', /are used up.*connect-gateway-proxy sessions/],
  ['cluster-error', /inside cluster edge-store.*failed to create the websocket connection/],
  ['agent-terminated', /between Google and the cluster.*kubectl logs -n gke-connect/],
  ['bad-request-page', /need a cluster of 1\.30 or later.*connect-gateway-proxy memberships/],
];

const folder = mkdtempSync(join(tmpdir(), 'cgp-failures-'));
let demo: DemoDaemon;
t.before(async () => {
  // Whoever is refused for the streams' quota has waited for them before.
  demo = await startDemoDaemon({ folder, flags: { 'streams.queue': '200ms' } });
});
t.teardown(async () => {
  await demo.close();
  rmSync(folder, { recursive: true, force: true });
});

const MEMBERSHIP = 'edge-store';

async function during<T>(fault: { answer: ErrorName; match?: 'upgrade' }, act: () => Promise<T>): Promise<T> {
  const id = demo.emulator.faults.add({ ...fault, membership: MEMBERSHIP });
  try {
    return await act();
  } finally {
    demo.emulator.faults.remove(id);
  }
}

/** kubectl's own log lines besides: the message stands on a line of its own, once, and whole. */
function assertRead(t: Test, stderr: string, pattern: RegExp, name: string): void {
  const lines = stderr.split('\n').filter((line) => line !== '' && !/^[EWI]\d{4} /.test(line));
  t.equal(lines.length, 1, `${name}: one line: ${stderr}`);
  t.match(lines[0], pattern, name);
  t.notMatch(stderr, /<[a-z!]|unknown reason/i, `${name}: no HTML`);
}

for (const version of ['1.27', '1.30', '1.33']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`what a person reads in kubectl ${version}`, async (t) => {
    const home = join(folder, version);
    mkdirSync(home);
    const options = { path: found.path, kubeconfig: demo.kubeconfig, context: MEMBERSHIP };
    const kubectl = new Kubectl({ ...options, home });
    const warm = await kubectl.run(['get', 'pods']);
    t.equal(warm.code, 0, warm.stderr);
    for (const [answer, pattern] of READ_OF_GET) {
      const { code, stderr } = await during({ answer }, () => kubectl.run(['get', 'pods']));
      t.equal(code, 1, answer);
      assertRead(t, stderr, pattern, answer);
    }
    for (const [answer, pattern] of READ_OF_EXEC) {
      const { code, stderr } = await during({ answer, match: 'upgrade' }, () =>
        kubectl.run(['exec', 'box', '--', 'true']),
      );
      t.equal(code, 1, answer);
      assertRead(t, stderr, pattern, answer);
    }
    for (const answer of ['agent-lost', 'agent-not-authorised', 'api-disabled'] as const) {
      const cold = new Kubectl({ ...options, home: join(home, answer) });
      const { code, stderr } = await during({ answer }, () => cold.run(['get', 'pods']));
      t.equal(code, 1);
      t.notMatch(stderr, /the server doesn't have a resource type|unknown$/m, 'discovery tells the true cause');
      t.match(stderr, /To be fixed by .*: /);
    }
  });
}

t.test('the RBAC that is printed can be applied', async (t) => {
  const found = findKubectl('1.33');
  if ('missing' in found) {
    tellMissing(t, found.missing);
    return;
  }
  const { impersonationManifests, streamManifests } = await import('../../src/kubernetes/rbac-manifests.js');
  const subject = { kind: 'User', name: 'dev@example.com' } as const;
  const items = [
    ...streamManifests(subject, { namespace: 'default' }),
    ...streamManifests(subject, 'cluster'),
    ...impersonationManifests(subject),
  ];
  const home = join(folder, 'apply');
  const kubectl = new Kubectl({ path: found.path, kubeconfig: demo.kubeconfig, context: MEMBERSHIP, home });
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  for (const outcome of ['created', 'unchanged']) {
    const { code, stdout, stderr } = await kubectl.run(['apply', '-f', '-'], { input });
    t.equal(code, 0, stderr);
    t.equal(stdout.match(new RegExp(outcome, 'g'))?.length, items.length, stdout);
  }
});
