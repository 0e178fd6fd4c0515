import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { runCommand } from '../../support/command-io.js';
import { daemonScene, kubeconfigOf } from '../../support/daemon-scene.js';

/** Settings of the tests that run this process, which are no settings of the commands. */
for (const name of Object.keys(process.env)) if (/^CGP_(?!TEST_|BENCH_)/.test(name)) delete process.env[name];

const read = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    http.get(url, (response) => text(response).then(resolve, reject)).on('error', reject);
  });

t.test('listen.http: the commands tell the URLs, a kubeconfig can hold them, and no log does', async (t: Test) => {
  const at = await daemonScene(t, ['prod', 'edge']);
  const daemon = await at.start({ 'listen.http': '0' });
  const run = (...args: string[]) =>
    runCommand(args, { folder: join(at.folder, 'no-config'), stateDir: join(at.folder, 'state') });

  const listed = await run('memberships', '--http');
  t.equal(listed.code, 0, listed.err);
  const urls = new Map(
    listed.out
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ +/) as [string, string]),
  );
  t.strictSame([...urls.keys()].sort(), ['edge', 'prod']);
  t.match(await read(`${urls.get('prod')}/version`), 'prod /version');
  t.match(await read(`${urls.get('edge')}/version`), 'edge /version');
  const json = JSON.parse((await run('memberships', '--http', '-o', 'json')).out);
  t.strictSame(json.memberships.map(({ httpUrl }: { httpUrl: string }) => httpUrl).sort(), [...urls.values()].sort());
  const secret = urls.get('prod')?.split('/').at(-1) ?? '';
  t.match(secret, /^[\w-]{43}$/);
  t.notMatch((await run('memberships', '-o', 'json')).out, secret, 'nobody is told who has not asked');
  t.notMatch(JSON.stringify(daemon.memberships()), secret);

  const mine = join(at.folder, 'mine');
  t.match(await run('kubeconfig', '--http', '--merge', mine), { code: 0 });
  const plain = parse(readFileSync(mine, 'utf8'));
  t.match(
    plain.clusters.map(({ cluster }: { cluster: { server: string } }) => cluster.server).sort(),
    [...urls.values()].sort(),
  );
  t.notMatch(JSON.stringify(plain), /certificate-authority-data|token/);
  t.match(await run('kubeconfig', '--merge', mine), { code: 0 }, 'and back to TLS');
  const secure = JSON.stringify(parse(readFileSync(mine, 'utf8')));
  t.match(secure, /certificate-authority-data.*token/);
  t.notMatch(secure, 'http://');
  await run('kubeconfig', '--http', '--merge', mine);
  t.strictSame(parse(readFileSync(mine, 'utf8')), plain);
  t.match(await run('kubeconfig', '--http'), { code: 2, err: /--http needs --stdout or --merge/ });
  t.notMatch(JSON.stringify(kubeconfigOf(daemon)), 'http://', "the daemon's own file keeps to TLS");

  await read(`${urls.get('prod')}x/version`);
  t.notMatch(at.logs.join(''), secret);
});

t.test('without listen.http there is no such port, and the commands say how to have one', async (t: Test) => {
  const at = await daemonScene(t, ['prod']);
  await at.start();
  for (const args of [
    ['memberships', '--http'],
    ['kubeconfig', '--http', '--stdout'],
  ]) {
    const outcome = await runCommand(args, {
      folder: join(at.folder, 'no-config'),
      stateDir: join(at.folder, 'state'),
    });
    t.match(outcome, { code: 2, out: '', err: /serves no plain HTTP; set listen\.http: PORT/ }, args.join(' '));
  }
});
