import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { join } from 'node:path';
import type { Test } from 'tap';
import { parse } from 'yaml';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { createLogger, silentLogger } from '../../src/base/log.js';
import { type RunningDaemon, startDaemon } from '../../src/daemon/daemon.js';
import { loadSettings, type Settings } from '../../src/daemon/settings.js';
import type { ClusterBackend } from '../../src/emulator/cluster-backend.js';
import { type EmulatedMembership, type Emulator, startEmulator } from '../../src/emulator/emulator.js';
import './listener-leaks.js';

/** A cluster that says its name, and holds what it is asked under /hold open. */
function cluster(name: string): ClusterBackend {
  return {
    version: 'v1.36.2',
    handle: (_request, response, { target }) => {
      response.writeHead(200, { 'Content-Type': 'text/plain' });
      response.write(`${name} ${target}`);
      if (!target.includes('/hold')) response.end();
    },
    upgrade: (_request, socket) => void socket.destroy(),
    close: async () => {},
  };
}

/** One of the project demo-project, 123456789012. */
export function emulatedMembership(id: string, changes: Partial<EmulatedMembership> = {}): EmulatedMembership {
  return {
    projectNumber: '123456789012',
    projectId: 'demo-project',
    location: 'global',
    id,
    kind: 'attached',
    uniqueId: `uid-${id}`,
    backend: cluster(id),
    ...changes,
  };
}

/** An emulated fleet, and daemons in this process that serve it. */
export interface DaemonScene {
  readonly folder: string;
  readonly emulator: Emulator;
  /** The config file; `writeConfig` puts these in place of its settings of the same name. */
  readonly config: string;
  writeConfig(changes: Record<string, unknown>): void;
  readonly logs: string[];
  start(flags?: Record<string, string>): Promise<RunningDaemon>;
}

export async function daemonScene(
  t: Test,
  ids: readonly string[],
  {
    name,
    clock = systemClock,
    env = {},
  }: {
    /** For a second scene of the same test. */
    name?: string;
    /** The daemons'; the emulator has the system's. */
    clock?: Clock;
    /** The daemons'. */
    env?: Readonly<Record<string, string>>;
  } = {},
): Promise<DaemonScene> {
  const folder = name === undefined ? t.testdir({}) : join(t.testdirName, name);
  mkdirSync(folder, { recursive: true });
  const emulator = await startEmulator({
    memberships: ids.map((id) => emulatedMembership(id)),
    clock: systemClock,
    log: silentLogger,
  });
  writeFileSync(join(folder, 'token'), emulator.accessToken);
  writeFileSync(join(folder, 'ca.pem'), emulator.caCertificate);
  const config = join(folder, 'config.yaml');
  const { url } = emulator;
  const writeConfig = (changes: Record<string, unknown>): void => {
    const settings = {
      projects: ['demo-project'],
      identities: { default: { source: 'token-file', tokenFile: 'token' } },
      endpoints: {
        gkehub: url,
        connectgateway: url,
        cloudresourcemanager: url,
        iamcredentials: url,
        caFile: 'ca.pem',
      },
      listen: { port: 0, membershipPorts: '0-0' },
      stateDir: 'state',
    };
    writeFileSync(config, JSON.stringify({ ...settings, ...changes }, null, 2));
  };
  writeConfig({});
  const logs: string[] = [];
  const daemons: RunningDaemon[] = [];
  t.teardown(async () => {
    for (const daemon of daemons) daemon.kill();
    await Promise.all(daemons.map((daemon) => daemon.closed));
    await emulator.close();
  });
  return {
    folder,
    emulator,
    config,
    writeConfig,
    logs,
    start: async (flags = {}) => {
      const load = (): Settings =>
        loadSettings({
          flags,
          env,
          configFile: config,
          isTty: false,
          paths: { config: folder, data: folder },
        });
      const log = createLogger({ level: 'trace', format: 'json', write: (line) => void logs.push(line) });
      const options = { settings: load(), loadSettings: load, clock, log, version: '0.0.0', env };
      const daemon = await startDaemon(options);
      daemons.push(daemon);
      return daemon;
    },
  };
}

export interface WrittenKubeconfig {
  readonly 'current-context': string;
  readonly clusters: { name: string; cluster: { server: string; 'certificate-authority-data': string } }[];
  readonly users: { name: string; user: { token: string } }[];
}

export const kubeconfigOf = (daemon: RunningDaemon): WrittenKubeconfig =>
  parse(readFileSync(daemon.kubeconfigFile, 'utf8')) as WrittenKubeconfig;

/** As a client that has nothing but the kubeconfig. */
export function get(
  kubeconfig: WrittenKubeconfig,
  context: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const cluster = kubeconfig.clusters.find(({ name }) => name === context)?.cluster;
  const token = kubeconfig.users.find(({ name }) => name === context)?.user.token;
  return new Promise((resolve, reject) => {
    https
      .get(
        `${cluster?.server}${path}`,
        {
          ca: Buffer.from(cluster?.['certificate-authority-data'] ?? '', 'base64'),
          headers: { Authorization: `Bearer ${token}` },
          agent: false,
        },
        (response) => {
          response
            .toArray()
            .then(
              (chunks) =>
                resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks as Buffer[]).toString() }),
              reject,
            );
        },
      )
      .on('error', reject);
  });
}
