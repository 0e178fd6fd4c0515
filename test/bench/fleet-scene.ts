import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import { newestKubectl } from './kubectl.js';
import { freePort, startUntil } from './servers.js';

const MAIN = join(process.cwd(), 'dist/main.js');
const PROJECT_NUMBER = '123456789012';

/** The emulator with its fleet, a daemon in front of it, and kubeconfigs for both ways. */
export interface FleetScene {
  readonly kubectl: string;
  readonly folder: string;
  readonly daemonPid: number;
  /** The endpoint of the membership `prod`, and what a client needs for it. */
  readonly endpoint: { readonly url: string; readonly token: string; readonly ca: Buffer };
  readonly kubeconfigs: { readonly direct: string; readonly plugin: string; readonly daemon: string };
  /** Where the real auth plugin finds its token. */
  readonly pluginEnv: NodeJS.ProcessEnv;
  fault(fault: Readonly<Record<string, unknown>>): Promise<void>;
  clearFaults(): Promise<void>;
  /** Ends all streams at once; answers how many. */
  cutAll(): Promise<number>;
  daemonGet(path: string): Promise<unknown>;
  close(): void;
}

export async function startFleetScene(settings: Readonly<Record<string, unknown>> = {}): Promise<FleetScene> {
  const kubectl = newestKubectl();
  if (kubectl === undefined) throw new Error('no kubectl found: set CGP_TEST_NEWEST_KUBECTL, or install one');
  const folder = mkdtempSync(join(tmpdir(), 'cgp-bench-fleet-'));
  const children: ChildProcess[] = [];
  const emulator = await startUntil(
    process.execPath,
    [MAIN, 'emulator', '--active-streams', '100000', '--requests-per-minute', '100000000'],
    { pattern: /--cacert (\S+)\/ca\.pem.*admin-token/, env: { ...process.env, TMPDIR: folder } },
  );
  children.push(emulator.child);
  const files = emulator.match[1] ?? '';
  const url = /listens at (https:\S+)/.exec(emulator.said.join('\n'))?.[1] ?? '';
  const ca = join(files, 'ca.pem');
  const google = join(files, 'token');
  const config = join(folder, 'config.yaml');
  const stateDir = join(folder, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  const hub = await freePort();
  writeFileSync(
    config,
    JSON.stringify({
      projects: ['demo-project'],
      identities: { default: { source: 'token-file', tokenFile: google } },
      endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, caFile: ca },
      listen: { port: hub, membershipPorts: '0-0' },
      requests: { perMinute: 10_000_000 },
      streams: { limit: 100_000 },
      stateDir,
      ...settings,
    }),
  );
  const daemon = await startUntil(process.execPath, [MAIN, 'run', '--config', config], { pattern: /ready/ });
  children.push(daemon.child);
  const kubeconfig = execFileSync(process.execPath, [MAIN, 'kubeconfig', '--stdout', '--config', config], {
    encoding: 'utf8',
  });
  const kubeconfigs = {
    daemon: join(folder, 'daemon.kubeconfig'),
    direct: join(folder, 'direct.kubeconfig'),
    plugin: join(folder, 'plugin.kubeconfig'),
  };
  writeFileSync(kubeconfigs.daemon, kubeconfig.replace(/^current-context:.*$/m, 'current-context: prod'));
  const server = `${url}/v1/projects/${PROJECT_NUMBER}/locations/us-central1/gkeMemberships/prod`;
  const direct = (user: object): string => JSON.stringify(kubeconfigOf({ server, ca, user }));
  writeFileSync(kubeconfigs.direct, direct({ token: readFileSync(google, 'utf8').trim() }));
  writeFileSync(
    kubeconfigs.plugin,
    direct({
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1beta1',
        command: 'gke-gcloud-auth-plugin',
        interactiveMode: 'Never',
        provideClusterInfo: true,
      },
    }),
  );
  const endpoint = endpointOf(kubeconfig);
  const hubToken = readFileSync(join(stateDir, 'hub-token'), 'utf8').trim();
  const adminToken = readFileSync(join(files, 'admin-token'), 'utf8').trim();
  const admin = (method: string, path: string, body?: object) =>
    call({ method, url: `${url}/-/emulator/${path}`, token: adminToken, ca: readFileSync(ca), ...(body && { body }) });
  return {
    kubectl,
    folder,
    daemonPid: daemon.child.pid ?? 0,
    endpoint,
    kubeconfigs,
    pluginEnv: {
      CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: google,
      CLOUDSDK_CONFIG: join(folder, 'gcloud'),
      HOME: folder,
    },
    fault: async (fault) => void (await admin('POST', 'faults', fault)),
    clearFaults: async () => void (await admin('DELETE', 'faults')),
    cutAll: async () => ((await admin('POST', 'cut', { form: 'reset' })) as { cut: number }).cut,
    daemonGet: (path) =>
      call({ method: 'GET', url: `https://127.0.0.1:${hub}${path}`, token: hubToken, ca: endpoint.ca }),
    close: () => {
      for (const child of children) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigOf({ server, ca, user }: { server: string; ca: string; user: object }): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority': ca } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
}

async function call(o: { method: string; url: string; token: string; ca: Buffer; body?: object }): Promise<unknown> {
  const { method, url, token, ca, body } = o;
  return await new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${token}` };
    const asked = request(url, { method, ca, headers, agent: false }, (response) => {
      text(response).then((said) => {
        if ((response.statusCode ?? 500) < 300) resolve(JSON.parse(said));
        else reject(new Error(`${method} ${url} was answered ${response.statusCode}: ${said}`));
      }, reject);
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

interface Kubeconfig {
  readonly clusters: { name: string; cluster: { server: string; 'certificate-authority-data': string } }[];
  readonly users: { name: string; user: { token: string } }[];
  readonly contexts: { name: string; context: { cluster: string; user: string } }[];
}

function endpointOf(kubeconfig: string): FleetScene['endpoint'] {
  const { clusters, users, contexts } = parse(kubeconfig) as Kubeconfig;
  const context = contexts.find(({ name }) => name === 'prod')?.context;
  const cluster = clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = users.find(({ name }) => name === context?.user)?.user;
  if (cluster === undefined || user === undefined) throw new Error('the kubeconfig has no context prod');
  const ca = Buffer.from(cluster['certificate-authority-data'], 'base64');
  return { url: cluster.server, token: user.token, ca };
}

/** Runs a program to its end; rejects with what it said when that was no success. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message}: ${stderr}`));
    });
  });
}
