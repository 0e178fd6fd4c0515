import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import t from 'tap';
import { CUT_FORMS } from '../../src/emulator/google/faults.js';
import { processTree } from '../../src/emulator/pods/process-tree.js';
import { HeldScene } from '../support/held-scene.js';

const SETS = ['debian', 'python', 'script'] as const;
/** Each starts programs in all containers, which no cut of a watch does. */
const CUTS = Math.min(200, Math.ceil(Number(process.env['CGP_TEST_SOAK_CUTS'] ?? 200) / 4));
/** After these everything that is made once has been made. */
const WARM_UP = 5;

const FROM_CONTAINERS = ['processes', 'descriptors', 'files'] as const;

interface Figures {
  readonly processes: number;
  readonly descriptors: number;
  readonly files: number;
  readonly sockets: number;
  readonly timers: number;
}

function entries(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    // A process that has ended meanwhile.
    return 0;
  }
}

function figures(scene: HeldScene): Figures {
  const inContainers = processTree(process.pid).slice(1);
  const resources = process.getActiveResourcesInfo();
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
  return {
    processes: inContainers.length,
    descriptors: sum(inContainers.map((pid) => entries(`/proc/${pid}/fd`))),
    files: sum(scene.leftovers().map(entries)),
    sockets: resources.filter((name) => /TCP|TLS/.test(name)).length,
    timers: resources.filter((name) => /Timeout/.test(name)).length,
  };
}

/** What belongs to the last cut is given time to go: until nothing changes, or as it was is reached. */
async function settled(scene: HeldScene, wanted: Partial<Figures> = {}): Promise<Figures> {
  let now = figures(scene);
  for (let same = 0, looks = 0; looks < 200; looks++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = now;
    now = figures(scene);
    const changes = FROM_CONTAINERS.some((name) => now[name] !== before[name]);
    const tooMany = FROM_CONTAINERS.some((name) => now[name] > (wanted[name] ?? Infinity));
    same = changes || tooMany ? 0 : same + 1;
    if (same === 5) break;
  }
  return now;
}

t.test(`${CUTS} cuts of terminals leave nothing behind, in the containers and in the daemon`, async (t) => {
  const scene = await HeldScene.open(t, SETS);
  const clients = SETS.map((set) => scene.exec(set, ['bash', '--norc', '-i'], { tty: true }));
  const answer = (said: string): Promise<unknown> =>
    Promise.all(
      clients.map(async (client) => {
        await client.type(`echo ${said}$((1+1))\r`);
        await client.until(new RegExp(`${said}2\\r\\n`));
      }),
    );
  await answer('begin');
  let before: Figures | undefined;
  for (let cut = 0; cut < CUTS; cut++) {
    t.equal(scene.cut(CUT_FORMS[cut % CUT_FORMS.length] ?? 'reset'), SETS.length);
    await answer(`cut${cut}.`);
    if (cut === WARM_UP) before = await settled(scene);
  }
  const most = before ?? figures(scene);
  const after = await settled(scene, most);
  t.comment(`after ${WARM_UP} cuts: ${JSON.stringify(most)}; after ${CUTS}: ${JSON.stringify(after)}`);
  t.ok(after.processes <= most.processes, 'no process');
  t.ok(after.descriptors <= most.descriptors, 'no descriptor');
  // A holder in the shell has a file for each piece that is on its way; one left behind by each cut would be more.
  t.ok(after.files <= most.files + (CUTS - WARM_UP) / 2, 'no file');
  t.ok(after.sockets <= most.sockets + 4, 'no socket of the daemon');
  t.ok(after.timers <= most.timers + 4, 'no timer of the daemon');
  await Promise.all(
    clients.map(async (client) => {
      await client.type('exit 7\r');
      t.equal(await client.exitCode(), 7);
    }),
  );
  await scene.untilClean();
});

/** 100 MB. */
const LINES = 12_500_000;
const CUTS_OF_OUTPUT = 20;

t.test(`${LINES} lines of output, cut ${CUTS_OF_OUTPUT} times`, async (t) => {
  const scene = await HeldScene.open(t, SETS);
  const facts = execFileSync('sh', ['-c', `seq ${LINES} | wc -c; seq ${LINES} | sha256sum`], { encoding: 'utf8' });
  const [size = '', hash = ''] = facts.split(/\s+/);
  const bytes = Number(size);
  const all = SETS.map((set) => ({ set, client: scene.exec(set, ['seq', String(LINES)]) }));
  for (let cut = 1; cut <= CUTS_OF_OUTPUT; cut++) {
    await Promise.all(all.map(({ client }) => client.until(Math.floor((bytes / (CUTS_OF_OUTPUT + 1)) * cut))));
    scene.cut(CUT_FORMS[cut % CUT_FORMS.length] ?? 'reset');
  }
  for (const { set, client } of all) {
    t.equal(await client.exitCode(), 0, set);
    t.equal(client.out.length, bytes);
    t.equal(createHash('sha256').update(client.out, 'latin1').digest('hex'), hash, 'every byte once, in order');
  }
});

t.setTimeout(0);
