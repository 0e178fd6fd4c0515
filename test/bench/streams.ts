import { request } from 'node:http';
import type { Readable } from 'node:stream';
import { execStdin, execStdout, keystrokes, type Route, rate, zeros } from './exec-figures.js';
import { type FleetScene, startFleetScene } from './fleet-scene.js';
import { findKubectl } from './kubectl.js';
import { median } from './measure.js';
import { type Ratio, type Section, show } from './report.js';
import { MEBIBYTE, startUntil } from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const BYTES = 200 * MEBIBYTE;
/** An old kubectl cannot reach the gateway without the daemon: its figures are compared with the new one's. */
const CLIENTS = { direct: '1.33', WebSocket: '1.33', SPDY: '1.29' } as const;

type Way = keyof typeof CLIENTS;
/** What kubectl's streams carry through the daemon, beside kubectl straight to the gateway. */
export async function streams(): Promise<Section> {
  const scene = await startFleetScene();
  try {
    const routes = routesOf(scene);
    const results: Record<string, Partial<Record<Way, number[]>>> = {};
    const note = (what: string, way: Way, value: number): void => {
      const ways = results[what] ?? {};
      results[what] = { ...ways, [way]: [...(ways[way] ?? []), value] };
    };
    for (let round = 0; round < ROUNDS; round++) {
      for (const [way, route] of routes) {
        note('exec stdout, MiB/s', way, await execStdout(route, BYTES));
        note('exec stdin, MiB/s', way, await execStdin(route, BYTES));
        note('port-forward down, MiB/s', way, await forwarded(route, `/bytes/${BYTES}`));
        note('port-forward up and down, MiB/s', way, await forwarded(route, '/echo', zeros(BYTES)));
        const { p50, p99 } = await keystrokes(route);
        note('keystroke to echo, p50 ms', way, p50);
        note('keystroke to echo, p99 ms', way, p99);
      }
    }
    return report(results);
  } finally {
    scene.close();
  }
}

function report(results: Readonly<Record<string, Partial<Record<Way, number[]>>>>): Section {
  const rows = Object.entries(results).map(([what, ways]) => ({
    what,
    ...Object.fromEntries(Object.entries(ways).map(([way, values]) => [way, Number(median(values).toPrecision(3))])),
  }));
  show(`kubectl's streams through the daemon and direct, ${BYTES / MEBIBYTE} MiB each`, rows);
  const ratios: Ratio[] = [];
  for (const [what, { direct, ...through }] of Object.entries(results)) {
    for (const [way, values] of Object.entries(through)) {
      const rounds = values.map((value, round) => value / (direct?.[round] ?? Number.NaN));
      const better = what.startsWith('keystroke') ? 'less' : 'more';
      ratios.push({ what: `${what}: ${way}, to direct`, better, rounds });
    }
  }
  return { name: 'streams', rows, ratios };
}

function routesOf(scene: FleetScene): [Way, Route][] {
  return (Object.keys(CLIENTS) as Way[]).map((way) => {
    const kubectl = findKubectl(CLIENTS[way]) ?? scene.kubectl;
    return [way, { kubectl, kubeconfig: scene.kubeconfigs[way === 'direct' ? 'direct' : 'daemon'] }];
  });
}

async function forwarded({ kubectl, kubeconfig }: Route, path: string, body?: Readable): Promise<number> {
  const { child, match } = await startUntil(
    kubectl,
    ['--kubeconfig', kubeconfig, 'port-forward', 'service/hello', ':80'],
    { pattern: /Forwarding from 127\.0\.0\.1:(\d+)/ },
  );
  try {
    const begun = performance.now();
    const got = await new Promise<number>((resolve, reject) => {
      const asked = request({ port: Number(match[1]), path, method: body === undefined ? 'GET' : 'POST' }, (answer) => {
        let count = 0;
        answer.on('data', (chunk: Buffer) => {
          count += chunk.length;
        });
        answer.on('end', () => resolve(count)).on('error', reject);
      });
      asked.on('error', reject);
      if (body === undefined) asked.end();
      else body.pipe(asked);
    });
    if (got !== BYTES) throw new Error(`port-forward gave ${got} bytes of ${BYTES}`);
    return rate(BYTES, begun);
  } finally {
    child.kill('SIGKILL');
  }
}
