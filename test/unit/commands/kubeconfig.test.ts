import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { type CommandOutcome, runCommand } from '../../support/command-io.js';
import {
  type DaemonScene,
  daemonScene,
  emulatedMembership,
  type WrittenKubeconfig,
} from '../../support/daemon-scene.js';

/** Settings of the tests that run this process, which are no settings of the commands. */
for (const name of Object.keys(process.env)) if (/^CGP_(?!TEST_|BENCH_)/.test(name)) delete process.env[name];

const run = (at: DaemonScene, ...args: string[]): Promise<CommandOutcome> =>
  runCommand(args, { folder: join(at.folder, 'no-config'), stateDir: join(at.folder, 'state') });

const contexts = (file: string): string[] =>
  (parse(readFileSync(file, 'utf8')) as WrittenKubeconfig).clusters.map(({ name }) => name).sort();

async function scene(t: Test): Promise<DaemonScene & { readonly file: string; readonly own: string }> {
  const at = await daemonScene(t, ['prod', 'edge']);
  const file = join(at.folder, 'mine');
  writeFileSync(file, 'apiVersion: v1\nkind: Config\ncontexts: []\nclusters: []\nusers: []\ncurrent-context: mine\n');
  const daemon = await at.start();
  return { ...at, file, own: daemon.kubeconfigFile };
}

t.test('names by a template are remembered: by the fleet’s next change, and by the next daemon', async (t) => {
  const at = await scene(t);
  t.equal((await run(at, 'kubeconfig', '--context-template', 'fleet-{alias}')).out, `${at.own}\n`);
  t.strictSame(contexts(at.own), ['fleet-edge', 'fleet-prod']);
  at.emulator.setMemberships([...['prod', 'edge', 'late'].map((id) => emulatedMembership(id))]);
  await run(at, 'memberships', '--refresh');
  t.strictSame(contexts(at.own), ['fleet-edge', 'fleet-late', 'fleet-prod']);
  await run(at, 'kubeconfig');
  t.strictSame(contexts(at.own), ['fleet-edge', 'fleet-late', 'fleet-prod'], 'asked without a template: as before');
  t.match(await run(at, 'kubeconfig', '--context-template', '{project}'), {
    code: 2,
    err: /the same name demo-project/,
  });
  t.match(await run(at, 'kubeconfig', '--context-template', '{nmae}'), { code: 2, err: /\{nmae\} is unknown/ });
});

t.test('a merged file follows the fleet, until its contexts are taken out', async (t) => {
  const at = await scene(t);
  t.match(await run(at, 'kubeconfig', '--merge', at.file, '--context-template', 'g-{alias}'), {
    code: 0,
    err: /^2 contexts are in .*mine, and follow the fleet\n$/,
  });
  const change = async (...ids: string[]): Promise<void> => {
    at.emulator.setMemberships(ids.map((id) => emulatedMembership(id)));
    await run(at, 'memberships', '--refresh');
  };
  await change('prod', 'late');
  t.strictSame(contexts(at.file), ['g-late', 'g-prod']);
  t.match(readFileSync(at.file, 'utf8'), /current-context: mine/, 'a person’s choice stays');
  t.notOk(existsSync(`${at.file}.lock`));
  t.match(await run(at, 'kubeconfig', '--remove', at.file), { code: 0, err: /removed our contexts/ });
  await change('prod', 'later');
  t.strictSame(contexts(at.file), []);

  await run(at, 'kubeconfig', '--merge', at.file);
  rmSync(at.file);
  await change('prod', 'last');
  t.notOk(existsSync(at.file), 'a file that a person has removed stays away');
  t.match(at.logs.join(''), /"file":".*mine","msg":"our contexts were taken out of this kubeconfig/);
});

t.test('kubectl is writing the same file: waited for, then told', async (t) => {
  const at = await scene(t);
  const lock = `${at.file}.lock`;
  writeFileSync(lock, '');
  t.match(await run(at, 'kubeconfig', '--merge', at.file), {
    code: 2,
    err: /another program, such as kubectl, writes .*mine now; if none does, remove .*mine\.lock/,
  });
  let pauses = 0;
  const merged = await runCommand(['kubeconfig', '--merge', at.file], {
    folder: join(at.folder, 'no-config'),
    stateDir: join(at.folder, 'state'),
    changes: {
      pause: async () => {
        if (++pauses === 3) rmSync(lock);
      },
    },
  });
  t.equal(merged.code, 0, merged.err);
});
