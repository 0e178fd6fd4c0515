import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl } from '../support/kubectl.js';

/** Each stream is cut this often, in another form each time, while it is watched for the length of the story. */
const CUT_AFTER_MS = 2000;
const STORY_MS = 13_000;
const FORMS = ['reset', 'fin', 'clean-end', 'rst-stream', 'goaway'] as const;
const NAMESPACE = 'default';

/** Writes as another client of the same endpoint would. */
function write(daemon: DemoDaemon, method: string, path: string, body: unknown): Promise<number> {
  const { clusters, users } = parse(readFileSync(daemon.kubeconfig, 'utf8'));
  const named = (list: { name: string }[]): { name: string } | undefined => list.find(({ name }) => name === 'prod');
  const { cluster } = named(clusters) as unknown as {
    cluster: { server: string; 'certificate-authority-data': string };
  };
  const { user } = named(users) as unknown as { user: { token: string } };
  return new Promise((resolve, reject) => {
    const request = https.request(
      `${cluster.server}${path}`,
      {
        method,
        ca: Buffer.from(cluster['certificate-authority-data'], 'base64'),
        headers: {
          Authorization: `Bearer ${user.token}`,
          'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
        },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

for (const version of ['1.27', '1.31', '1.33', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    if (process.env['CI']) t.fail(found.missing);
    else t.comment(`skipped: ${found.missing}`);
    continue;
  }
  t.test(`kubectl ${version}: watches and followed logs do not notice a cut every two seconds`, async (t: Test) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-cuts-'));
    const daemon = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    const maps = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
    t.equal(await write(daemon, 'POST', maps, { metadata: { name: 'counter' }, data: { n: '0' } }), 201);
    // The form changes with each cut.
    let cut = 0;
    const cutting = setInterval(() => {
      daemon.emulator.faults.cutNow(FORMS[cut++ % FORMS.length] ?? 'reset', { match: 'watch' });
    }, CUT_AFTER_MS);
    t.teardown(() => clearInterval(cutting));

    const selector = ['--field-selector=metadata.name=counter'];
    const json = kubectl.start(['get', 'configmaps', '-w', ...selector, '-o', 'jsonpath={.data.n}{"\\n"}']);
    const table = kubectl.start(['get', 'pods', '-w', '--output-watch-events']);
    const log = kubectl.start(['logs', '-f', 'deployment/hello', '--tail=1']);
    await Promise.all([json.until(/^0$/m), table.until(/ADDED +box/), log.until(/hello from/)]);
    const lists = (): number =>
      daemon.emulator.requests.filter(
        ({ target }) => /\/(configmaps|pods)\?/.test(target) && !target.includes('watch='),
      ).length;
    const before = lists();
    let n = 0;
    for (const end = Date.now() + STORY_MS; Date.now() < end; await pause(150)) {
      t.equal(await write(daemon, 'PATCH', `${maps}/counter`, { data: { n: String(++n) } }), 200);
    }
    await json.until(new RegExp(`^${n}$`, 'm'));
    clearInterval(cutting);
    await Promise.all([json.stop(), table.stop(), log.stop()]);
    t.ok(cut >= 5, `${cut} cuts`);
    t.strictSame(
      json.stdout.trim().split('\n').map(Number),
      Array.from({ length: n + 1 }, (_item, index) => index),
    );
    const numbers = log.stdout
      .trim()
      .split('\n')
      .map((line) => Number.parseInt(line, 10));
    t.ok(numbers.length >= 10, `${numbers.length} lines`);
    t.strictSame(
      numbers,
      numbers.map((_number, index) => (numbers[0] ?? 0) + index),
      'every line once, in order',
    );
    const rows = table.stdout.split('\n').filter((line) => line.startsWith('ADDED'));
    t.equal(new Set(rows.map((row) => row.split(/ +/)[1])).size, rows.length, 'no pod is told twice');
    t.equal(lists(), before, 'no list was needed');
  });
}
