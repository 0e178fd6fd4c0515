import t, { type Test } from 'tap';
import { watchEventDecoder } from '../../src/kubernetes/watch-events.js';
import { FakeClock } from '../support/fake-clock.js';
import { openTestFrontDoor } from '../support/front-door.js';
import { type Conversation, dechunked, readConversation } from './capture.js';
import { ReplayedClient, ReplayedCluster, type UpstreamCall } from './replay.js';

interface Scene {
  readonly recorded: Conversation;
  readonly clock: FakeClock;
  readonly client: ReplayedClient;
  readonly cluster: ReplayedCluster;
  /** The first request, not answered yet. */
  readonly call: UpstreamCall;
}

function story(name: string, what: string, tell: (t: Test, scene: Scene) => Promise<void>): void {
  t.test(`${name}: ${what}`, async (t) => {
    const clock = new FakeClock();
    const at = await openTestFrontDoor({ clock });
    t.teardown(() => at.close());
    const recorded = readConversation(name);
    const cluster = new ReplayedCluster(at);
    const client = await ReplayedClient.knock(at, recorded);
    const call = await cluster.call();
    t.equal(call.header('accept'), recorded.header('client', 'accept')[0]);
    await tell(t, { recorded, clock, client, cluster, call });
    t.equal(cluster.unannounced, 0, 'nothing else was asked of the cluster');
  });
}

const query = (call: UpstreamCall): URLSearchParams => new URL(call.target, 'http://gateway').searchParams;

function eventsOf(recorded: Conversation): { type: string; bytes: Buffer; resourceVersion?: string }[] {
  const [contentType = ''] = recorded.header('server', 'content-type');
  return watchEventDecoder(contentType)?.push(recorded.body) ?? [];
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

async function hears(client: ReplayedClient, body: Buffer): Promise<Buffer> {
  await client.untilRest((rest) => dechunked(rest).body.length >= body.length);
  return dechunked(client.rest).body;
}

for (const name of ['json', 'partialmeta', 'protobuf', 'table', 'table-noobject'].map(
  (form) => `real-watch-pods-${form}`,
)) {
  story(name, 'cut in every event, it is heard as it was', async (t, { recorded, clock, client, cluster, call }) => {
    const events = eventsOf(recorded);
    t.ok(events.length > 4);
    t.equal(call.target, recorded.target);
    // The synthetic listing at its beginning cannot be resumed.
    const listed = events.findIndex(({ type }) => type !== 'ADDED') + 1;
    let present = call;
    for (let index = listed; index < events.length; index++) {
      const first = index === listed ? events.slice(0, listed) : events.slice(index - 1, index);
      present.write(Buffer.from(recorded.head('server')));
      present.write(chunk(Buffer.concat(first.map(({ bytes }) => bytes))));
      await hears(client, Buffer.concat(events.slice(0, index).map(({ bytes }) => bytes)));
      const half = events[index]?.bytes ?? Buffer.alloc(0);
      present.write(chunk(half.subarray(0, half.length / 2)));
      present.end();
      const next = cluster.call();
      present = await clock.passUntil(next);
      t.equal(query(present).get('resourceVersion'), events[index - 1]?.resourceVersion);
      t.equal(query(present).get('watch'), 'true');
      t.equal(
        query(present).get('includeObject'),
        new URL(recorded.target, 'http://x').searchParams.get('includeObject'),
      );
    }
    present.write(Buffer.from(recorded.head('server')));
    present.write(chunk(events.at(-1)?.bytes ?? Buffer.alloc(0)));
    t.ok((await hears(client, recorded.body)).equals(recorded.body), 'byte for byte');
    // The server ends it because its timeoutSeconds are over: so they are for the client.
    clock.advance(6000);
    present.write(Buffer.from('0\r\n\r\n'));
    await client.untilRest((rest) => dechunked(rest).ended);
  });
}

for (const name of ['json', 'protobuf', 'table'].map((form) => `real-watch-expired-${form}`)) {
  story(name, 'what is too old is told once, and ends', async (t, { recorded, client, call }) => {
    call.write(recorded.bytes('server'));
    await client.untilRest((rest) => dechunked(rest).ended);
    t.ok(dechunked(client.rest).body.equals(recorded.body));
  });
}

for (const name of ['real-watch-initial-events', 'real-watch-initial-events-protobuf']) {
  story(
    name,
    'a listing that is complete is not asked for again',
    async (t, { recorded, clock, client, cluster, call }) => {
      t.equal(call.target, recorded.target);
      call.write(recorded.bytes('server'));
      t.ok((await hears(client, recorded.body)).equals(recorded.body));
      const next = await clock.passUntil(cluster.call());
      t.equal(query(next).get('resourceVersion'), eventsOf(recorded).at(-1)?.resourceVersion);
      t.equal(query(next).get('sendInitialEvents'), null);
      t.equal(query(next).get('resourceVersionMatch'), null);
    },
  );
}

story('real-watch-pods-cbor', 'an encoding that the cluster has not', async (t, { recorded, client, call }) => {
  call.write(recorded.bytes('server'));
  t.match(await client.head(), /^HTTP\/1\.1 406 /);
  await client.untilRest((rest) => rest.length >= recorded.body.length);
  t.ok(client.rest.equals(recorded.body), "the cluster's own words");
});
