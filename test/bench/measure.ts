import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Contestant } from './servers.js';

export interface Run {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsPerRequest: number;
  readonly rssMiB: number;
}

const UNITS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  B: 1,
  KB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
};

/** wrk against one contestant, with the CPU that its own processes took meanwhile. */
export async function load(
  contestant: Contestant,
  o: { path: string; connections: number; seconds: number },
): Promise<Run> {
  const headers = Object.entries(contestant.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const cpuBefore = cpuMs(contestant.pids());
  const text = await output('wrk', [
    '-t1',
    `-c${o.connections}`,
    `-d${o.seconds}s`,
    '--latency',
    ...headers,
    contestant.url + o.path,
  ]);
  const cpu = cpuMs(contestant.pids()) - cpuBefore;
  const field = (pattern: RegExp): number => {
    const [, value = '0', unit = ''] = pattern.exec(text) ?? [];
    return Number(value) * (UNITS[unit] ?? 1);
  };
  const requests = field(/(\d+) requests in/);
  if (/Non-2xx/.test(text) || requests === 0) throw new Error(`${contestant.name} answered with errors:\n${text}`);
  return {
    requestsPerSecond: field(/Requests\/sec:\s+([\d.]+)/),
    bytesPerSecond: field(/Transfer\/sec:\s+([\d.]+)(\w+)/),
    p50Ms: field(/50%\s+([\d.]+)(us|ms|s)/),
    p99Ms: field(/99%\s+([\d.]+)(us|ms|s)/),
    cpuMsPerRequest: cpu / requests,
    rssMiB: rssMiB(contestant.pids()),
  };
}

function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', () => resolve(text));
  });
}

/** A process and all its descendants. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = readStat(Number(entry));
    if (stat !== undefined) children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(entry)]);
  }
  const tree: number[] = [];
  const visit = (pid: number): void => {
    tree.push(pid);
    for (const child of children.get(pid) ?? []) visit(child);
  };
  visit(root);
  return tree;
}

function readStat(pid: number): { parent: number; ticks: number } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export function cpuMs(pids: readonly number[]): number {
  const ticks = pids.reduce((sum, pid) => sum + (readStat(pid)?.ticks ?? 0), 0);
  return (ticks / TICKS_PER_SECOND) * 1000;
}

export function rssMiB(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return sum + Number(match?.[1] ?? 0) / 1024;
  }, 0);
}

/** The most that a process has held since `resetPeakRss`. */
export function peakRssMiB(pid: number): number {
  const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN) / 1024;
}

export function resetPeakRss(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** How a figure grows with the work, by its slope in a double logarithmic plot: 1 is in proportion, 0 is not at all. */
export function exponent(sizes: readonly number[], figures: readonly number[]): number {
  const x = sizes.map(Math.log);
  const y = figures.map(Math.log);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [meanX, meanY] = [mean(x), mean(y)];
  const above = x.reduce((sum, value, at) => sum + (value - meanX) * ((y[at] ?? Number.NaN) - meanY), 0);
  const below = x.reduce((sum, value) => sum + (value - meanX) ** 2, 0);
  return above / below;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = [sorted[middle - 1], sorted[middle]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}
