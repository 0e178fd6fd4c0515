import { once } from 'node:events';
import t, { type Test } from 'tap';
import type { Dict } from '../../../src/emulator/cluster/json.js';
import { dict, dicts } from '../../../src/emulator/cluster/json.js';
import { type ClusterApi, CONFIGMAPS, configMap, openClusterApi, settle, TABLE } from './cluster-api-bench.js';

const PODS = '/api/v1/namespaces/default/pods';

function names(list: Dict): unknown[] {
  return dicts(list['items']).map((item) => dict(item['metadata'])['name']);
}

function revisionOf(object: Dict): string {
  return String(dict(object['metadata'])['resourceVersion']);
}

/** An empty namespace with three config maps, of which `b` is labelled. */
async function withThree(t: Test): Promise<{ api: ClusterApi; at: string }> {
  const api = await openClusterApi(t);
  await api.create('/api/v1/namespaces', { metadata: { name: 'three' } });
  await settle(api);
  const at = '/api/v1/namespaces/three/configmaps';
  for (const { metadata } of dicts((await api.ask(at)).body['items'])) {
    await api.ask(`${at}/${String(dict(metadata)['name'])}`, { method: 'DELETE' });
  }
  await api.create(at, configMap('a'));
  await api.create(at, configMap('b', {}, { color: 'blue' }));
  await api.create(at, configMap('c'));
  return { api, at };
}

t.test('lists', async (t) => {
  const { api, at } = await withThree(t);
  const whole = await api.ask(at);
  t.match(whole, { status: 200, body: { kind: 'ConfigMapList', apiVersion: 'v1' } });
  t.same(names(whole.body), ['a', 'b', 'c']);
  const revision = revisionOf(whole.body);

  t.same(names((await api.ask(`${at}?labelSelector=color%3Dblue`)).body), ['b']);
  t.same(names((await api.ask(`${at}?fieldSelector=metadata.name!%3Db`)).body), ['a', 'c']);

  const first = await api.ask(`${at}?limit=2`);
  t.match(first.body, { metadata: { remainingItemCount: 1, resourceVersion: revision } });
  t.same(names(first.body), ['a', 'b']);
  const token = encodeURIComponent(String(dict(first.body['metadata'])['continue']));
  await api.create(at, configMap('d'));
  const second = await api.ask(`${at}?limit=2&continue=${token}`);
  t.same(names(second.body), ['c'], 'the next page is of the revision of the first');
  t.equal(revisionOf(second.body), revision);
  const selected = await api.ask(`${at}?limit=1&labelSelector=!color`);
  t.notOk('remainingItemCount' in dict(selected.body['metadata']), 'nobody counts what is selected');

  t.same(names((await api.ask(`${at}?resourceVersion=${revision}&resourceVersionMatch=Exact`)).body), ['a', 'b', 'c']);
  t.same(names((await api.ask(`${at}?resourceVersion=${revision}`)).body), ['a', 'b', 'c', 'd'], 'not older');
  t.same(names((await api.ask(`${at}?resourceVersion=${revision}&limit=9`)).body), ['a', 'b', 'c'], 'a page is exact');
  t.same(names((await api.ask(`${at}?resourceVersion=0&limit=1`)).body), ['a', 'b', 'c', 'd'], 'any: no pages');
  const future = await api.ask(`${at}?resourceVersion=999999`);
  t.match(future, { status: 504, headers: { 'retry-after': '1' }, body: { reason: 'Timeout' } });

  api.cluster.compact();
  const late = await api.ask(`${at}?limit=2&continue=${token}`);
  t.match(late, { status: 410, body: { reason: 'Expired', message: /^The provided continue parameter is too old/ } });
  const old = await api.ask(`${at}?resourceVersion=${revision}&resourceVersionMatch=Exact`);
  t.match(old, { status: 410, body: { message: 'The resourceVersion for the provided list is too old.' } });
});

