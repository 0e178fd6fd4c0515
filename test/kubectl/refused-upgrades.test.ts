import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

// 1.29 asks once, over SPDY; the others ask over WebSocket, and again over SPDY, and print the second answer.
for (const version of ['1.29', '1.30', '1.33']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version}: a refused exec is refused once, in the words of the first answer`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-refused-'));
    const { emulator, kubeconfig, close } = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await close();
      rmSync(folder, { recursive: true, force: true });
    });
    const kubectl = new Kubectl({ path: found.path, kubeconfig, context: 'prod', home: folder });
    for (const [answer, words] of [
      ['rbac-denied', /^Error from server \(Forbidden\): .*forbidden/],
      ['spdy-refused', /^Error from server/],
    ] as const) {
      const upgrades = (): number => emulator.requests.filter(({ target }) => target.includes('/exec?')).length;
      const before = upgrades();
      // A second upgrade would succeed, and nobody would hear of the first.
      emulator.faults.add({ answer, match: 'upgrade', times: 1 });
      const { code, stdout, stderr } = await kubectl.run(['exec', 'box', '--', 'echo', 'done']);
      emulator.faults.clear();
      t.equal(code, 1);
      t.equal(stdout, '');
      t.match(stderr, words);
      t.notMatch(stderr, /<html|<!DOCTYPE/i);
      t.equal(upgrades() - before, 1, 'nothing was dialled for the second try');
    }
    const next = await kubectl.run(['exec', 'box', '--', 'echo', 'done']);
    t.strictSame([next.code, next.stdout], [0, 'done\n'], 'the next kubectl is asked upstream again');
  });
}
