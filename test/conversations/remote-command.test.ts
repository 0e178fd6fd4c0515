import t, { type Test } from 'tap';
import { openTestFrontDoor } from '../support/front-door.js';
import { type Conversation, readConversation } from './capture.js';
import { serverFrame } from './frames.js';
import { ReplayedClient, ReplayedCluster, type UpstreamCall } from './replay.js';
import { closeCode, hasTold, speaksSpdy, type Telling, tellChannels, tellCommand } from './telling.js';

/** What goes up is the client's own request, but for credentials and what belongs to the connection. */
function assertRequest(t: Test, call: UpstreamCall, recorded: Conversation): void {
  t.equal(call.request.method, 'GET');
  t.equal(call.target, recorded.target, "the target in the client's own spelling");
  t.equal(call.header('authorization'), 'Bearer google-token-1');
  for (const name of ['user-agent', 'kubectl-command', 'kubectl-session'])
    t.equal(call.header(name), recorded.header('client', name)[0], name);
  t.equal(call.header('upgrade'), 'websocket');
  t.equal(call.header('x-stream-protocol-version'), undefined);
}

/** The cluster's answer to a client as recorded: the very bytes where that was a WebSocket's, the same messages where not. */
function answer(call: UpstreamCall, recorded: Conversation): void {
  if (!speaksSpdy(recorded)) {
    for (const bytes of recorded.restWrites('server')) call.write(bytes);
    if (closeCode(recorded.rest('server')) !== undefined) call.end();
    return;
  }
  const told = tellCommand({ recorded, bytes: recorded.rest('server') });
  for (const [channel, name] of [
    [1, 'stdout'],
    [2, 'stderr'],
    [3, 'error'],
  ] as const) {
    const text = told[name]?.text ?? '';
    if (text !== '') call.write(serverFrame(2, Buffer.concat([Buffer.of(channel), Buffer.from(text, 'latin1')])));
  }
  call.write(serverFrame(8, Buffer.of(0x03, 0xe8)));
  call.end();
}

/**
 * Without what servers do each in its own way: some end the error stream, some reset it, and the client's own streams end
 * with the connection or before.
 */
function comparable({ stdin: _in, resize: _size, error, ...rest }: Telling): Telling {
  return error === undefined ? rest : { ...rest, error: { ...error, ended: false } };
}

interface Replay {
  /** The recording of the client. */
  readonly name: string;
  readonly index?: number;
  /** The recording whose bytes the cluster answers with, where its own are not of a protocol that is spoken upstream. */
  readonly cluster?: string;
}

function replays({ name, index = 0, cluster: clusterName = name }: Replay): void {
  t.test(
    `${name}${index > 0 ? ` (connection ${index + 1})` : ''}: both sides hear each other as recorded`,
    async (t) => {
      const at = await openTestFrontDoor();
      t.teardown(() => at.close());
      const cluster = new ReplayedCluster(at);
      const recorded = readConversation(name, index);
      const answering = readConversation(clusterName, index);
      const client = await ReplayedClient.knock(at, recorded);
      const call = await cluster.call();
      assertRequest(t, call, recorded);
      const [protocol = 'v5.channel.k8s.io'] = answering.header('server', 'sec-websocket-protocol');
      t.ok(call.header('sec-websocket-protocol')?.split(/, */).includes(protocol), `${protocol} is asked for`);
      call.accept(protocol);
      t.match(await client.head(), /^HTTP\/1\.1 101 /);
      for (const header of ['x-stream-protocol-version', 'sec-websocket-protocol', 'upgrade']) {
        const own = new RegExp(`^${header}: (.*)\r$`, 'im').exec(await client.head())?.[1];
        t.equal(own, recorded.header('server', header)[0], header);
      }

      client.speak();
      const said = tellCommand({ recorded, bytes: recorded.rest('client') });
      await call.heard.until((bytes) => hasTold(tellChannels(bytes), said));
      t.strictSame(tellChannels(call.heard.bytes), said, 'the cluster hears the client');

      answer(call, answering);
      const answered = comparable(tellCommand({ recorded, bytes: recorded.rest('server') }));
      const code = speaksSpdy(recorded) ? undefined : closeCode(recorded.rest('server'));
      await client.untilRest(
        (bytes) =>
          hasTold(tellCommand({ recorded, bytes }), answered) && (code === undefined || closeCode(bytes) !== undefined),
      );
      t.strictSame(comparable(tellCommand({ recorded, bytes: client.rest })), answered, 'the client hears the cluster');
      if (code !== undefined) t.equal(closeCode(client.rest), code);

      client.leave();
      await call.heard.until(() => false);
      t.equal(cluster.unannounced, 0, 'nothing else was asked of the cluster');
    },
  );
}

// Of 1.30 there is none, and that of 1.36 was refused.
for (const version of ['1.27', '1.30', '1.33', '1.36'])
  for (const what of ['exec-exit7', 'exec-i-cat', 'exec-tty', 'exec-notfound', 'attach-i', 'attach-tty'])
    if (!what.startsWith('attach-') || !(version === '1.30' || `${version}-${what}` === '1.36-attach-tty'))
      replays({ name: `real-${version}-${what}` });

for (const version of ['1.27', '1.29', '1.30', '1.31', '1.32', '1.33']) {
  replays({ name: `fake-${version}-exec-i` });
  replays({ name: `fake-${version}-cp-from-pod` });
  replays({ name: `fake-${version}-cp-to-pod` });
  replays({ name: `fake-${version}-cp-to-pod`, index: 1 });
}

for (const name of ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'])
  replays({ name: `real-ws-exec-${name}` });
// To the cluster they are v4.
for (const name of ['channel.k8s.io', 'base64.channel.k8s.io'])
  replays({ name: `real-ws-exec-${name}`, cluster: 'real-ws-exec-v4.channel.k8s.io' });
replays({ name: 'real-ws-cat-v4' });
