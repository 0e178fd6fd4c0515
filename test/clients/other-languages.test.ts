import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { tellMissing } from '../support/missing.js';
import {
  COUNTED,
  type FollowedStory,
  followStory,
  openClientScene,
  PODS,
  plainAccess,
  runStory,
  works,
} from './client-scene.js';

// Each waits for cuts, most of the time.
t.jobs = 3;

const STORIES = join(import.meta.dirname, 'stories');

t.test('the Python client lists, watches over cuts, follows a log, runs commands', { buffered: true }, async (t) => {
  if (!(await works('/usr/bin/python3', ['-c', 'import kubernetes']))) {
    tellMissing(t, "no Python client: install Debian's python3-kubernetes");
    return;
  }
  const scene = await openClientScene();
  t.teardown(() => scene.end());
  const told = JSON.parse(await runStory(scene, '/usr/bin/python3', [join(STORIES, 'story.py'), '--port-forward']));
  t.strictSame(told.pods, PODS);
  t.strictSame(told.missing, [404, 'pods "nonesuch" not found']);
  t.strictSame(told.watched, COUNTED, 'every change once, in order');
  t.strictSame(told.log, [0, 1, 2, 3], 'every line once, in order');
  t.strictSame(told.exec, ['out\n', 'err\n', 3]);
  t.strictSame(told.stdin, ['typed\n', 0]);
  t.equal(told.simple, 'simple\n');
  t.match(told.forwarded, /^HTTP\/1\.1 200/);
  t.equal(told.large, 3_000_000);
  t.equal(told.refused, true, 'a refused port is told');
  t.ok(scene.cuts() >= 4, `${scene.cuts()} cuts`);
  t.equal(scene.lists('configmaps'), 0, 'no list was needed');
});

t.test('the Ruby client lists, watches over cuts, follows a log', { buffered: true }, async (t) => {
  if (!(await works('ruby', ['-e', 'require "kubeclient"']))) {
    tellMissing(t, "no Ruby client: install Debian's ruby-kubeclient");
    return;
  }
  const scene = await openClientScene();
  t.teardown(() => scene.end());
  const told = JSON.parse(await runStory(scene, 'ruby', [join(STORIES, 'story.rb')]));
  t.strictSame(told.pods, PODS);
  t.match(told.missing, [404, /pods "nonesuch" not found/]);
  t.strictSame(told.watched, COUNTED.slice(1), 'every change once, in order');
  t.strictSame(told.log, [0, 1, 2, 3], 'every line once, in order');
  t.ok(scene.cuts() >= 4, `${scene.cuts()} cuts`);
  t.equal(scene.lists('configmaps'), 1, 'only the list that was asked for');
});

t.test('curl with the bearer token lists, watches over cuts, follows a log', { buffered: true }, async (t) => {
  if (!(await works('curl', ['--version']))) {
    tellMissing(t, 'no curl: install it');
    return;
  }
  const scene = await openClientScene();
  t.teardown(() => scene.end());
  const { server, token, ca, caFile } = plainAccess(scene);
  writeFileSync(caFile, ca);
  const headers = join(scene.folder, 'headers');
  writeFileSync(headers, `Authorization: Bearer ${token}\n`, { mode: 0o600 });
  const curl = (path: string, ...args: string[]): Promise<string> =>
    runStory(scene, 'curl', ['-sSN', '--cacert', caFile, '-H', `@${headers}`, ...args, server + path]);
  const follow = (path: string): FollowedStory =>
    followStory(scene, 'curl', ['-sSN', '--cacert', caFile, '-H', `@${headers}`, server + path]);
  const maps = '/api/v1/namespaces/default/configmaps';
  const write = (method: string, type: string, body: unknown): string[] => [
    ...['-X', method, '-H', `Content-Type: ${type}`, '-d', JSON.stringify(body)],
    ...['-o', '/dev/null', '-w', '%{http_code}'],
  ];

  const pods = JSON.parse(await curl('/api/v1/namespaces/default/pods'));
  t.same(pods.items.map((pod: { metadata: { name: string } }) => pod.metadata.name.split('-')[0]).sort(), PODS);

  const map = { metadata: { name: 'told-by-curl' }, data: { n: '0' } };
  t.equal(await curl(maps, ...write('POST', 'application/json', map)), '201');
  const watching = follow(`${maps}?watch=true&fieldSelector=metadata.name%3Dtold-by-curl`);
  const numbers = (): number[] => watching.lines().map((line) => Number(JSON.parse(line).object.data.n));
  await watching.until(() => numbers().length === 1);
  let last = 0;
  // A fast machine has made its ten before the first cut.
  while (last < 10 || scene.cuts() === 0) {
    const patch = write('PATCH', 'application/merge-patch+json', { data: { n: String(++last) } });
    t.equal(await curl(`${maps}/told-by-curl`, ...patch), '200');
  }
  await watching.until(() => numbers().at(-1) === last);
  await watching.stop();
  t.strictSame(
    numbers(),
    numbers().map((_number, index) => index),
    'every change once, in order',
  );

  const before = scene.cuts();
  const following = follow('/api/v1/namespaces/default/pods/two/log?container=main&follow=true');
  const told = (): number[] => following.lines().map((line) => Number.parseInt(line, 10));
  await following.until(() => scene.cuts() >= before + 3 && told().length >= 3);
  await following.stop();
  t.strictSame(
    told(),
    told().map((_number, index) => (told()[0] ?? 0) + index),
    'every line once, in order',
  );
  t.ok(scene.cuts() >= 4, `${scene.cuts()} cuts`);
});
