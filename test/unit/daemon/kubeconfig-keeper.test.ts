import { appendFileSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { createLogger } from '../../../src/base/log.js';
import { updateKubeconfigFile } from '../../../src/daemon/kubeconfig.js';
import { KubeconfigBook } from '../../../src/daemon/kubeconfig-book.js';
import { KubeconfigKeeper } from '../../../src/daemon/kubeconfig-keeper.js';
import type { MembershipView } from '../../../src/daemon/served-fleet.js';
import { State } from '../../../src/daemon/state.js';
import type { WrittenKubeconfig } from '../../support/daemon-scene.js';
import { FakeClock } from '../../support/fake-clock.js';

const membership = (id: string): MembershipView => ({
  name: `projects/1/locations/global/memberships/${id}`,
  alias: id,
  id,
  location: 'global',
  project: '1',
  url: `https://127.0.0.1:75${id.length}0`,
  kind: 'attached',
  state: 'READY',
  stale: false,
  endpoint: 'https://gateway.example',
  endpointSource: 'formula',
  identity: 'default',
  principal: 'dev@example.com',
  chain: [],
  policy: 'full',
  hasToken: true,
});

interface Scene {
  readonly file: string;
  readonly ownFile: string;
  readonly clock: FakeClock;
  readonly keeper: KubeconfigKeeper;
  /** As the next daemon on that state. */
  start(version?: string): KubeconfigKeeper;
  readonly book: KubeconfigBook;
  readonly logs: string[];
  serve(...ids: string[]): void;
  contexts(): string[];
}

/** A daemon's state, and a person's kubeconfig that its contexts were merged into. */
function scene(t: Test): Scene {
  const folder = t.testdir({ 'ca.pem': 'PEM', mine: '' });
  const state = State.open(folder);
  const file = join(folder, 'mine');
  let served = [membership('prod'), membership('edge')];
  const clock = new FakeClock();
  const logs: string[] = [];
  const ownFile = join(folder, 'kubeconfig');
  const start = (version = '1.0.0'): KubeconfigKeeper =>
    new KubeconfigKeeper({
      state,
      ownFile: () => ownFile,
      memberships: () => served,
      version,
      clock,
      log: createLogger({ level: 'trace', format: 'json', write: (line) => void logs.push(line) }),
    });
  const keeper = start();
  const book = new KubeconfigBook(state);
  book.remember(file, '{alias}');
  const entry = { context: 'prod', server: 'https://127.0.0.1:1', token: 't', membership: membership('prod').name };
  const content = { entries: [entry], authority: 'PEM', owner: folder };
  updateKubeconfigFile(file, content, { current: 'keep', backup: true });
  return {
    ...{ file, ownFile, clock, keeper, start, book, logs },
    serve: (...ids) => {
      served = ids.map(membership);
      keeper.keep();
    },
    contexts: () => (parse(readFileSync(file, 'utf8')) as WrittenKubeconfig).clusters.map(({ name }) => name).sort(),
  };
}

t.test('a file that another program has locked is written when the lock is gone, and told of once', async (t) => {
  const at = scene(t);
  writeFileSync(`${at.file}.lock`, '');
  at.serve('prod', 'late');
  at.clock.advance(60_000);
  t.strictSame(at.contexts(), ['prod']);
  t.equal(at.logs.filter((line) => /not in step with the fleet.*another program/.test(line)).length, 1);
  rmSync(`${at.file}.lock`);
  at.clock.advance(5000);
  t.strictSame(at.contexts(), ['late', 'prod']);
  t.equal(at.clock.pendingTimers, 0, 'done');
});

t.test('a file that another program has half written is looked at again, and is not given up', async (t) => {
  const at = scene(t);
  const whole = readFileSync(at.file, 'utf8');
  writeFileSync(at.file, '');
  at.serve('prod', 'late');
  t.equal(readFileSync(at.file, 'utf8'), '');
  writeFileSync(at.file, `${whole}\nx: "`);
  at.clock.advance(5000);
  t.match(at.logs.join(''), /not in step with the fleet, and is tried again: .*not valid YAML/);
  writeFileSync(at.file, whole);
  at.clock.advance(5000);
  t.strictSame(at.contexts(), ['late', 'prod']);
});

t.test('whoever takes our contexts out by hand is obeyed', async (t) => {
  const at = scene(t);
  writeFileSync(at.file, 'apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n');
  at.serve('prod');
  at.clock.advance(5000);
  t.match(at.logs.join(''), /our contexts were taken out of this kubeconfig/);
  t.strictSame(at.book.merged, []);
  at.serve('prod', 'late');
  t.strictSame(at.contexts(), []);
  t.equal(at.clock.pendingTimers, 0);
});

t.test('a file that is gone stays away', async (t) => {
  const at = scene(t);
  rmSync(at.file);
  at.serve('prod');
  t.notOk(existsSync(at.file));
  t.strictSame(at.book.merged, []);
});

t.test('a daemon that has ended writes nothing', async (t) => {
  const at = scene(t);
  writeFileSync(`${at.file}.lock`, '');
  at.serve('prod', 'late');
  at.keeper.close();
  rmSync(`${at.file}.lock`);
  at.clock.advance(60_000);
  at.serve('prod', 'late');
  t.strictSame(at.contexts(), ['prod']);
});

t.test('while there is no fleet yet nothing is taken out', async (t) => {
  const at = scene(t);
  appendFileSync(at.file, '# mine\n');
  at.serve();
  t.strictSame(at.contexts(), ['prod']);
  t.match(readFileSync(at.file, 'utf8'), /# mine/);
});

t.test('the own file is looked into again when it, the fleet or the program is another one', async (t) => {
  const at = scene(t);
  const own = (): string[] =>
    (parse(readFileSync(at.ownFile, 'utf8')) as WrittenKubeconfig).clusters.map(({ name }) => name).sort();
  at.serve('prod', 'edge');
  t.strictSame(own(), ['edge', 'prod']);
  const settled = readFileSync(at.ownFile, 'utf8');
  const { mtimeMs } = statSync(at.ownFile);
  // Each look into the file ends with a record of it, which is another file then.
  const record = (): number => statSync(join(dirname(at.ownFile), 'kubeconfig-settled.json')).ino;
  const looked = record();
  at.start().keep();
  t.equal(record(), looked, 'it is known without a look');
  at.start('2.0.0').keep();
  t.not(record(), looked);
  t.equal(statSync(at.ownFile).mtimeMs, mtimeMs, 'nothing is written where nothing has changed');
  writeFileSync(at.ownFile, '');
  at.start().keep();
  t.strictSame(own(), ['edge', 'prod'], 'emptied by hand');
  writeFileSync(at.ownFile, settled.replaceAll('https://127.0.0.1', 'https://elsewhere'));
  at.start().keep();
  t.equal(readFileSync(at.ownFile, 'utf8'), settled);
  rmSync(at.ownFile);
  at.start().keep();
  t.strictSame(own(), ['edge', 'prod'], 'removed by hand');
  at.serve('prod');
  t.strictSame(own(), ['prod']);
  at.serve('prod', 'late');
  t.strictSame(own(), ['late', 'prod']);
});