t.test('lists whose options contradict each other', async (t) => {
  const api = await openClusterApi(t);
  const refused = async (query: string, status: number, message: string): Promise<void> => {
    const { body, ...answer } = await api.ask(`${CONFIGMAPS}?${query}`);
    t.equal(answer.status, status, query);
    t.equal(body['message'], message, query);
  };
  const about = 'ListOptions.meta.k8s.io "" is invalid: ';
  await refused(
    'resourceVersionMatch=Exact',
    422,
    `${about}resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`,
  );
  await refused(
    'resourceVersionMatch=Exact&resourceVersion=0',
    422,
    `${about}resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"`,
  );
  await refused(
    'resourceVersionMatch=Newest&resourceVersion=1',
    422,
    `${about}resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", "NotOlderThan"`,
  );
  await refused(
    'watch=true&sendInitialEvents=true',
    422,
    `${about}resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan`,
  );
  await refused('limit=many', 400, 'strconv.ParseInt: parsing "many": invalid syntax');
  await refused('continue=x&resourceVersion=7', 400, 'specifying resource version is not allowed when using continue');
  await refused('fieldSelector=data.a%3Db', 400, 'field label not supported: data.a');
  t.equal((await api.ask(`${CONFIGMAPS}?continue=x`)).status, 400);
  t.equal((await api.ask(`${CONFIGMAPS}?resourceVersion=abc`)).status, 400);
});

t.test('forms of an answer', async (t) => {
  const { api, at } = await withThree(t);
  const asked = (Accept: string): ReturnType<ClusterApi['ask']> => api.ask(at, { headers: { Accept } });
  t.match((await asked(`${TABLE},application/json`)).body, { kind: 'Table', columnDefinitions: [{ name: 'Name' }] });
  const rows = dicts((await asked('application/json;as=Table;v=v1beta1;g=meta.k8s.io')).body['rows']);
  t.match(rows[0], { cells: ['a'], object: { kind: 'PartialObjectMetadata', metadata: { name: 'a' } } });
  const bare = await api.ask(`${at}?includeObject=None`, { headers: { Accept: TABLE } });
  t.equal(dicts(bare.body['rows'])[0]?.['object'], null);
  const partial = (await asked('application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io')).body;
  t.match(partial, { kind: 'PartialObjectMetadataList', items: [{ metadata: { name: 'a' } }] });
  t.notOk('data' in (dicts(partial['items'])[0] ?? {}));

  const protobuf = 'application/vnd.kubernetes.protobuf';
  t.match((await asked(`${protobuf},application/json`)).body, { kind: 'ConfigMapList' });
  t.match((await asked(`${TABLE};q=0.1,application/json`)).body, { kind: 'ConfigMapList' }, 'q counts');
  t.match((await asked('application/json;as=Table;v=v9;g=meta.k8s.io,*/*')).body, { kind: 'ConfigMapList' });
  t.match(await asked(protobuf), { status: 406, body: { reason: 'NotAcceptable', kind: 'Status' } });
  t.equal((await asked('application/json;q=0')).status, 406);
  t.equal((await api.ask(at, { method: 'HEAD' })).status, 200);
});

t.test('a watch from nowhere, then of what changes', async (t) => {
  const { api, at } = await withThree(t);
  const watch = await api.watch(`${at}?watch=true`);
  t.equal(watch.response.headers['content-type'], 'application/json');
  t.same(await watch.take(3), ['ADDED a', 'ADDED b', 'ADDED c']);
  await api.ask(`${at}/a`, { method: 'PUT', body: configMap('a', { x: '1' }) });
  const deleted = await api.ask(`${at}/b`, { method: 'DELETE' });
  t.match(deleted.body, { kind: 'Status', status: 'Success', details: { name: 'b', kind: 'configmaps' } });
  t.same(await watch.take(2), ['MODIFIED a', 'DELETED b']);
  await api.create(CONFIGMAPS, configMap('elsewhere'));
  await api.create(at, configMap('e'));
  t.same(await watch.take(1), ['ADDED e'], 'another namespace is not watched');
  watch.close();

  const old = await api.watch(at.replace('/api/v1/', '/api/v1/watch/'));
  t.same(await old.take(3), ['ADDED a', 'ADDED c', 'ADDED e'], 'by the deprecated path');
  old.close();
});

