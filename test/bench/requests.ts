import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newestKubectl } from './kubectl.js';
import { load, median, processTree, type Run } from './measure.js';
import { type Ratio, type Section, show } from './report.js';
import {
  type Contestant,
  freePort,
  GATEWAY_PATH,
  GOOGLE_TOKEN,
  makeCertificates,
  OVER_HTTP,
  originConfig,
  proxyConfig,
  startDaemon,
  startNginx,
  startUntil,
  untilReady,
} from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const SECONDS = Number(process.env['CGP_BENCH_SECONDS'] ?? 4);

let folder = '';
const children: ChildProcess[] = [];
const pidOf = (child: ChildProcess): number => child.pid ?? 0;

/** Plain requests beside `kubectl proxy`, nginx and no proxy at all. */
export async function requests(): Promise<Section> {
  folder = mkdtempSync(join(tmpdir(), 'cgp-bench-'));
  try {
    return report(await measureAll(await startAll()));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startAll(): Promise<Contestant[]> {
  const { ca, cert, key } = makeCertificates(folder);
  process.env['SSL_CERT_FILE'] = ca;
  const originPort = await freePort();
  children.push(startNginx({ folder, name: 'origin', http: originConfig({ port: originPort, cert, key, folder }) }));
  const origin = `https://127.0.0.1:${originPort}${GATEWAY_PATH}`;
  const google = { Authorization: `Bearer ${GOOGLE_TOKEN}` };
  const direct: Contestant = { name: 'direct', url: origin, headers: google, pids: () => [] };
  await untilReady(`${origin}/api/v1/small`, { ca, headers: google });

  const nginxPort = await freePort();
  const nginx = startNginx({ folder, name: 'proxy', http: proxyConfig({ port: nginxPort, originPort, cert, key }) });
  children.push(nginx);

  const daemon = await startDaemon({ folder, origin, ca });
  children.push(daemon.child);
  const contestants = [
    direct,
    {
      name: 'nginx',
      url: `https://127.0.0.1:${nginxPort}`,
      headers: { Authorization: 'Bearer local' },
      pids: () => processTree(pidOf(nginx)),
    },
    await startKubectlProxy({ origin, ca }),
    daemon.contestant,
    daemon.overHttp,
  ].filter((contestant) => contestant !== undefined);
  for (const contestant of contestants) {
    await untilReady(`${contestant.url}/api/v1/small`, {
      ca: contestant.name === 'daemon' ? join(folder, 'daemon-ca.pem') : ca,
      headers: contestant.headers,
    });
  }
  return contestants;
}

async function startKubectlProxy(o: { origin: string; ca: string }): Promise<Contestant | undefined> {
  const kubectl = newestKubectl();
  if (kubectl === undefined) {
    console.error('no kubectl found: the comparison with kubectl proxy is left out');
    return undefined;
  }
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: o.origin, 'certificate-authority': o.ca } }],
      users: [{ name: 'u', user: { token: GOOGLE_TOKEN } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const { child, match } = await startUntil(
    kubectl,
    ['proxy', '--port=0', '--append-server-path', `--kubeconfig=${kubeconfig}`],
    {
      pattern: /Starting to serve on (127\.0\.0\.1:\d+)/,
    },
  );
  children.push(child);
  return { name: 'kubectl proxy', url: `http://${match[1]}`, headers: {}, pids: () => [pidOf(child)] };
}

interface Runs {
  readonly small: Run[];
  readonly large: Run[];
}
type Results = Record<string, Runs>;

/** Round by round, every contestant in turn, so that a machine that slows down slows them all. */
async function measureAll(contestants: readonly Contestant[]): Promise<Results> {
  const results: Results = {};
  for (const contestant of contestants) await load(contestant, { path: '/api/v1/small', connections: 16, seconds: 5 });
  for (let round = 0; round < ROUNDS; round++) {
    for (const contestant of contestants) {
      const kept = results[contestant.name] ?? { small: [], large: [] };
      results[contestant.name] = kept;
      kept.small.push(await load(contestant, { path: '/api/v1/small', connections: 16, seconds: SECONDS }));
      kept.large.push(await load(contestant, { path: '/api/v1/large', connections: 1, seconds: SECONDS }));
    }
  }
  return results;
}

function report(results: Results): Section {
  const rows = Object.entries(results).map(([name, { small, large }]) => ({
    name,
    'req/s': Math.round(median(small.map((run) => run.requestsPerSecond))),
    'p50 ms': median(small.map((run) => run.p50Ms)),
    'p99 ms': median(small.map((run) => run.p99Ms)),
    'CPU ms/req': Number(median(small.map((run) => run.cpuMsPerRequest)).toFixed(4)),
    '20 MB MiB/s': Math.round(median(large.map((run) => run.bytesPerSecond)) / 1024 ** 2),
    'RSS MiB': Math.round(Math.max(...[...small, ...large].map((run) => run.rssMiB))),
  }));
  show('plain requests: 3 kB at 16 connections, and a list of 20 MB', rows);
  const ratios: Ratio[] = [];
  for (const [name, way, peer] of [
    ['daemon', '', 'kubectl proxy'],
    ['daemon', '', 'nginx'],
    ['daemon', '', 'direct'],
    [OVER_HTTP, ' over plain HTTP', 'kubectl proxy'],
  ] as const) {
    const [own, others] = [results[name], results[peer]];
    if (others === undefined || own === undefined) continue;
    const ratio = (what: string, better: Ratio['better'], read: (of: Runs) => readonly number[]): void => {
      const rounds = read(own).map((value, round) => value / (read(others)[round] ?? Number.NaN));
      if (rounds.every(Number.isFinite)) ratios.push({ what: `${what}${way}, to ${peer}`, better, rounds });
    };
    ratio('requests/s', 'more', ({ small }) => small.map((run) => run.requestsPerSecond));
    ratio('p50', 'less', ({ small }) => small.map((run) => run.p50Ms));
    ratio('p99', 'less', ({ small }) => small.map((run) => run.p99Ms));
    ratio('CPU per request', 'less', ({ small }) => small.map((run) => run.cpuMsPerRequest));
    ratio('20 MB list, bytes/s', 'more', ({ large }) => large.map((run) => run.bytesPerSecond));
  }
  return { name: 'requests', rows, ratios };
}
