import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';

const MEMBERSHIP = 'edge-store';
const folder = mkdtempSync(join(tmpdir(), 'cgp-login-'));
const keyFile = join(folder, 'person.json');
let demo: DemoDaemon;

/** As `gcloud auth application-default login` writes it. */
function login(): void {
  const refresh_token = demo.emulator.issueRefreshToken({ user: 'dev@example.com' });
  const token_uri = `${demo.emulator.plainUrl}/token`;
  const json = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token, token_uri };
  writeFileSync(keyFile, JSON.stringify(json));
}

t.before(async () => {
  demo = await startDemoDaemon({
    folder,
    flags: {
      identities: JSON.stringify({
        default: { source: 'token-file', tokenFile: join(folder, 'token') },
        person: { source: 'key-file', keyFile },
      }),
      memberships: JSON.stringify([
        { name: `projects/demo-project/locations/global/memberships/${MEMBERSHIP}`, identity: 'person' },
      ]),
    },
  });
});
t.teardown(async () => {
  await demo.close();
  rmSync(folder, { recursive: true, force: true });
});

for (const version of ['1.27', '1.30', '1.33', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    if (process.env['CI']) t.fail(found.missing);
    else t.comment(`skipped: ${found.missing}`);
    continue;
  }
  t.test(`whoever must log in reads so in kubectl ${version}, and goes on after it`, async (t) => {
    const kubectl = new Kubectl({
      path: found.path,
      kubeconfig: demo.kubeconfig,
      context: MEMBERSHIP,
      home: join(folder, version),
    });
    const id = demo.emulator.faults.add({ answer: 'token-reauthentication', match: 'token' });
    login();
    // The daemon looks once a second whether the file is another one.
    while (!/Google asks for a new login/.test((await kubectl.run(['get', 'pods'])).stderr));
    const commands = [
      ['get', 'pods'],
      ['exec', 'box', '--', 'true'],
      ['port-forward', 'box', ':80'],
      ['logs', 'box'],
    ];
    for (const words of commands) {
      const { code, stderr } = await kubectl.run(words);
      t.equal(code, 1, words.join(' '));
      t.match(stderr, `Google asks for a new login of ${keyFile}; run: gcloud auth application-default login`);
      t.notMatch(stderr, /Unable to connect|resource type/);
    }
    demo.emulator.faults.remove(id);
    login();
    let got = await kubectl.run(['get', 'pods']);
    while (got.code !== 0) got = await kubectl.run(['get', 'pods']);
    t.match(got.stdout, /^box /m);
  });
}
