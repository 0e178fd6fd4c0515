import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import type { DoctorReport } from '../../src/commands/doctor/report.js';
import type { CommandIo } from '../../src/commands/io.js';
import { type RunningDaemon, startDaemon } from '../../src/daemon/daemon.js';
import { loadSettings, type Settings } from '../../src/daemon/settings.js';
import type { ClusterBackend } from '../../src/emulator/cluster-backend.js';
import { startDemoFleet } from '../../src/emulator/demo-fleet.js';
import { type EmulatedMembership, type Emulator, startEmulator } from '../../src/emulator/emulator.js';
import { failureStatus } from '../../src/kubernetes/status.js';
import { type CommandOutcome, runCommand } from './command-io.js';
import { HastyClock } from './hasty-clock.js';

const VERSION = '0.0.0-test';

/** A machine of its own: home, config, state, programs; and a daemon on it, if one is started. */
export interface Machine {
  readonly folder: string;
  readonly stateDir: string;
  readonly config: string;
  readonly tokenFile: string;
  /** What the shell has, HOME and PATH among it; tests change it. */
  readonly env: Record<string, string>;
  readonly daemon: RunningDaemon | undefined;
  /** Of the daemon's default identity. */
  writeToken(token: string): void;
  doctor(args?: readonly string[], changes?: Partial<CommandIo>): Promise<CommandOutcome>;
  report(args?: readonly string[], changes?: Partial<CommandIo>): Promise<DoctorReport>;
}

export interface MachineOptions {
  /** In place of settings of the same name. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Of the daemon and of the shell. */
  readonly env?: Readonly<Record<string, string>>;
  /** None is started when false. */
  readonly daemon?: boolean;
  readonly version?: string;
  readonly clock?: Clock;
}

/** One fleet for all machines of a test file. */
export class DoctorScene {
  readonly emulator: Emulator;
  readonly #folder: string;
  #machines = 0;

  private constructor(folder: string, emulator: Emulator) {
    this.#folder = folder;
    this.emulator = emulator;
  }

  /** The demo's fleet, or another. */
  static async open(memberships?: readonly EmulatedMembership[]): Promise<DoctorScene> {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-doctor-'));
    const workDir = join(folder, 'emulator');
    mkdirSync(workDir);
    const parts = { clock: systemClock, log: silentLogger };
    const emulator =
      memberships === undefined
        ? await startDemoFleet({ workDir, ...parts })
        : await startEmulator({ memberships, limits: { requestsPerMinute: 100_000 }, ...parts });
    return new DoctorScene(folder, emulator);
  }

  async close(): Promise<void> {
    await this.emulator.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async machine(t: Test, options: MachineOptions = {}): Promise<Machine> {
    const folder = join(this.#folder, `machine-${++this.#machines}`);
    const [bin, home, stateDir] = ['bin', 'home', 'state'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (const path of [bin, home]) mkdirSync(path, { recursive: true });
    writeProgram(join(bin, 'kubectl'), `echo '{"clientVersion":{"gitVersion":"v1.36.0"}}'`);
    const { url } = this.emulator;
    const tokenFile = join(folder, 'token');
    const caFile = join(folder, 'ca.pem');
    writeFileSync(tokenFile, this.emulator.accessToken);
    writeFileSync(caFile, this.emulator.caCertificate);
    const config = join(folder, 'config.yaml');
    const settings = {
      projects: ['demo-project'],
      identities: { default: { source: 'token-file', tokenFile } },
      endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, iamcredentials: url, caFile },
      listen: { port: 0, membershipPorts: '0-0' },
      stateDir,
      ...options.settings,
    };
    writeFileSync(config, JSON.stringify(settings, null, 2));
    const env: Record<string, string> = {
      HOME: home,
      PATH: bin,
      KUBECONFIG: join(stateDir, 'kubeconfig'),
      ...options.env,
    };
    const load = (): Settings =>
      loadSettings({ flags: {}, env: {}, configFile: config, isTty: false, paths: { config: folder, data: folder } });
    let daemon: RunningDaemon | undefined;
    if (options.daemon !== false) {
      daemon = await startDaemon({
        settings: load(),
        loadSettings: load,
        // Where Google cannot be reached it tries for a while before it is ready.
        clock: options.clock ?? new HastyClock(20),
        log: silentLogger,
        version: options.version ?? VERSION,
        env: { ...env },
      });
      const { closed } = daemon;
      t.teardown(async () => {
        daemon?.kill();
        await closed;
      });
    }
    const doctor: Machine['doctor'] = (args = [], changes = {}) =>
      runCommand(['doctor', ...args], {
        folder,
        stateDir,
        changes: { env, version: VERSION, ...changes },
      });
    return {
      folder,
      stateDir,
      config,
      tokenFile,
      env,
      daemon,
      writeToken: (token) => writeFileSync(tokenFile, token),
      doctor,
      report: async (args = [], changes = {}) => {
        const { out, err } = await doctor([...args, '-o', 'json'], changes);
        if (out === '') throw new Error(err);
        return JSON.parse(out) as DoctorReport;
      },
    };
  }
}

export function writeProgram(path: string, script: string): void {
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

/** A cluster that knows its version, lets everybody do everything, and has no pods. */
export function answeringCluster(version: string): ClusterBackend {
  const noPod = JSON.stringify(failureStatus({ code: 404, reason: 'NotFound', message: 'pods "x" not found' }));
  return {
    version,
    handle: (request, response, { target }) => {
      request.resume();
      const answer = target === '/version' ? { gitVersion: version } : { status: { allowed: true } };
      response.writeHead(request.method === 'POST' ? 201 : 200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(answer));
    },
    upgrade: (_request, socket) => {
      const head = `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${noPod.length}\r\n\r\n`;
      socket.end(head + noPod);
    },
    close: async () => {},
  };
}
