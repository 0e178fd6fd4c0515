import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import {
  contextName,
  type KubeconfigContent,
  mergeKubeconfig,
  removeFromKubeconfig,
  removeFromKubeconfigFile,
  updateKubeconfigFile,
} from '../../../src/daemon/kubeconfig.js';

const entry = (context: string, port = 7500): KubeconfigContent['entries'][number] => ({
  context,
  server: `https://127.0.0.1:${port}`,
  token: `token-${context}`,
  membership: `projects/1/locations/global/memberships/${context}`,
});
const content = (...names: string[]): KubeconfigContent => ({
  entries: names.map((name, index) => entry(name, 7500 + index)),
  authority: 'PEM',
  owner: '/state',
});

const PERSONS = `# my clusters
apiVersion: v1
kind: Config
current-context: home
clusters:
- name: home # the one in the cellar
  cluster: {server: "https://10.0.0.1"}
users:
- name: home
  user: {token: secret}
contexts:
- name: home
  context: {cluster: home, user: home}
preferences: {}
`;

t.test('a new file has a context per membership and starts with the first', async (t) => {
  const text = mergeKubeconfig('', content('prod', 'edge'), { path: 'f', current: 'if-missing' });
  t.match(parse(text), {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'prod',
    clusters: [
      { name: 'prod', cluster: { server: 'https://127.0.0.1:7500', 'certificate-authority-data': 'UEVN' } },
      { name: 'edge' },
    ],
    users: [{ name: 'prod', user: { token: 'token-prod' } }, { name: 'edge' }],
    contexts: [{ name: 'prod', context: { cluster: 'prod', user: 'prod' } }, { name: 'edge' }],
  });
  t.equal(mergeKubeconfig(text, content('prod', 'edge'), { path: 'f', current: 'if-missing' }), text, 'and is stable');
});

t.test('before the fleet is known the file is a kubeconfig already', async (t) => {
  const text = mergeKubeconfig('', content(), { path: 'f', current: 'if-missing' });
  t.strictSame(parse(text), {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [],
    users: [],
    contexts: [],
    'current-context': '',
  });
  const next = mergeKubeconfig(text, content('prod'), { path: 'f', current: 'if-missing' });
  t.match(next, /^clusters:\n- name: prod\n/m);
  t.equal(parse(next)['current-context'], 'prod');
});

t.test('merging keeps comments, other entries and the current context', async (t) => {
  const merged = mergeKubeconfig(PERSONS, content('prod'), { path: 'f', current: 'keep' });
  for (const line of [
    '# my clusters',
    '- name: home # the one in the cellar',
    'current-context: home',
    'preferences: {}',
  ]) {
    t.ok(merged.includes(line), line);
  }
  t.equal(parse(merged).contexts.length, 2);
  const switched = mergeKubeconfig(merged, content('prod'), { path: 'f', current: 'first' });
  t.equal(parse(switched)['current-context'], 'prod');
  t.equal(removeFromKubeconfig(merged, { path: 'f', owner: '/state' }), PERSONS);
});

t.test('memberships that left go, a namespace that a person set stays, ports follow', async (t) => {
  const first = mergeKubeconfig('', content('gone', 'prod'), { path: 'f', current: 'if-missing' });
  const edited = first.replace('cluster: prod', 'cluster: prod\n    namespace: team-a');
  const next = parse(
    mergeKubeconfig(edited, { ...content(), entries: [entry('prod', 7777)] }, { path: 'f', current: 'if-missing' }),
  );
  t.strictSame(
    next.contexts.map(({ name }: { name: string }) => name),
    ['prod'],
  );
  t.equal(next.contexts[0].context.namespace, 'team-a');
  t.equal(next.clusters[0].cluster.server, 'https://127.0.0.1:7777');
  t.equal(next['current-context'], 'prod', 'it pointed to the one that left');
});

t.test("another's entry of the same name is never overwritten, nor is a second daemon's", async (t) => {
  t.throws(() => mergeKubeconfig(PERSONS, content('home'), { path: 'f', current: 'keep' }), {
    message: /entry "home" under clusters that is not ours.*--context-template/,
  });
  const first = mergeKubeconfig('', content('prod'), { path: 'f', current: 'keep' });
  const both = mergeKubeconfig(first, { ...content('other'), owner: '/second' }, { path: 'f', current: 'keep' });
  t.equal(parse(both).contexts.length, 2);
  t.equal(parse(removeFromKubeconfig(both, { path: 'f', owner: '/second' })).contexts[0].name, 'prod');
});

t.test('what is no kubeconfig is refused with its place', async (t) => {
  const merge = (text: string) => () => mergeKubeconfig(text, content('a'), { path: '/k', current: 'keep' });
  t.throws(merge('a: [b\n'), { message: /^\/k:\d+: this kubeconfig is not valid YAML/ });
  t.throws(merge('- a\n'), { message: /^\/k: this is no kubeconfig/ });
  t.throws(merge('kind: Pod\n'), { message: /expected kind: Config/ });
  t.throws(merge('clusters: 1\n'), { message: /clusters: expected a list/ });
  t.equal(parse(merge('{"kind":"Config","contexts":null}')() ?? '').contexts.length, 1, 'JSON and null lists are fine');
});

t.test("a person's file is backed up once, written privately, and untouched when nothing changes", async (t) => {
  const folder = t.testdir({ config: PERSONS });
  const file = join(folder, 'config');
  t.strictSame(updateKubeconfigFile(file, content('prod'), { current: 'keep', backup: true }), { changed: true });
  t.strictSame(updateKubeconfigFile(file, content('prod'), { current: 'keep', backup: true }), { changed: false });
  updateKubeconfigFile(file, content('prod', 'edge'), { current: 'keep', backup: true });
  t.equal(readFileSync(`${file}.before-connect-gateway-proxy`, 'utf8'), PERSONS);
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.strictSame(removeFromKubeconfigFile(file, '/state'), { changed: true });
  t.strictSame(removeFromKubeconfigFile(file, '/state'), { changed: false });
  t.strictSame(removeFromKubeconfigFile(join(folder, 'none'), '/state'), { changed: false });
  t.notOk(existsSync(join(folder, 'none')));
});

t.test('context names follow the template', async (t) => {
  const membership = { alias: 'a', id: 'prod', location: 'global', project: '12', projectId: 'p' };
  t.equal(contextName('fleet-{project}-{location}-{id}', membership), 'fleet-p-global-prod');
  t.throws(() => contextName('{nam}', membership), { message: /\{nam\} is unknown; use \{alias\}/ });
});
