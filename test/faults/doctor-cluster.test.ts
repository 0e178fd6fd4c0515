import t from 'tap';
import { DoctorScene, type Machine } from '../support/doctor-scene.js';
import { findsFirst, type PlantedFault } from '../support/planted-fault.js';

const EDGE = 'edge-store';
const AGENT_LOGS = /^kubectl logs -n gke-connect/;

/** From the agent to the exec. */
const ROWS: readonly PlantedFault[] = [
  {
    title: 'the agent has lost its connection',
    plant: { agentLost: true, membership: EDGE },
    args: [EDGE],
    first: 'agent',
    message: /has lost its connection to Google; to be fixed by the cluster's administrator|has lost its connection/,
    next: AGENT_LOGS,
    skipped: { rbac: /needs Connect agent/, 'round-trip': /needs Connect agent/, exec: /needs Connect agent/ },
  },
  {
    title: 'the agent of one of three has lost its connection',
    plant: { agentLost: true, membership: EDGE },
    first: 'agent',
    message: /^edge-store: the Connect agent.*2 of 3 not so$/,
    next: AGENT_LOGS,
  },
  {
    title: 'no agent is installed',
    plant: { answer: 'agent-missing', membership: EDGE },
    args: [EDGE],
    first: 'agent',
    message: /no Connect agent of membership edge-store/,
    next: /^kubectl get pods -n gke-connect/,
  },
  {
    title: 'the agent is not healthy',
    plant: { answer: 'agent-unhealthy', membership: EDGE },
    args: [EDGE],
    first: 'agent',
    message: /is not healthy/,
    next: /^kubectl describe pods -n gke-connect/,
  },
  {
    title: 'the endpoint of a GKE cluster asks for an agent',
    plant: { answer: 'wrong-collection', membership: 'prod' },
    args: ['prod'],
    first: 'agent',
    message: /GKE clusters need none/,
    next: /connect-gateway-proxy memberships --refresh$/,
  },
  {
    title: 'the agent may not act for this user',
    plant: { answer: 'agent-not-authorised', membership: EDGE },
    args: [EDGE],
    first: 'rbac',
    message: /may not act for this user/,
    next: /^connect-gateway-proxy rbac --user dev@example\.com --impersonate \| kubectl --context edge-store apply -f -$/,
    skipped: { 'round-trip': /needs RBAC/, exec: /needs RBAC/ },
  },
  {
    title: "the agent may not act for this user's groups",
    plant: { answer: 'groups-not-authorised', membership: EDGE },
    args: [EDGE],
    first: 'rbac',
    message: /Google groups or third-party identity/,
    next: /rbac --group developers@example\.com --impersonate/,
  },
  {
    title: 'Google throttles without a word',
    plant: { answer: 'unknown-rejection', membership: EDGE },
    args: [EDGE],
    first: 'quota',
    message: /did not say why/,
    next: /connect-gateway-proxy status$/,
  },
  {
    title: 'the gateway itself fails',
    plant: { answer: 'internal', membership: EDGE },
    args: [EDGE],
    first: 'round-trip',
    message: /Connect gateway itself failed/,
    next: /status\.cloud\.google\.com/,
    skipped: { exec: /needs round trip/, agent: /see round trip/ },
  },
  {
    title: 'streams end in the generic page',
    plant: { answer: 'bad-request-page', match: 'upgrade', membership: EDGE },
    args: [EDGE],
    first: 'exec',
    message: /refused the stream to edge-store without saying why/,
    next: /connect-gateway-proxy memberships$/,
  },
  {
    title: 'streams are refused by RBAC behind the gateway',
    plant: { answer: 'stream-rbac-denied', match: 'upgrade', membership: EDGE },
    args: [EDGE],
    first: 'exec',
    message: /RBAC of cluster edge-store refuses this stream/,
    next: /--streams-only/,
  },
  {
    title: "other machines have the fleet's streams",
    plant: { answer: 'stream-quota', match: 'upgrade', membership: EDGE },
    args: [EDGE],
    first: 'exec',
    message: /active streams of fleet host project demo-project are used up/,
    next: /quotas\?project=demo-project/,
  },
  {
    title: 'the stream fails inside the cluster',
    plant: { answer: 'cluster-error', match: 'upgrade', membership: EDGE },
    args: [EDGE],
    first: 'exec',
    message: /failed inside cluster edge-store/,
    next: /kubectl logs -n gke-connect/,
  },
  {
    title: 'Google refuses requests for the quota',
    plant: { answer: 'request-quota', membership: EDGE },
    args: [EDGE],
    first: 'quota',
    message: /the requests per minute of fleet host project demo-project are used up/,
    next: /^connect-gateway-proxy status$/,
  },
];

let scene: DoctorScene;
let machine: Machine;

t.before(async () => {
  scene = await DoctorScene.open();
  machine = await scene.machine(t);
});
t.teardown(() => scene.close());

for (const row of ROWS) {
  t.test(`${row.title}: ${row.first} is named first`, (t) => findsFirst(t, row, { scene, machine }));
}
