import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { type FleetScene, startFleetScene } from './fleet-scene.js';
import { findKubectl } from './kubectl.js';
import { median } from './measure.js';
import { type Ratio, type Section, show } from './report.js';
import { MEBIBYTE, startUntil } from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const BYTES = 200 * MEBIBYTE;
const KEYSTROKES = 300;
/** An old kubectl cannot reach the gateway without the daemon: its figures are compared with the new one's. */
const CLIENTS = { direct: '1.33', WebSocket: '1.33', SPDY: '1.29' } as const;

type Way = keyof typeof CLIENTS;
/** One way to carry streams: which kubectl, and where it connects to. */
interface Route {
  readonly kubectl: string;
  readonly kubeconfig: string;
}

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
        note('exec stdout, MiB/s', way, await execStdout(route));
        note('exec stdin, MiB/s', way, await execStdin(route));
        note('port-forward down, MiB/s', way, await forwarded(route, `/bytes/${BYTES}`));
        note('port-forward up and down, MiB/s', way, await forwarded(route, '/echo', zeros()));
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

async function execStdout({ kubectl, kubeconfig }: Route): Promise<number> {
  const begun = performance.now();
  const child = start(kubectl, kubeconfig, ['exec', 'box', '--', 'head', '-c', String(BYTES), '/dev/zero']);
  child.stdin.end();
  let got = 0;
  for await (const chunk of child.stdout) got += (chunk as Buffer).length;
  if (got !== BYTES) throw new Error(`exec gave ${got} bytes of ${BYTES}`);
  return rate(begun);
}

async function execStdin({ kubectl, kubeconfig }: Route): Promise<number> {
  const begun = performance.now();
  const child = start(kubectl, kubeconfig, ['exec', '-i', 'box', '--', 'wc', '-c']);
  zeros().pipe(child.stdin);
  let said = '';
  for await (const chunk of child.stdout) said += String(chunk);
  if (Number(said) !== BYTES) throw new Error(`exec was told ${said} bytes of ${BYTES}`);
  return rate(begun);
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
    return rate(begun);
  } finally {
    child.kill('SIGKILL');
  }
}

async function keystrokes({ kubectl, kubeconfig }: Route): Promise<{ p50: number; p99: number }> {
  const child = start(kubectl, kubeconfig, ['exec', '-i', 'box', '--', 'cat']);
  const press = async (): Promise<number> => {
    const begun = performance.now();
    const echoed = once(child.stdout, 'data');
    child.stdin.write('x');
    await echoed;
    return performance.now() - begun;
  };
  for (let i = 0; i < 20; i++) await press();
  const times: number[] = [];
  for (let i = 0; i < KEYSTROKES; i++) times.push(await press());
  child.kill('SIGKILL');
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.floor(part * (times.length - 1))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function start(kubectl: string, kubeconfig: string, words: readonly string[]): ChildProcessWithoutNullStreams {
  const child = spawn(kubectl, ['--kubeconfig', kubeconfig, ...words], { stdio: 'pipe' });
  child.stdin.on('error', () => {});
  child.stderr.pipe(process.stderr);
  return child;
}

function zeros(): Readable {
  const piece = Buffer.alloc(65_536);
  return Readable.from(
    (function* () {
      for (let left = BYTES; left > 0; left -= piece.length) yield piece;
    })(),
  );
}

function rate(begun: number): number {
  return BYTES / MEBIBYTE / ((performance.now() - begun) / 1000);
}
