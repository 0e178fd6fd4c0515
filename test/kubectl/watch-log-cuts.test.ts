import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl, PLAIN_VERSIONS, type RunningKubectl, STREAM_VERSIONS } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

/** Each stream is cut this often, in another form each time, while it is watched for the length of the story. */
const CUT_AFTER_MS = 2000;
const STORY_MS = 30_000;
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

interface Streams {
  readonly version: string;
  readonly json: RunningKubectl;
  readonly table: RunningKubectl;
  readonly log: RunningKubectl;
}

/** One kubectl with a watch of each output and a followed log, once all of them have begun. */
async function begin(version: string, scene: { path: string; daemon: DemoDaemon; folder: string }): Promise<Streams> {
  const { path, daemon, folder } = scene;
  const home = join(folder, version);
  mkdirSync(home);
  const kubectl = new Kubectl({ path, kubeconfig: daemon.kubeconfig, context: 'prod', home });
  const json = kubectl.start(['get', 'configmaps', '-w', '--field-selector=metadata.name=counter', '-o', 'json']);
  const table = kubectl.start(['get', 'pods', '-w', '--output-watch-events']);
  const log = kubectl.start(['logs', '-f', 'deployment/hello', '--tail=1']);
  await Promise.all([json.until(/"n": "0"/), table.until(/ADDED +box/), log.until(/hello from/)]);
  return { version, json, table, log };
}

function assertWhole(t: Test, { version, json, table, log }: Streams, n: number): void {
  const counted = [...json.stdout.matchAll(/^ +"n": "(\d+)"$/gm)].map(([, number]) => Number(number));
  t.strictSame(
    counted,
    Array.from({ length: n + 1 }, (_item, index) => index),
    `${version}: every change once, in order`,
  );
  const numbers = log.stdout
    .trim()
    .split('\n')
    .map((line) => Number.parseInt(line, 10));
  t.ok(numbers.length >= 25, `${version}: ${numbers.length} lines`);
  t.strictSame(
    numbers,
    numbers.map((_number, index) => (numbers[0] ?? 0) + index),
    `${version}: every line once, in order`,
  );
  const rows = table.stdout.split('\n').filter((line) => line.startsWith('ADDED'));
  t.equal(new Set(rows.map((row) => row.split(/ +/)[1])).size, rows.length, `${version}: no pod is told twice`);
}

t.test('watches and followed logs do not notice cuts of every form, with any kubectl', async (t: Test) => {
  const found: { version: string; path: string }[] = [];
  for (const version of [...PLAIN_VERSIONS, ...STREAM_VERSIONS]) {
    const kubectl = findKubectl(version);
    if ('path' in kubectl) found.push({ version, path: kubectl.path });
    else tellMissing(t, kubectl.missing);
  }
  const folder = mkdtempSync(join(tmpdir(), 'cgp-cuts-'));
  // Three streams of each kubectl, more than Google would let one fleet have.
  const daemon = await startDemoDaemon({ folder, limits: { activeStreams: 100 } });
  t.teardown(async () => {
    await daemon.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const maps = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
  t.equal(await write(daemon, 'POST', maps, { metadata: { name: 'counter' }, data: { n: '0' } }), 201);
  const clients = await Promise.all(found.map(({ version, path }) => begin(version, { path, daemon, folder })));
  const lists = (): number =>
    daemon.emulator.requests.filter(({ target }) => /\/(configmaps|pods)\?/.test(target) && !target.includes('watch='))
      .length;
  const before = lists();
  // The form changes with each cut.
  let cut = 0;
  const cutting = setInterval(() => {
    daemon.emulator.faults.cutNow(FORMS[cut++ % FORMS.length] ?? 'reset', { match: 'watch' });
  }, CUT_AFTER_MS);
  t.teardown(() => clearInterval(cutting));
  let n = 0;
  for (const end = Date.now() + STORY_MS; Date.now() < end; await pause(150)) {
    t.equal(await write(daemon, 'PATCH', `${maps}/counter`, { data: { n: String(++n) } }), 200);
  }
  await Promise.all(clients.map(({ json }) => json.until(new RegExp(`"n": "${n}"`))));
  clearInterval(cutting);
  t.ok(cut >= 2 * FORMS.length, `${cut} cuts, each form twice`);
  t.equal(lists(), before, 'no list was needed');
  await Promise.all(clients.flatMap(({ json, table, log }) => [json.stop(), table.stop(), log.stop()]));
  for (const client of clients) assertWhole(t, client, n);
});
