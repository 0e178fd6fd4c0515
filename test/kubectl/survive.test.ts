import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const CUT = { cutAfterMs: 2000, form: 'reset', match: 'upgrade' } as const;

for (const version of ['1.33']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version}: commands survive`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-survive-'));
    const daemon = await startDemoDaemon({ folder, flags: { 'exec.onCutoff': 'survive' } });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    daemon.emulator.faults.add(CUT);
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    const counted = await kubectl.run([
      'exec',
      'box',
      '--',
      'sh',
      '-c',
      'i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo $i; sleep 0.1; done; exit 5',
    ]);
    t.equal(counted.code, 5, counted.stderr);
    t.equal(counted.stdout, Array.from({ length: 50 }, (_, i) => `${i + 1}\n`).join(''));
  });
}
