import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { type CommandOutcome, runCommand } from '../../support/command-io.js';
import { type DaemonScene, daemonScene, get, type WrittenKubeconfig } from '../../support/daemon-scene.js';

const PROD = 'projects/demo-project/locations/global/memberships/prod';
/** Settings of the tests that run this process, which are no settings of the commands. */
for (const name of Object.keys(process.env)) if (/^CGP_(?!TEST_|BENCH_)/.test(name)) delete process.env[name];

function runner(at: DaemonScene, stateDir = join(at.folder, 'state')) {
  return (...args: string[]): Promise<CommandOutcome> =>
    runCommand(args, { folder: join(at.folder, 'no-config'), stateDir });
}

/** What a command that `shell` ran has written down. */
function noted(file: string): { path: string; mode: number; kubeconfig: WrittenKubeconfig; membership: string } {
  const [path = '', mode = '', membership = '', ...yaml] = readFileSync(file, 'utf8').split('\n');
  return { path, mode: Number(mode), membership, kubeconfig: parse(yaml.join('\n')) as WrittenKubeconfig };
}

const NOTE =
  'const fs = require("fs"), k = process.env.KUBECONFIG; fs.writeFileSync(process.argv[1], [k, fs.statSync(k).mode & 0o777, process.env.CONNECT_GATEWAY_PROXY_MEMBERSHIP, fs.readFileSync(k)].join("\\n"));';

t.test('shell: one context, in a private file that is gone afterwards, and the exit code', async (t) => {
  const at = await daemonScene(t, ['prod', 'edge']);
  await at.start();
  const run = runner(at);
  const note = join(at.folder, 'note');
  t.match(await run('shell', 'prod', '--', process.execPath, '-e', NOTE, note), { code: 0, out: '', err: '' });
  const { path, mode, kubeconfig, membership } = noted(note);
  t.equal(mode, 0o600);
  t.equal(membership, 'prod');
  t.notOk(existsSync(path), 'the file is gone');
  t.equal(kubeconfig['current-context'], 'prod');
  t.strictSame(
    kubeconfig.clusters.map(({ name }) => name),
    ['prod'],
  );
  t.match(await get(kubeconfig, 'prod', '/version'), { status: 200, body: 'prod /version' });

  t.equal((await run('shell', 'edge', '--', process.execPath, '-e', 'process.exit(7)')).code, 7);
  t.equal((await run('shell', 'edge', '--', '/bin/sh', '-c', 'kill -TERM $$')).code, 143);
  t.match(await run('shell', 'edge', '--', join(at.folder, 'none')), { code: 127, err: /there is no such command/ });
  t.match(await run('shell', 'edge', '--', at.config), { code: 126, err: /cannot run/ });
  t.match(await run('shell', 'prd'), { code: 2, err: /no membership "prd": did you mean prod\?/ });
  const byFullName = 'projects/123456789012/locations/global/memberships/prod';
  t.equal((await run('shell', byFullName, '--', process.execPath, '-e', '0')).code, 0);
  const shell = await runCommand(['shell', 'prod'], {
    folder: at.folder,
    stateDir: join(at.folder, 'state'),
    changes: { env: { ...process.env, CGP_STATE_DIR: join(at.folder, 'state'), SHELL: '/bin/true' }, errIsTty: true },
  });
  t.match(shell, { code: 0, err: /reaches prod alone \(policy full\)/ });
});

t.test('two daemons on one machine: own ports, own contexts, and neither takes the other’s away', async (t: Test) => {
  const at = await daemonScene(t, ['prod', 'edge']);
  const other = await daemonScene(t, ['prod', 'stage'], { name: 'second' });
  await Promise.all([at.start(), other.start()]);
  const [first, second] = [runner(at), runner(other)];
  const shared = join(at.folder, 'shared');
  const own = 'apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\ncurrent-context: mine\n';
  writeFileSync(shared, own);
  t.equal((await first('kubeconfig', '--merge', shared)).code, 0);
  const clash = await second('kubeconfig', '--merge', shared);
  t.match(clash, { code: 2, err: /an entry "prod" under clusters that is not ours; choose other names/ });
  t.equal((await second('kubeconfig', '--merge', shared, '--context-template', 'b-{alias}')).code, 0);
  const both = parse(readFileSync(shared, 'utf8')) as WrittenKubeconfig;
  t.strictSame(both.clusters.map(({ name }) => name).sort(), ['b-prod', 'b-stage', 'edge', 'prod']);
  t.equal(both['current-context'], 'mine', 'a person’s choice stays');
  t.equal(new Set(both.clusters.map(({ cluster }) => cluster.server)).size, 4, 'no endpoint is shared');
  for (const context of ['prod', 'b-prod']) t.equal((await get(both, context, '/version')).status, 200);
  const [mine, theirs] = [
    both.users.find(({ name }) => name === 'prod'),
    both.users.find(({ name }) => name === 'b-prod'),
  ];
  t.not(mine?.user.token, theirs?.user.token, 'the same membership has another credential at each');

  // A fleet change of the one leaves the other's entries alone.
  at.writeConfig({ memberships: [{ name: PROD, alias: 'live' }] });
  // The daemon may have seen the saved file by itself before.
  t.match(await first('reload'), { code: 0, err: /(?:changed memberships|no setting has changed); 2 memberships/ });
  await first('kubeconfig', '--merge', shared);
  const changed = parse(readFileSync(shared, 'utf8')) as WrittenKubeconfig;
  t.strictSame(changed.clusters.map(({ name }) => name).sort(), ['b-prod', 'b-stage', 'edge', 'live']);
  await first('kubeconfig', '--remove', shared);
  const left = parse(readFileSync(shared, 'utf8')) as WrittenKubeconfig;
  t.strictSame(left.clusters.map(({ name }) => name).sort(), ['b-prod', 'b-stage']);
  await second('kubeconfig', '--remove', shared);
  t.match(parse(readFileSync(shared, 'utf8')), { clusters: [], users: [], contexts: [] });
  t.equal(statSync(shared).mode & 0o777, 0o600);
});

t.test('reload and memberships --refresh tell why new settings are refused', async (t) => {
  const at = await daemonScene(t, ['prod']);
  await at.start();
  const run = runner(at);
  t.match(await run('reload'), { code: 0, err: /no setting has changed; 1 memberships/ });
  writeFileSync(at.config, 'projects: [x]\nlisten: {prot: 1}\n');
  for (const args of [['reload'], ['memberships', '--refresh']]) {
    t.match(await run(...args), {
      code: 1,
      err: /keeps its old settings: .*config\.yaml:2: listen\.prot is no setting/,
    });
  }
  at.writeConfig({ log: { level: 'debug' } });
  t.match(await run('reload'), { code: 0, err: /restart the daemon for log\.level/ });
});
