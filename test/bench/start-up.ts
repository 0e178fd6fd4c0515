import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cpuMs, median, rssMiB } from './measure.js';
import { type Section, show } from './report.js';
import { freePort, startUntil } from './servers.js';

const COUNTS = [1, 50, 500];
const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const IDLE_MS = 10_000;

/** From the start of the process to `ready`, and what the daemon costs when nobody asks it anything. */
export async function startUp(): Promise<Section> {
  const rows: Section['rows'][number][] = [];
  const bare = await timesOf(ROUNDS, bareNode);
  rows.push({
    memberships: 'node alone',
    'ready, ms': Math.round(median(bare)),
    'RSS MiB': '',
    'wake-ups/s': '',
    'CPU %': '',
  });
  const ready: number[][] = [];
  for (const count of COUNTS) {
    const runs: Idle[] = [];
    for (let round = 0; round < ROUNDS; round++) runs.push(await start(count, round === 0));
    ready.push(runs.map((run) => run.readyMs));
    const [first] = runs;
    rows.push({
      memberships: count,
      'ready, ms': Math.round(median(runs.map((run) => run.readyMs))),
      'RSS MiB': Math.round(first?.rss ?? 0),
      'wake-ups/s': Number((first?.wakeUps ?? 0).toFixed(2)),
      'CPU %': Number((first?.cpu ?? 0).toFixed(2)),
    });
  }
  show('start and idle, with so many memberships', rows);
  return {
    name: 'start-up',
    rows,
    ratios: COUNTS.map((count, at) => ({
      what: `time to ready with ${count} memberships, to a bare node process`,
      better: 'less' as const,
      rounds: (ready[at] ?? []).map((ms, round) => ms / (bare[round] ?? Number.NaN)),
    })),
  };
}

interface Idle {
  readonly readyMs: number;
  readonly rss: number;
  readonly wakeUps: number;
  readonly cpu: number;
}

async function start(count: number, watchIdle: boolean): Promise<Idle> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-start-'));
  const config = join(folder, 'config.yaml');
  const tokenFile = join(folder, 'token');
  const stateDir = join(folder, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  writeFileSync(tokenFile, 'ya29.bench', { mode: 0o600 });
  writeFileSync(
    config,
    JSON.stringify({
      memberships: Array.from({ length: count }, (_, index) => ({
        name: `projects/1/locations/global/memberships/m${index}`,
      })),
      identities: { default: { source: 'token-file', tokenFile } },
      listen: { port: await freePort(), membershipPorts: '20000-20999' },
      stateDir,
    }),
  );
  const main = join(process.cwd(), 'dist/main.js');
  const run = () => startUntil(process.execPath, [main, 'run', '--config', config], { pattern: /ready/ });
  try {
    // The first start makes keys and certificates, once in an installation's life.
    const first = await run();
    first.child.kill('SIGKILL');
    await new Promise((resolve) => first.child.once('close', resolve));
    const begun = performance.now();
    const { child } = await run();
    const readyMs = performance.now() - begun;
    const pid = child.pid ?? 0;
    if (!watchIdle) {
      child.kill('SIGKILL');
      return { readyMs, rss: 0, wakeUps: 0, cpu: 0 };
    }
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const [cpuBefore, wakesBefore] = [cpuMs([pid]), voluntarySwitches(pid)];
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const idle = {
      readyMs,
      rss: rssMiB([pid]),
      wakeUps: (voluntarySwitches(pid) - wakesBefore) / (IDLE_MS / 1000),
      cpu: ((cpuMs([pid]) - cpuBefore) / IDLE_MS) * 100,
    };
    child.kill('SIGKILL');
    return idle;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How often the main thread has gone to sleep, which is how often something has woken it. */
function voluntarySwitches(pid: number): number {
  const status = readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8');
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}

async function timesOf(rounds: number, run: () => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    await run();
    times.push(performance.now() - begun);
  }
  return times;
}

function bareNode(): Promise<void> {
  return new Promise((resolve) => spawn(process.execPath, ['-e', '0']).once('close', () => resolve()));
}
