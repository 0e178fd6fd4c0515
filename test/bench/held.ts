import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ToolSet, toolPath } from '../support/container-tools.js';
import { execStdin, execStdout, keystrokes, type Route } from './exec-figures.js';
import { startFleetScene } from './fleet-scene.js';
import { findKubectl } from './kubectl.js';
import { median } from './measure.js';
import { type Ratio, type Section, show } from './report.js';
import { MEBIBYTE } from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
/** Names of holders, with commas; all of them when left out. */
const CHOSEN = process.env['CGP_BENCH_HOLDERS']?.split(',');
/** What holds the command, and how many bytes it is given: to a shell every piece costs processes. */
const HELD: readonly (readonly [string, ToolSet, number])[] = [
  ['Perl', 'debian', 100 * MEBIBYTE],
  ['Python', 'python', 100 * MEBIBYTE],
  ['dash', 'script', 100 * MEBIBYTE],
  ['busybox', 'busybox', 100 * MEBIBYTE],
];
const SURVIVING = 'projects/123456789012/locations/global/memberships/edge-store';

/** An exec whose command is held in its container (`exec.onCutoff: survive`), beside one that is not, in the same pod. */
export async function held(): Promise<Section> {
  const scene = await startFleetScene({
    memberships: [{ name: SURVIVING, exec: { onCutoff: 'survive' } }],
  });
  const kubectl = findKubectl('1.33') ?? scene.kubectl;
  const kubeconfig = scene.kubeconfigs.daemon;
  // As in a container, where a session finds memory at /dev/shm.
  const temporary = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : scene.folder, 'cgp-bench-'));
  const rows: Record<string, string | number>[] = [];
  const ratios: Ratio[] = [];
  try {
    for (const [name, set, bytes] of HELD) {
      if (CHOSEN?.includes(name) === false) continue;
      const routes = ['prod', 'edge-store'].map((context): Route => ({ kubectl, kubeconfig, context, pod: set }));
      const { folder } = scene;
      for (const { context = '' } of routes) createPod({ kubectl, kubeconfig, context, set, folder, temporary });
      const [plain, surviving] = routes as [Route, Route];
      const figures: Record<string, number[][]> = {};
      for (let round = 0; round < ROUNDS; round++) {
        for (const [what, measure] of Object.entries<(route: Route) => Promise<number>>({
          'stdout, MiB/s': (route) => execStdout(route, bytes),
          'stdin, MiB/s': (route) => execStdin(route, bytes),
          'keystroke to echo, p50 ms': async (route) => (await keystrokes(route)).p50,
        })) {
          const pair = [await measure(plain), await measure(surviving)];
          figures[what] = [...(figures[what] ?? []), pair];
        }
      }
      for (const [what, pairs] of Object.entries(figures)) {
        const [without = [], within = []] = [0, 1].map((side) => pairs.map((pair) => pair[side] ?? Number.NaN));
        rows.push({ holder: name, what, plain: rounded(median(without)), held: rounded(median(within)) });
        const better = what.startsWith('keystroke') ? 'less' : 'more';
        const rounds = within.map((value, round) => value / (without[round] ?? Number.NaN));
        ratios.push({ what: `held exec ${what}: ${name}, to a plain exec`, better, rounds });
      }
    }
  } finally {
    scene.close();
    rmSync(temporary, { recursive: true, force: true });
  }
  show('an exec that is held in its container, and one that is not', rows);
  return { name: 'held', rows, ratios };
}

function createPod(o: {
  kubectl: string;
  kubeconfig: string;
  context: string;
  set: ToolSet;
  folder: string;
  temporary: string;
}): void {
  const env = [
    { name: 'PATH', value: toolPath(o.folder, o.set, ['sleep']) },
    { name: 'TMPDIR', value: o.temporary },
  ];
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: o.set },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: 'x', command: ['sleep', '100000'], env }],
    },
  };
  const kubectl = (words: readonly string[], input = ''): void => {
    execFileSync(o.kubectl, ['--kubeconfig', o.kubeconfig, '--context', o.context, ...words], { input, stdio: 'pipe' });
  };
  kubectl(['apply', '-f', '-'], JSON.stringify(pod));
  kubectl(['wait', '--for=condition=Ready', `pod/${o.set}`]);
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
