import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median } from './measure.js';
import { type Section, show } from './report.js';
import { GATEWAY_PATH, makeCertificates, startUntil } from './servers.js';

const RTT_MS = [0, 40, 120];
const CONCURRENCY = [1, 50, 500];
const CANDIDATES = ['h1', 'h2'] as const;
const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const SECONDS = Number(process.env['CGP_BENCH_SECONDS'] ?? 2);

type Figures = Readonly<Record<string, number>>;

/** The ways to ask a gateway, behind the one interface: pooled HTTP/1.1 connections, and HTTP/2 streams. */
export async function upstreams(): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-upstreams-'));
  const { ca, cert, key } = makeCertificates(folder);
  const server = await startUntil(process.execPath, [script('distant-server'), cert, key, ...RTT_MS.map(String)], {
    pattern: /^\{.*\}$/,
  });
  const ports = JSON.parse(server.match[0]) as Record<string, number>;
  const rows: Section['rows'][number][] = [];
  const ratios: Section['ratios'][number][] = [];
  try {
    for (const rtt of RTT_MS) {
      for (const concurrency of CONCURRENCY) {
        const results: Record<string, Figures[]> = { h1: [], h2: [] };
        for (let round = 0; round < ROUNDS; round++) {
          for (const candidate of CANDIDATES) {
            const url = `https://127.0.0.1:${ports[rtt]}${GATEWAY_PATH}`;
            results[candidate]?.push(await drive(candidate, { url, ca, concurrency }));
          }
        }
        for (const candidate of CANDIDATES)
          rows.push(row({ rtt, concurrency, candidate, runs: results[candidate] ?? [] }));
        for (const [key, what, better] of RATIOS) {
          const rounds = (results['h2'] ?? []).map((run, at) => Number(run[key]) / Number(results['h1']?.[at]?.[key]));
          // One watch may take no more than what was free already.
          if (!rounds.every(Number.isFinite)) continue;
          ratios.push({ what: `HTTP/2 to HTTP/1.1, ${rtt} ms RTT, ${concurrency} at once: ${what}`, better, rounds });
        }
      }
    }
    show('the ways to ask a gateway', rows);
    return { name: 'upstreams', rows, ratios };
  } finally {
    server.child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

const RATIOS = [
  ['perSecond', 'requests/s', 'more'],
  ['burstMs', 'time of a burst from nothing', 'less'],
  ['cpuMs', 'CPU per request', 'less'],
  ['largeMs', 'time of a 20 MB list', 'less'],
  ['openMs', 'time to open watches', 'less'],
  ['kibEach', 'memory of a watch', 'less'],
] as const;

function row(o: {
  rtt: number;
  concurrency: number;
  candidate: string;
  runs: readonly Figures[];
}): Section['rows'][number] {
  const of = (key: string, digits = 3): number =>
    Number(median(o.runs.map((run) => Number(run[key]))).toPrecision(digits));
  return {
    'RTT ms': o.rtt,
    'at once': o.concurrency,
    over: o.candidate,
    'burst ms': of('burstMs'),
    'req/s': of('perSecond'),
    'p50 ms': of('p50'),
    'p99 ms': of('p99'),
    'CPU ms/req': of('cpuMs'),
    '20 MB ms': of('largeMs'),
    'watches open ms': of('openMs'),
    'KiB a watch': of('kibEach'),
  };
}

async function drive(candidate: string, o: { url: string; ca: string; concurrency: number }): Promise<Figures> {
  const figures: Record<string, number> = {};
  for (const what of ['requests', 'watches']) {
    const words = [candidate, what, o.url, o.ca, String(o.concurrency), String(SECONDS)];
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script('drive'), ...words]);
    Object.assign(figures, JSON.parse(stdout));
  }
  return figures;
}

function script(name: string): string {
  return join(import.meta.dirname, 'candidates', `${name}.js`);
}
