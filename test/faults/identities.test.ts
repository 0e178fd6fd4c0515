import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type CommandOutcome, runCommand } from '../support/command-io.js';
import { DaemonClient } from '../support/daemon-client.js';
import { type DaemonScene, daemonScene } from '../support/daemon-scene.js';
import { startDemoDaemon } from '../support/demo-daemon.js';

const ROBOT = 'robot@demo-project.iam.gserviceaccount.com';
const DEPLOYER = 'deployer@demo-project.iam.gserviceaccount.com';
const PROJECT = 'projects/demo-project/locations/global/memberships';
const BODY = '/api/v1/namespaces/default/configmaps';

async function scene(t: Test): Promise<DaemonScene & { readonly client: (context: string) => DaemonClient }> {
  const at = await daemonScene(t, ['prod', 'edge', 'lab']);
  const keyFile = join(at.folder, 'key.json');
  writeFileSync(keyFile, JSON.stringify(at.emulator.issueServiceAccountKey(ROBOT)));
  const tokenFile = join(at.folder, 'token');
  at.writeConfig({
    identities: {
      default: { source: 'token-file', tokenFile },
      robot: { source: 'key-file', keyFile },
      deployer: { source: 'key-file', keyFile, impersonate: [DEPLOYER] },
    },
    memberships: [
      { name: `${PROJECT}/edge`, identity: 'robot' },
      { name: `${PROJECT}/lab`, identity: 'deployer' },
    ],
  });
  const daemon = await at.start();
  return { ...at, client: (context) => new DaemonClient(daemon.kubeconfigFile, context) };
}

const run = (at: DaemonScene, ...args: string[]): Promise<CommandOutcome> =>
  runCommand(args, { folder: join(at.folder, 'no-config'), stateDir: join(at.folder, 'state') });

/** The bearer tokens that the last data call to a membership carried. */
function tokenOf(at: DaemonScene, id: string): string {
  const call = [...at.emulator.requests]
    .reverse()
    .find(({ membership, kind }) => membership === id && kind === 'request');
  const headers = call?.rawHeaders ?? [];
  return headers[headers.findIndex((name) => name.toLowerCase() === 'authorization') + 1] ?? '';
}

t.test('each membership is asked as its own identity, and no token is anybody else’s', async (t) => {
  const at = await scene(t);
  const rounds = ['prod', 'edge', 'lab', 'edge', 'prod', 'lab'];
  const answers = await Promise.all(rounds.map((context) => at.client(context).request(BODY)));
  for (const { status } of answers) t.equal(status, 200);
  const tokens = ['prod', 'edge', 'lab'].map((id) => tokenOf(at, id));
  t.equal(new Set(tokens).size, 3, 'three principals, three tokens');
  const { out } = await run(at, 'status', '--all');
  t.match(out, new RegExp(`robot \\[key-file\\]: ${ROBOT}`));
  t.match(out, new RegExp(`deployer \\[key-file\\]: ${DEPLOYER} \\(through ${ROBOT}\\)`));
  const everything = [
    out,
    ...at.logs,
    (await run(at, 'memberships', '-o', 'json')).out,
    (await run(at, 'sessions')).out,
  ];
  for (const token of tokens) {
    const [, value = ''] = token.split(' ');
    t.ok(value.length > 8);
    t.notOk(
      everything.some((text) => text.includes(value)),
      'in no output and no log at any level',
    );
  }
});

t.test('a chain that is refused is told to the client with the hop and the way out', async (t) => {
  const at = await scene(t);
  at.emulator.faults.add({ answer: 'service-account-token-denied', match: 'control' });
  const answer = await at.client('lab').request(BODY);
  t.equal(answer.status, 503);
  t.match(
    JSON.parse(answer.body).message,
    new RegExp(`hop 1 of 1 .*${ROBOT} may not become ${DEPLOYER}.*--member=serviceAccount:${ROBOT}`),
  );
  t.equal((await at.client('edge').request(BODY)).status, 200, 'others are not concerned');
  t.match((await run(at, 'status')).out, /deployer failed .* ago: hop 1 of 1/);
  at.emulator.faults.clear();
});

t.test('status --whoami asks the cluster by the way of a client', async (t) => {
  const folder = t.testdir();
  const demo = await startDemoDaemon({ folder });
  t.teardown(() => demo.close());
  const ask = (...words: string[]): Promise<CommandOutcome> =>
    runCommand(['status', '--whoami', ...words], {
      folder: join(folder, 'no-config'),
      stateDir: join(folder, 'state'),
    });
  t.match(await ask('prd'), { code: 2, err: /did you mean prod\?/ });
  t.match(await ask('prod'), {
    code: 0,
    out: /^membership {2}prod\n[\s\S]*\nusername {4}dev@example\.com\n[\s\S]*groups/,
  });
  t.match(JSON.parse((await ask('prod', '-o', 'json')).out), { status: { userInfo: { username: 'dev@example.com' } } });
  demo.emulator.faults.add({ answer: 'rbac-denied', membership: 'prod' });
  t.match(await ask('prod'), { code: 1, err: /prod did not say who we are: .*forbidden/ });
});