t.test('a watch from a revision', async (t) => {
  const { api, at } = await withThree(t);
  const from = revisionOf((await api.ask(at)).body);
  await api.create(at, configMap('d'));
  const watch = await api.watch(`${at}?watch=1&resourceVersion=${from}`);
  t.same(await watch.take(1), ['ADDED d'], 'only what came later');
  watch.close();

  const quiet = await api.watch(`${at}?watch=1&resourceVersion=${revisionOf((await api.ask(at)).body)}`);
  t.equal(quiet.response.statusCode, 200, 'the head of an empty watch is there at once');
  quiet.close();

  api.cluster.compact();
  const late = await api.watch(`${at}?watch=1&resourceVersion=${from}`);
  t.equal(late.response.statusCode, 200);
  const event = await late.next();
  t.match(event, { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
  t.equal(event?.object['message'], `too old resource version: ${from} (${api.cluster.store.compactedRevision})`);
  t.equal(await late.next(), undefined, 'and a clean end');
});

t.test('objects that come and go with the selector of a watch', async (t) => {
  const { api, at } = await withThree(t);
  const from = revisionOf((await api.ask(at)).body);
  const watch = await api.watch(`${at}?watch=1&resourceVersion=${from}&labelSelector=color%3Dblue`);
  await api.ask(`${at}/a`, { method: 'PUT', body: configMap('a', {}, { color: 'blue' }) });
  const gone = await api.ask(`${at}/b`, { method: 'PUT', body: configMap('b', {}, { color: 'red' }) });
  t.match(await watch.next(), { type: 'ADDED', object: { metadata: { name: 'a' } } });
  const last = await watch.next();
  t.match(last, { type: 'DELETED', object: { metadata: { name: 'b', labels: { color: 'blue' } } } }, 'as it last was');
  t.equal(revisionOf(last?.object ?? {}), revisionOf(gone.body), 'with the revision of its going');
  watch.close();
});

t.test('bookmarks and the end of a watch', async (t) => {
  const { api, at } = await withThree(t);
  const revision = String(api.cluster.store.revision);
  const watch = await api.watch(`${at}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90`);
  t.same(await watch.take(3), ['ADDED a', 'ADDED b', 'ADDED c']);
  t.strictSame(await watch.next(), {
    type: 'BOOKMARK',
    object: {
      kind: 'ConfigMap',
      apiVersion: 'v1',
      metadata: { resourceVersion: revision, annotations: { 'k8s.io/initial-events-end': 'true' } },
    },
  });
  api.clock.advance(60_000);
  t.same(await watch.next(), {
    type: 'BOOKMARK',
    object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion: revision } },
  });
  api.clock.advance(30_000);
  t.match(await watch.next(), { type: 'BOOKMARK' }, 'one more at the end of its time');
  t.equal(await watch.next(), undefined);

  const initial = `sendInitialEvents=true&resourceVersionMatch=NotOlderThan`;
  const informer = await api.watch(`${at}?watch=1&allowWatchBookmarks=1&${initial}&resourceVersion=${revision}`);
  t.same(await informer.take(4), ['ADDED a', 'ADDED b', 'ADDED c', 'BOOKMARK']);
  const none = await api.watch(
    `${at}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=1`,
  );
  const pods = await api.watch(`${PODS}?watch=1&allowWatchBookmarks=1&fieldSelector=metadata.name%3Dx`);
  t.match(await pods.next(), { object: { kind: 'Pod', spec: { containers: null }, status: {} } });
  api.clock.advance(1000);
  t.equal(await none.next(), undefined, 'no initial events are wanted');
  await api.cluster.close();
  t.equal(await informer.next(), undefined, 'a cluster that closes ends its watches');
  t.equal(await pods.next(), undefined);
});

