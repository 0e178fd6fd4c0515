import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type FleetScene, startFleetScene } from './fleet-scene.js';
import { findKubectl } from './kubectl.js';
import { exponent, peakRssMiB, resetPeakRss, rssMiB } from './measure.js';
import { type Section, show } from './report.js';
import { GATEWAY_PATH, MEBIBYTE, makeCertificates, startDaemon, startUntil } from './servers.js';

/** What is carried, in MiB, and what is kept open: each at three sizes, to see whether the daemon's memory follows. */
const CARRIED = [100, 320, 1024];
const CONNECTIONS = [100, 320, 1000];
/** Slower than all that stands before it. */
const SLOW_MIB_PER_SECOND = 64;

interface Figures {
  readonly before: number;
  readonly peak: number;
}

/** The most that the daemon ever held while it carried so much, beside what it holds when it carries nothing. */
export async function memory(): Promise<Section> {
  const rows: Section['rows'][number][] = [];
  const ratios: Section['ratios'][number][] = [];
  for (const [what, measure] of Object.entries(CASES)) {
    const sizes = what.includes('connections') ? CONNECTIONS : CARRIED;
    const peaks: number[] = [];
    for (const size of sizes) {
      const { before, peak } = await measure(size);
      peaks.push(peak);
      rows.push({ what, size, 'RSS before, MiB': Math.round(before), 'peak RSS, MiB': Math.round(peak) });
    }
    ratios.push({ what: `exponent of peak RSS: ${what}`, better: 'less', rounds: [exponent(sizes, peaks)] });
  }
  show('the most that the daemon held', rows);
  return { name: 'memory', rows, ratios };
}

const CASES: Readonly<Record<string, (size: number) => Promise<Figures>>> = {
  'a list of so many MiB to a slow client': slowList,
  'kubectl exec to a slow reader over WebSocket, MiB': (size) =>
    inScene((at) => slowExec(at, { size, version: '1.33' })),
  'kubectl exec to a slow reader over SPDY, MiB': (size) => inScene((at) => slowExec(at, { size, version: '1.29' })),
  'kubectl cp out of a pod, MiB': (size) => inScene((at) => copyOut(at, size)),
  'kubectl exec from a fast writer to a slow pod, MiB': (size) => inScene((at) => slowStdin(at, size)),
  'so many idle connections of clients': (size) => inScene((at) => idleConnections(at, size)),
};

async function inScene(act: (scene: FleetScene) => Promise<void>): Promise<Figures> {
  const scene = await startFleetScene();
  try {
    return await peakOf(scene.daemonPid, () => act(scene));
  } finally {
    scene.close();
  }
}

async function peakOf(pid: number, act: () => Promise<void>): Promise<Figures> {
  const before = rssMiB([pid]);
  resetPeakRss(pid);
  await act();
  return { before, peak: peakRssMiB(pid) };
}

/** Lets through no more than so much a second. */
function throttle(): Transform {
  const begun = performance.now();
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      const due = (bytes / MEBIBYTE / SLOW_MIB_PER_SECOND) * 1000;
      setTimeout(() => done(null, chunk), Math.max(0, due - (performance.now() - begun)));
    },
  });
}

async function drain(stream: Readable): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) bytes += (chunk as Buffer).length;
  return bytes;
}

async function slowList(size: number): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-memory-'));
  const { ca, cert, key } = makeCertificates(folder);
  const server = await startUntil(
    process.execPath,
    [join(import.meta.dirname, 'candidates/distant-server.js'), cert, key, '0'],
    {
      pattern: /^\{"0":(\d+)\}$/,
    },
  );
  const origin = `https://127.0.0.1:${server.match[1]}${GATEWAY_PATH}`;
  const daemon = await startDaemon({ folder, origin, ca });
  try {
    const { url, headers } = daemon.contestant;
    const trusted = readFileSync(join(folder, 'daemon-ca.pem'));
    return await peakOf(daemon.child.pid ?? 0, async () => {
      const response = await new Promise<Readable>((resolve, reject) => {
        get(`${url}/api/v1/bytes/${size * MEBIBYTE}`, { headers, ca: trusted, agent: false }, (answer) => {
          if (answer.statusCode === 200) resolve(answer);
          else reject(new Error(`the list was answered ${answer.statusCode}`));
        }).on('error', reject);
      });
      expect(await drain(response.pipe(throttle())), size);
    });
  } finally {
    daemon.child.kill('SIGKILL');
    server.child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function slowExec(scene: FleetScene, o: { size: number; version: string }): Promise<void> {
  const kubectl = findKubectl(o.version) ?? scene.kubectl;
  const command = ['exec', 'box', '--', 'head', '-c', String(o.size * MEBIBYTE), '/dev/zero'];
  const child = spawn(kubectl, ['--kubeconfig', scene.kubeconfigs.daemon, ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  expect(await drain(child.stdout.pipe(throttle())), o.size);
}

async function copyOut(scene: FleetScene, size: number): Promise<void> {
  const source = join(scene.folder, 'large');
  const target = join(scene.folder, 'copied');
  await pipeline(zeros(size), createWriteStream(source));
  const words = ['--kubeconfig', scene.kubeconfigs.daemon, 'cp', `box:${source}`, target];
  await new Promise<void>((resolve, reject) => {
    spawn(scene.kubectl, words, { stdio: 'ignore' }).once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`kubectl cp ended with ${code}`)),
    );
  });
  for (const file of [source, target]) rmSync(file, { force: true });
}

async function slowStdin(scene: FleetScene, size: number): Promise<void> {
  const slowly = `n=0; while [ $n -lt ${size} ]; do head -c ${MEBIBYTE} >/dev/null; n=$((n+1)); sleep 0.01; done; echo done`;
  const words = ['--kubeconfig', scene.kubeconfigs.daemon, 'exec', '-i', 'box', '--', 'sh', '-c', slowly];
  const child = spawn(scene.kubectl, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  zeros(size).pipe(child.stdin);
  if ((await drain(child.stdout)) !== 'done\n'.length) throw new Error('the pod did not read to the end');
}

async function idleConnections({ endpoint }: FleetScene, count: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, ca: endpoint.ca });
  const headers = { Authorization: `Bearer ${endpoint.token}` };
  await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<void>((resolve, reject) => {
          get(`${endpoint.url}/version`, { headers, agent }, (answer) => {
            answer.resume().on('end', resolve);
          }).on('error', reject);
        }),
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, 1000));
  agent.destroy();
}

function zeros(size: number): Readable {
  const piece = Buffer.alloc(65_536);
  return Readable.from(
    (function* () {
      for (let left = size * MEBIBYTE; left > 0; left -= piece.length) yield piece;
    })(),
  );
}

function expect(bytes: number, size: number): void {
  if (bytes !== size * MEBIBYTE) throw new Error(`${bytes} bytes came of ${size} MiB`);
}
