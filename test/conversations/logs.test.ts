import t from 'tap';
import { FakeClock } from '../support/fake-clock.js';
import { openTestFrontDoor } from '../support/front-door.js';
import { dechunked, readConversation } from './capture.js';
import { ReplayedClient, ReplayedCluster } from './replay.js';

t.test('a recorded log, cut in the middle of a second, goes on with what a real cluster says since then', async (t) => {
  const clock = new FakeClock();
  const at = await openTestFrontDoor({ clock });
  t.teardown(() => at.close());
  const cluster = new ReplayedCluster(at);
  const recorded = readConversation('real-logs-follow-timestamps');
  const client = await ReplayedClient.knock(at, recorded);
  const first = await cluster.call();
  t.equal(new URL(first.target, 'http://x').searchParams.get('timestamps'), 'true');
  first.write(recorded.bytes('server'));
  first.end();
  const look = await clock.passUntil(cluster.call());
  t.equal(look.target, '/api/v1/namespaces/default/pods/box');
  const pod = JSON.stringify({
    kind: 'Pod',
    status: { containerStatuses: [{ name: 'main', state: { running: { startedAt: '2026-11-23T20:26:00Z' } } }] },
  });
  look.write(
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${pod.length}\r\n\r\n${pod}`),
  );
  const second = await clock.passUntil(cluster.call());
  const since = new URL(second.target, 'http://x').searchParams.get('sinceTime') ?? '';
  t.ok(Date.parse(since) <= Date.parse('2026-11-23T20:28:27Z'), since);
  const more = readConversation('real-logs-since-nano');
  second.write(more.bytes('server'));
  const lines = (): string[] => dechunked(client.rest).body.toString().trim().split('\n');
  await client.untilRest(() => lines().length === 13);
  t.strictSame(
    lines().map((line) => line.split(' ').slice(1).join(' ')),
    Array.from({ length: 13 }, (_item, index) => `line ${665 + index}`),
  );
});

t.test('a pod of two containers and none named: the cluster’s own words', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const cluster = new ReplayedCluster(at);
  const recorded = readConversation('real-logs-400-two-containers');
  const client = await ReplayedClient.knock(at, recorded);
  const call = await cluster.call();
  t.equal(call.target, recorded.target);
  call.write(recorded.bytes('server'));
  t.match(await client.head(), /^HTTP\/1\.1 400 /);
  await client.untilRest((rest) => rest.length >= recorded.body.length);
  t.ok(client.rest.equals(recorded.body));
});