t.test('a watch as a table', async (t) => {
  const { api, at } = await withThree(t);
  const watch = await api.watch(`${at}?watch=1&allowWatchBookmarks=1`, { headers: { Accept: TABLE } });
  const first = await watch.next();
  t.match(first?.object, { kind: 'Table', columnDefinitions: [{ name: 'Name' }], rows: [{ cells: ['a'] }] });
  t.equal((await watch.next())?.object['columnDefinitions'], null, 'only the first has columns');
  await watch.next();
  t.match((await watch.next())?.object, { kind: 'Table', rows: [{ object: { metadata: { annotations: {} } } }] });
  watch.close();
  const partial = 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io';
  const metadata = await api.watch(`${at}?watch=1`, { headers: { Accept: partial } });
  t.match(await metadata.next(), { type: 'ADDED', object: { kind: 'PartialObjectMetadata', metadata: { name: 'a' } } });
  metadata.close();
});

t.test('a watcher that does not read', async (t) => {
  const { api, at } = await withThree(t);
  const watch = await api.watch(`${at}?watch=1&resourceVersion=${api.cluster.store.revision}`);
  const gone = once(watch.response, 'close');
  const data = { big: 'x'.repeat(700_000) };
  await api.create(at, configMap('big', data));
  const memory = process.memoryUsage().rss;
  const large = api.cluster.store.get('configmaps', 'three', 'big');
  t.ok(large);
  for (let count = 0; large !== undefined && count < 1100; count++) api.cluster.store.update('configmaps', large);
  t.ok(process.memoryUsage().rss - memory < 200 * 1024 * 1024, 'what waits is not made into text');
  let events = 0;
  while ((await watch.next()) !== undefined) events++;
  t.ok(events > 0 && events < 1000, `ended after ${events} events`);
  await gone;
  t.equal(watch.response.complete, true, 'cleanly, so that the client comes again');
});

t.test('an object is created, replaced and deleted', async (t) => {
  const api = await openClusterApi(t);
  const created = await api.ask(CONFIGMAPS, {
    method: 'POST',
    body: configMap('x', { a: '1' }),
    headers: { 'User-Agent': 'kubectl/v1.36.2 (linux/amd64)' },
  });
  t.match(created, { status: 201, body: { metadata: { name: 'x', managedFields: [{ manager: 'kubectl' }] } } });
  t.match(await api.ask(CONFIGMAPS, { method: 'POST', body: configMap('x') }), {
    status: 409,
    body: { reason: 'AlreadyExists', message: 'configmaps "x" already exists' },
  });
  const stale = configMap('x', { a: '2' });
  const replaced = await api.ask(`${CONFIGMAPS}/x?fieldManager=me`, { method: 'PUT', body: stale });
  t.match(replaced.body, { data: { a: '2' } });
  const conflicting = { ...stale, metadata: { name: 'x', resourceVersion: revisionOf(created.body) }, data: {} };
  t.match(await api.ask(`${CONFIGMAPS}/x`, { method: 'PUT', body: conflicting }), {
    status: 409,
    body: { reason: 'Conflict', message: /the object has been modified/ },
  });
  t.match(await api.ask(`${CONFIGMAPS}/x?dryRun=All`, { method: 'DELETE' }), { status: 200 });
  t.equal((await api.ask(`${CONFIGMAPS}/x`)).status, 200, 'a dry run deletes nothing');
  const preconditions = { kind: 'DeleteOptions', preconditions: { uid: 'another' } };
  t.equal((await api.ask(`${CONFIGMAPS}/x`, { method: 'DELETE', body: preconditions })).status, 409);
  t.equal((await api.ask(`${CONFIGMAPS}/x`, { method: 'DELETE' })).status, 200);
  t.match(await api.ask(`${CONFIGMAPS}/x`), { status: 404, body: { message: 'configmaps "x" not found' } });
  const dry = await api.ask(`${CONFIGMAPS}?dryRun=All`, { method: 'POST', body: configMap('dry') });
  t.equal(dry.status, 201);
  t.equal((await api.ask(`${CONFIGMAPS}/dry`)).status, 404);
});

