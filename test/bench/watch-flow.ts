import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WATCH_TYPES } from './candidates/watch-chunks.js';
import { cpuMs, median } from './measure.js';
import { type Ratio, type Section, show } from './report.js';
import {
  type Contestant,
  GATEWAY_PATH,
  GOOGLE_TOKEN,
  MEBIBYTE,
  makeCertificates,
  startDaemon,
  startUntil,
} from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const ENCODINGS = Object.keys(WATCH_TYPES);
const EVENT_BYTES = [500, 5000, 50_000];
const CARRIED = 128 * MEBIBYTE;

/** A watch that never rests, through the daemon and through a pipe that looks at nothing. */
export async function watchFlow(): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-flow-'));
  const children: ChildProcess[] = [];
  const start = async (name: string, args: readonly string[], pattern: RegExp): Promise<[ChildProcess, string]> => {
    const file = join(import.meta.dirname, 'candidates', `${name}.js`);
    const { child, match } = await startUntil(process.execPath, [file, ...args], { pattern });
    children.push(child);
    return [child, match[1] ?? ''];
  };
  try {
    const { ca, cert, key } = makeCertificates(folder);
    const [, port] = await start('distant-server', [cert, key, '0'], /^\{"0":(\d+)\}$/);
    const [pipe, pipePort] = await start('raw-pipe', [cert, key, ca, port], /^pipe (\d+)$/);
    const daemon = await startDaemon({ folder, origin: `https://127.0.0.1:${port}${GATEWAY_PATH}`, ca });
    children.push(daemon.child);
    const raw: Contestant = {
      name: 'raw pipe',
      url: `https://127.0.0.1:${pipePort}${GATEWAY_PATH}`,
      headers: { Authorization: `Bearer ${GOOGLE_TOKEN}` },
      pids: () => [pipe.pid ?? 0],
    };
    return await measure([
      { contestant: raw, trusted: readFileSync(ca) },
      { contestant: daemon.contestant, trusted: readFileSync(join(folder, 'daemon-ca.pem')) },
    ]);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Way {
  readonly contestant: Contestant;
  readonly trusted: Buffer;
}

interface Flow {
  readonly mibPerSecond: number;
  readonly cpuMsPerMib: number;
}

async function measure(ways: readonly [raw: Way, daemon: Way]): Promise<Section> {
  const rows: Section['rows'][number][] = [];
  const ratios: Ratio[] = [];
  for (const encoding of ENCODINGS) {
    for (const bytes of EVENT_BYTES) {
      const flows: [Flow[], Flow[]] = [[], []];
      for (let round = 0; round < ROUNDS; round++) {
        for (const at of [0, 1] as const) flows[at].push(await flow(ways[at], encoding, bytes));
      }
      const middle = (at: 0 | 1, key: keyof Flow): number => median(flows[at].map((one) => one[key]));
      rows.push({
        events: `${encoding}, ${bytes} bytes`,
        'raw pipe, MiB/s': Math.round(middle(0, 'mibPerSecond')),
        'daemon, MiB/s': Math.round(middle(1, 'mibPerSecond')),
        'raw pipe, CPU ms/MiB': Number(middle(0, 'cpuMsPerMib').toFixed(2)),
        'daemon, CPU ms/MiB': Number(middle(1, 'cpuMsPerMib').toFixed(2)),
      });
      ratios.push({
        what: `watch of ${encoding} events of ${bytes} bytes, bytes/s, to a raw pipe`,
        better: 'more',
        rounds: flows[1].map(({ mibPerSecond }, round) => mibPerSecond / (flows[0][round]?.mibPerSecond ?? Number.NaN)),
      });
    }
  }
  show(`a watch that never rests, ${CARRIED / MEBIBYTE} MiB`, rows);
  return { name: 'watch-flow', rows, ratios };
}

function flow({ contestant, trusted }: Way, encoding: string, bytes: number): Promise<Flow> {
  const url = `${contestant.url}/api/v1/namespaces/flow-${encoding}-${bytes}/pods?watch=1&resourceVersion=1`;
  const headers = { ...contestant.headers, Accept: WATCH_TYPES[encoding] ?? '' };
  return new Promise((resolve, reject) => {
    const request = get(url, { headers, ca: trusted, agent: false }, (response) => {
      if (response.statusCode !== 200) {
        reject(new Error(`${contestant.name} answered ${response.statusCode}`));
        return;
      }
      const begun = performance.now();
      const cpuBefore = cpuMs(contestant.pids());
      let left = CARRIED;
      response.on('data', (chunk: Buffer) => {
        left -= chunk.length;
        if (left > 0) return;
        const carried = (CARRIED - left) / MEBIBYTE;
        resolve({
          mibPerSecond: (carried / (performance.now() - begun)) * 1000,
          cpuMsPerMib: (cpuMs(contestant.pids()) - cpuBefore) / carried,
        });
        request.destroy();
      });
      response.on('end', () => reject(new Error(`${contestant.name} has ended a watch`)));
    });
    request.on('error', reject);
  });
}
