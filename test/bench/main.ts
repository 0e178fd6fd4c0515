import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { load, median, processTree, type Run } from './measure.js';
import {
  type Contestant,
  freePort,
  GATEWAY_PATH,
  GOOGLE_TOKEN,
  makeCertificates,
  originConfig,
  proxyConfig,
  startNginx,
  startUntil,
  untilReady,
} from './servers.js';

const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3);
const SECONDS = Number(process.env['CGP_BENCH_SECONDS'] ?? 4);

const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-'));
const children: ChildProcess[] = [];
const pidOf = (child: ChildProcess): number => child.pid ?? 0;

try {
  const contestants = await startAll();
  const results = await measureAll(contestants);
  report(results);
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
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

  const contestants = [
    direct,
    {
      name: 'nginx',
      url: `https://127.0.0.1:${nginxPort}`,
      headers: { Authorization: 'Bearer local' },
      pids: () => processTree(pidOf(nginx)),
    },
    await startKubectlProxy({ origin, ca }),
    await startDaemon({ origin, ca }),
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

function newestKubectl(): string | undefined {
  const given = process.env['CGP_TEST_NEWEST_KUBECTL'];
  if (given) return given;
  for (const command of ['gcloud', 'kubectl']) {
    try {
      const path = realpathSync(execFileSync('which', [command], { encoding: 'utf8' }).trim());
      if (command === 'kubectl') return path;
      const minor = [33, 32, 31].find((version) => {
        try {
          return realpathSync(join(dirname(path), `kubectl.1.${version}`));
        } catch {
          return false;
        }
      });
      if (minor !== undefined) return join(dirname(path), `kubectl.1.${minor}`);
    } catch {
      // Not on this machine: look for the next.
    }
  }
  return undefined;
}

async function startDaemon(o: { origin: string; ca: string }): Promise<Contestant> {
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, GOOGLE_TOKEN, { mode: 0o600 });
  const config = join(folder, 'config.yaml');
  const state = join(folder, 'state');
  const port = await freePort();
  const hub = await freePort();
  writeFileSync(
    config,
    JSON.stringify({
      memberships: [{ name: 'projects/1/locations/global/memberships/bench', endpoint: o.origin, port }],
      identities: { default: { source: 'token-file', tokenFile } },
      endpoints: { caFile: o.ca },
      listen: { port: hub },
      stateDir: state,
      log: { level: 'warn' },
    }),
  );
  mkdirSync(state, { mode: 0o700 });
  const main = join(process.cwd(), 'dist/main.js');
  const { child } = await startUntil(process.execPath, [main, 'run', '--config', config, '--log-level', 'info'], {
    pattern: /ready/,
  });
  children.push(child);
  const kubeconfig = execFileSync(process.execPath, [main, 'kubeconfig', '--stdout', '--config', config], {
    encoding: 'utf8',
  });
  const value = (name: string): string => new RegExp(`${name}: "?([^"\\s]+)`).exec(kubeconfig)?.[1] ?? '';
  writeFileSync(join(folder, 'daemon-ca.pem'), Buffer.from(value('certificate-authority-data'), 'base64'));
  return {
    name: 'daemon',
    url: value('server'),
    headers: { Authorization: `Bearer ${value('token')}` },
    pids: () => [pidOf(child)],
  };
}

type Results = Record<string, { small: Run[]; large: Run[] }>;

/** Round by round, every contestant in turn, so that a machine that slows down slows them all. */
async function measureAll(contestants: readonly Contestant[]): Promise<Results> {
  const results: Results = {};
  for (const contestant of contestants) await load(contestant, { path: '/api/v1/small', connections: 16, seconds: 2 });
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

function report(results: Results): void {
  const rows = Object.entries(results).map(([name, { small, large }]) => ({
    name,
    'req/s': Math.round(median(small.map((run) => run.requestsPerSecond))),
    'p50 ms': median(small.map((run) => run.p50Ms)),
    'p99 ms': median(small.map((run) => run.p99Ms)),
    'CPU ms/req': Number(median(small.map((run) => run.cpuMsPerRequest)).toFixed(4)),
    '20 MB MiB/s': Math.round(median(large.map((run) => run.bytesPerSecond)) / 1024 ** 2),
    'RSS MiB': Math.round(Math.max(...[...small, ...large].map((run) => run.rssMiB))),
  }));
  console.table(rows);
  const of = (name: string): (typeof rows)[number] | undefined => rows.find((row) => row.name === name);
  const daemon = of('daemon');
  const ratios: Record<string, Record<string, number>> = {};
  for (const peer of ['kubectl proxy', 'nginx', 'direct']) {
    const other = of(peer);
    if (daemon === undefined || other === undefined) continue;
    const ratio = (key: 'req/s' | 'p50 ms' | 'p99 ms' | 'CPU ms/req' | '20 MB MiB/s'): number =>
      Number((daemon[key] / other[key]).toFixed(3));
    ratios[peer] = {
      requests: ratio('req/s'),
      p50: ratio('p50 ms'),
      p99: ratio('p99 ms'),
      ...(other['CPU ms/req'] > 0 ? { cpu: ratio('CPU ms/req') } : {}),
      largeList: ratio('20 MB MiB/s'),
    };
  }
  console.log('the daemon as a ratio to each peer (requests and largeList: more is better; the others: less)');
  console.table(ratios);
  const machine = {
    node: process.version,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    kernel: readFileSync('/proc/version', 'utf8').trim(),
  };
  const file = join(process.cwd(), '.bench', 'results.json');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    `${JSON.stringify({ at: new Date().toISOString(), machine, rounds: ROUNDS, seconds: SECONDS, rows, ratios, results }, null, 2)}\n`,
  );
  console.log(`written to ${file}`);
}