t.test('patches of every kind', async (t) => {
  const api = await openClusterApi(t);
  await api.create(CONFIGMAPS, configMap('p', { a: '1', b: '2' }));
  const patch = async (type: string, body: unknown, query = ''): Promise<Awaited<ReturnType<ClusterApi['ask']>>> =>
    api.ask(`${CONFIGMAPS}/p${query}`, { method: 'PATCH', body, headers: { 'Content-Type': type } });
  const merged = await patch('application/merge-patch+json', { data: { a: null, c: '3' } });
  t.same(merged.body['data'], { b: '2', c: '3' });
  const byJson = await patch('application/json-patch+json', [{ op: 'replace', path: '/data/b', value: '9' }]);
  t.same(byJson.body['data'], { b: '9', c: '3' });
  const strategic = await patch('application/strategic-merge-patch+json', { metadata: { labels: { l: 'v' } } });
  t.match(strategic.body, { metadata: { labels: { l: 'v' } }, data: { b: '9' } });
  t.match(await patch('text/plain', 'x'), { status: 415, body: { reason: 'UnsupportedMediaType' } });
  t.match(await patch('application/merge-patch+json', '{'), { status: 400, body: { reason: 'BadRequest' } });
  t.match(await patch('application/merge-patch+json', {}, '?force=true'), {
    status: 422,
    body: { message: /force: Forbidden: may not be specified for non-apply patch$/ },
  });

  const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {k: v}\n';
  const apply = async (query: string, body: string): Promise<Awaited<ReturnType<ClusterApi['ask']>>> =>
    api.ask(`${CONFIGMAPS}/s${query}`, {
      method: 'PATCH',
      body,
      headers: { 'Content-Type': 'application/apply-patch+yaml' },
    });
  t.match(await apply('', yaml), {
    status: 422,
    body: {
      message: 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    },
  });
  t.match(await apply('?fieldManager=one', yaml), { status: 201, body: { data: { k: 'v' } } });
  t.equal((await apply('?fieldManager=one', yaml)).status, 200, 'again');
  const other = yaml.replace('k: v', 'k: w');
  t.match(await apply('?fieldManager=two', other), { status: 409, body: { reason: 'Conflict' } });
  t.match(await apply('?fieldManager=two&force=true', other), { status: 200, body: { data: { k: 'w' } } });
  t.match(await apply('?fieldManager=one', yaml.replace('name: s', 'name: z')), {
    status: 400,
    body: { message: 'the name of the object (z) does not match the name on the URL (s)' },
  });
});

t.test('what a body may not be', async (t) => {
  const api = await openClusterApi(t);
  const post = (body: unknown, query = '', headers = {}): ReturnType<ClusterApi['ask']> =>
    api.ask(`${CONFIGMAPS}${query}`, { method: 'POST', body, headers });
  const large = 'x'.repeat(3 * 1024 * 1024 + 1);
  t.match(await post(large), { status: 413, body: { reason: 'RequestEntityTooLarge' } });
  const chunked = await post(large, '', { 'Transfer-Encoding': 'chunked' });
  t.match(chunked, { status: 413, body: { message: 'Request entity too large: limit is 3145728' } });
  const secret = await post('{"data": hunter2}');
  t.equal(secret.status, 400);
  t.notMatch(secret.text, 'hunter2', 'a refusal does not quote what it could not read');
  t.match(await post({ kind: 'Pod', apiVersion: 'v1', metadata: { name: 'x' } }), { status: 400 });
  t.match(await post('<a/>', '', { 'Content-Type': 'text/xml' }), { status: 415 });
  const unknown = { ...configMap('u'), 'da"tä': {} };
  const told = await post(unknown, '?dryRun=All');
  t.equal(told.headers['warning'], '299 - "unknown field \\"da\\"t?\\""', 'a header is one line of ASCII');
  t.match(await post(unknown, '?fieldValidation=Strict'), { status: 400, body: { message: /strict decoding error/ } });
  t.equal((await post(unknown, '?fieldValidation=Ignore&dryRun=All')).headers['warning'], undefined);
  t.match(await post(configMap('v'), '?fieldValidation=Maybe&dryRun=Some'), {
    status: 422,
    body: { message: /^CreateOptions.meta.k8s.io "" is invalid: \[dryRun: Unsupported value: "Some": supported/ },
  });
});
