import t, { type Test } from 'tap';
import { type PodConnection, type PodEnd, PortForwardScene } from '../support/port-forward-scene.js';
import { type Conversation, readConversation } from './capture.js';
import { ReplayedClient } from './replay.js';
import { closeCode, hasTold, type Telling, tellChannels, tellPorts } from './telling.js';

/** One recorded connection. */
interface Recorded {
  readonly port: string;
  readonly asked: string;
  readonly answer: string;
  readonly error: string;
}

function recordedConnections(recorded: Conversation): Recorded[] {
  const client = tellPorts({ recorded, bytes: recorded.rest('client') });
  const server = tellPorts({ recorded, bytes: recorded.rest('server') });
  return Object.entries(client).flatMap(([name, { text }]) => {
    const [port = '', requestId, type] = name.split('/');
    const told = (which: string): string => server[`${port}/${requestId}/${which}`]?.text ?? '';
    return type === 'data' ? [{ port, asked: text, answer: told('data'), error: told('error') }] : [];
  });
}

/** The pod's side of one connection, which does what was recorded of it. */
async function playPod({ port, data, error }: PodConnection, known: readonly Recorded[]): Promise<void> {
  await data.until(({ text }) => known.some((recorded) => recorded.port === port && recorded.asked === text));
  const recorded = known.find((candidate) => candidate.port === port && candidate.asked === data.text);
  data.say(recorded?.answer ?? '');
  data.stream.end();
  if (recorded?.error) {
    error.say(recorded.error);
    // As a kubelet does after its message.
    error.stream.reset(5);
  } else error.stream.end();
}

async function playPods(pod: PodEnd, known: readonly Recorded[]): Promise<void> {
  for (const _each of known) await playPod(await pod.connection(), known);
}

/** Whether a stream ends by a FIN or a reset is the server's own manner. */
function comparable(told: Telling): Record<string, string> {
  return Object.fromEntries(Object.entries(told).flatMap(([name, { text }]) => (text === '' ? [] : [[name, text]])));
}

async function replay(t: Test, name: string): Promise<void> {
  const scene = await PortForwardScene.open();
  t.teardown(() => scene.at.close());
  const recorded = readConversation(name);
  const known = recordedConnections(recorded);
  const client = await ReplayedClient.knock(scene.at, recorded);
  const knock = await scene.knock();
  t.match(knock.request.url, recorded.target);
  const pod = knock.accept();
  const playing = playPods(pod, known);
  const head = await client.head();
  for (const header of ['x-stream-protocol-version', 'sec-websocket-protocol', 'upgrade']) {
    const own = new RegExp(`^${header}: (.*)\r$`, 'im').exec(head)?.[1];
    t.equal(own, recorded.header('server', header)[0], header);
  }
  client.speak();
  await playing;
  const wanted = tellPorts({ recorded, bytes: recorded.rest('server') });
  const open = Object.fromEntries(Object.entries(wanted).map(([key, { text }]) => [key, { text, ended: false }]));
  await client.untilRest((bytes) => hasTold(tellPorts({ recorded, bytes }), open));
  t.strictSame(comparable(tellPorts({ recorded, bytes: client.rest })), comparable(wanted));
  client.leave();
  await client.heard.until(() => false);
  await pod.closed;
  t.equal(scene.knocks.waiting, 0, 'nothing else was asked of the cluster');
}

for (const version of ['1.27', '1.30', '1.33', '1.36'])
  t.test(`real-${version}-pf: an answer, then a port that is refused`, (t) => replay(t, `real-${version}-pf`));
for (const version of ['1.27', '1.29', '1.30', '1.31', '1.32', '1.33']) {
  const name = `fake-${version}-port-forward-2conn-simultaneous`;
  t.test(`${name}: connections are told apart by their requestid`, (t) => replay(t, name));
}

t.test('real-ws-pf-v4.channel.k8s.io: numbered channels over a tunnel', async (t) => {
  const scene = await PortForwardScene.open();
  t.teardown(() => scene.at.close());
  const recorded = readConversation('real-ws-pf-v4.channel.k8s.io');
  const client = await ReplayedClient.knock(scene.at, recorded);
  const pod = await scene.podEnd();
  client.speak();
  const told = tellChannels(recorded.rest('server'));
  // Both channels open with the port in two bytes; channel 0 is the data.
  const answer = told['stdin']?.text.slice(2) ?? '';
  const asked = tellChannels(recorded.rest('client'))['stdin']?.text ?? '';
  await playPods(pod, [{ port: '8080', asked, answer, error: '' }]);
  await client.untilRest((bytes) => closeCode(bytes) !== undefined);
  t.strictSame(tellChannels(client.rest), told);
  t.equal(closeCode(client.rest), 1000);
});

t.test('real-ws-pf-v4.base64.channel.k8s.io: both channels open in text', async (t) => {
  const scene = await PortForwardScene.open();
  t.teardown(() => scene.at.close());
  const recorded = readConversation('real-ws-pf-v4.base64.channel.k8s.io');
  const client = await ReplayedClient.knock(scene.at, recorded);
  await scene.podEnd();
  const told = tellChannels(recorded.rest('server'));
  await client.untilRest((bytes) => hasTold(tellChannels(bytes), told));
  t.strictSame(tellChannels(client.rest), told);
});

t.test('real-ws-pf-portforward.k8s.io: the subprotocol alone is refused as the cluster refuses it', async (t) => {
  const scene = await PortForwardScene.open();
  t.teardown(() => scene.at.close());
  const recorded = readConversation('real-ws-pf-portforward.k8s.io');
  const client = await ReplayedClient.knock(scene.at, recorded);
  const knock = await scene.knock();
  knock.refuse(403, 'Forbidden');
  t.match(await client.head(), /^HTTP\/1\.1 403 /);
});
