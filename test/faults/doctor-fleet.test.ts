import { join } from 'node:path';
import t from 'tap';
import { CHECK_IDS } from '../../src/commands/doctor/check.js';
import { CHECKS } from '../../src/commands/doctor/checks.js';
import { DoctorScene, type Machine } from '../support/doctor-scene.js';
import { findsFirst, type PlantedFault } from '../support/planted-fault.js';

const EDGE = 'edge-store';

/** From the token to the membership. */
const ROWS: readonly PlantedFault[] = [
  {
    title: 'the access token has expired',
    plant: { tokenExpired: true },
    first: 'identity',
    message: /default: Google does not accept its token/,
    next: /^gcloud auth print-access-token > .*token$/,
    skipped: { iam: /needs identity/, exec: /needs identity/ },
  },
  {
    title: 'the gateway alone does not accept the token',
    plant: { answer: 'unauthenticated' },
    first: 'identity',
    message: /did not accept the daemon's access token/,
    next: /^gcloud auth print-access-token > .*token$/,
  },
  {
    title: 'the Connect gateway API is not enabled',
    plant: { answer: 'api-disabled' },
    first: 'api',
    message: /^connectgateway\.googleapis\.com is not enabled in project demo-project/,
    next: /^gcloud services enable connectgateway\.googleapis\.com --project=demo-project$/,
    skipped: { iam: /needs APIs enabled/, 'round-trip': /needs APIs enabled/ },
  },
  {
    title: 'a control API is not enabled',
    plant: { answer: 'api-disabled', match: 'control' },
    first: 'api',
    message: /is not enabled in project demo-project/,
    next: /^gcloud services enable \S+\.googleapis\.com --project=demo-project$/,
  },
  {
    title: 'the identity has no role at all',
    plant: {
      deniedPermissions: ['get', 'post', 'put', 'patch', 'delete', 'stream'].map((verb) => `gkehub.gateway.${verb}`),
    },
    first: 'iam',
    message: /lacks gkehub\.gateway\.get, .*gkehub\.gateway\.stream in demo-project/,
    next: /^gcloud projects add-iam-policy-binding demo-project --member=user:\S+ --role=roles\/gkehub\.gatewayAdmin$/,
    skipped: { 'round-trip': /needs IAM/ },
  },
  {
    title: 'the identity may not open streams',
    plant: { deniedPermissions: ['gkehub.gateway.stream'] },
    args: [EDGE],
    first: 'iam',
    message: /lacks gkehub\.gateway\.stream .*policy to no-exec/,
    next: /--role=roles\/gkehub\.gatewayAdmin$/,
    skipped: { exec: /needs gkehub\.gateway\.stream; see IAM/ },
  },
  {
    title: 'the identity may only read',
    plant: { deniedPermissions: ['post', 'put', 'patch', 'delete'].map((verb) => `gkehub.gateway.${verb}`) },
    args: [EDGE],
    first: 'iam',
    message: /lacks gkehub\.gateway\.post, gkehub\.gateway\.put/,
    next: /--role=roles\/gkehub\.gatewayEditor$/,
    skipped: { rbac: /gkehub\.gateway\.post is missing; see IAM/ },
  },
  {
    title: 'the identity may not list the fleet',
    plant: { deniedPermissions: ['gkehub.memberships.list'] },
    first: 'iam',
    message: /lacks gkehub\.memberships\.list/,
    next: /--role=roles\/gkehub\.viewer$/,
  },
  {
    title: 'the identity may not have endpoints generated',
    plant: { deniedPermissions: ['gkehub.gateway.generateCredentials'] },
    first: 'iam',
    status: 'warn',
    message: /generateCredentials is missing in demo-project: the endpoints are guessed/,
    next: /--role=roles\/gkehub\.gatewayReader$/,
  },
  {
    title: 'a deny policy that testIamPermissions does not tell of',
    plant: { answer: 'gateway-permission-denied' },
    first: 'iam',
    message: /may not use the Connect gateway/,
    next: /^gcloud projects add-iam-policy-binding/,
  },
  {
    title: 'Google does not know the membership',
    plant: { answer: 'membership-not-found', membership: EDGE },
    first: 'membership',
    message: /edge-store: Connect gateway does not know membership edge-store.*2 of 3 not so/,
    next: /^gcloud container fleet memberships list --project=demo-project$/,
  },
  {
    title: 'the endpoint is no URL of the gateway',
    plant: { answer: 'not-found-page', membership: EDGE },
    args: [EDGE],
    first: 'membership',
    message: /Google knows no such URL/,
    next: /connect-gateway-proxy memberships --refresh$/,
  },
  {
    title: 'a location that Google cannot reach',
    plant: { unreachable: ['us-central1'] },
    first: 'membership',
    status: 'warn',
    message: /prod: Google cannot reach location us-central1 now/,
    next: /^gcloud container fleet memberships list/,
  },
];

let scene: DoctorScene;
let machine: Machine;

t.before(async () => {
  scene = await DoctorScene.open();
});
t.teardown(() => scene.close());

t.test('the checks are in the order of the issue, and need only earlier ones', async (t) => {
  t.strictSame(
    CHECKS.map(({ id }) => id),
    [...CHECK_IDS],
  );
  for (const [at, check] of CHECKS.entries()) {
    for (const need of check.needs) t.ok(CHECK_IDS.indexOf(need) < at, `${check.id} needs ${need}`);
  }
});

t.test('a healthy set-up: every check is well, one line each, and the exit code is 0', async (t) => {
  machine = await scene.machine(t.parent as typeof t);
  for (const args of [[], [EDGE], ['prod', '--namespace', 'kube-system']]) {
    const report = await machine.report(args);
    for (const { id, status, message } of report.checks) t.equal(status, 'ok', `${id}: ${message}`);
    t.equal(report.healthy, true);
    t.equal(report.first, undefined);
  }
  const { code, out, err } = await machine.doctor();
  t.equal(code, 0);
  t.equal(err, '', 'nothing but the report in a pipe');
  const lines = out.trimEnd().split('\n');
  t.equal(lines.length, CHECKS.length + 2, 'one line a check, and the summary');
  for (const [at, { title }] of CHECKS.entries()) t.match(lines[at], new RegExp(`^ok    ${title} `));
  t.match(lines.at(-1), /^All is well \(20 checks in \d+s\)$/);
  const asked = scene.emulator.requests.filter(({ target }) => target.includes('/exec'));
  t.ok(asked.length > 0);
  for (const { target } of asked) t.match(target, /no-pod\/exec\?/, 'nothing runs in anybody’s container');
});

t.test('a project that cannot be asked is no failure where the clusters answer', async (t) => {
  const { url } = scene.emulator;
  const endpoints = { gkehub: url, connectgateway: url, iamcredentials: url, cloudresourcemanager: `${url}/nobody` };
  const elsewhere = await scene.machine(t, {
    settings: { endpoints: { ...endpoints, caFile: join(machine.folder, 'ca.pem') } },
  });
  const report = await elsewhere.report([EDGE]);
  t.equal(report.healthy, true);
  t.match(report.first, {
    id: 'iam',
    status: 'warn',
    message: /the permissions in demo-project could not be asked for/,
  });
  t.match(
    report.checks.find(({ id }) => id === 'round-trip'),
    { status: 'ok' },
  );
});

for (const row of ROWS) {
  t.test(`${row.title}: ${row.first} is named first`, (t) => findsFirst(t, row, { scene, machine }));
}
