import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { createLogger, silentLogger } from '../../src/base/log.js';
import { type RunningDaemon, startDaemon } from '../../src/daemon/daemon.js';
import { loadSettings } from '../../src/daemon/settings.js';
import { type DemoFleetOptions, startDemoFleet } from '../../src/emulator/demo-fleet.js';
import type { Emulator } from '../../src/emulator/emulator.js';
import './listener-leaks.js';

export interface DemoDaemon {
  readonly daemon: RunningDaemon;
  readonly emulator: Emulator;
  readonly kubeconfig: string;
  /** One per membership of the demo fleet. */
  readonly contexts: readonly string[];
  /** Ends the daemon, at once or after a drain, and starts another one with the same state; `memberships` as in its file. */
  restart(how: 'kill' | 'drain', o?: { memberships?: readonly object[] }): Promise<void>;
  close(): Promise<void>;
}

/** Daemon and emulator in this process, on ports of the system's choice below `ports`, so that tests run side by side. */
export async function startDemoDaemon(o: {
  folder: string;
  flags?: Record<string, string>;
  /** The daemon's; the emulator has the system's. */
  clock?: Clock;
  /** Of the emulator; Google's own when left out. */
  limits?: DemoFleetOptions['limits'];
}): Promise<DemoDaemon> {
  const log = process.env['CGP_TEST_LOG'] ? createLogger({ level: 'debug', format: 'pretty' }) : silentLogger;
  const workDir = join(o.folder, 'emulator');
  mkdirSync(workDir, { recursive: true, mode: 0o700 });
  const emulator = await startDemoFleet({
    workDir,
    clock: systemClock,
    log,
    ...(o.limits === undefined ? {} : { limits: o.limits }),
  });
  const tokenFile = join(o.folder, 'token');
  writeFileSync(tokenFile, emulator.accessToken, { mode: 0o600 });
  const caFile = join(o.folder, 'emulator-ca.pem');
  writeFileSync(caFile, emulator.caCertificate);
  const configFile = join(o.folder, 'config.yaml');
  const start = (memberships: readonly object[]): Promise<RunningDaemon> => {
    writeFileSync(
      configFile,
      JSON.stringify({
        projects: ['demo-project'],
        identities: { default: { source: 'token-file', tokenFile } },
        endpoints: {
          gkehub: emulator.url,
          connectgateway: emulator.url,
          iamcredentials: emulator.url,
          cloudresourcemanager: emulator.url,
          caFile,
        },
        listen: { port: 0, membershipPorts: '0-0' },
        stateDir: join(o.folder, 'state'),
        memberships,
      }),
    );
    const paths = { config: o.folder, data: o.folder };
    const settings = loadSettings({ flags: { ...o.flags }, env: {}, configFile, isTty: false, paths });
    return startDaemon({ settings, clock: o.clock ?? systemClock, log, version: '0.0.0-test', env: {} });
  };
  let daemon = await start([]);
  return {
    get daemon() {
      return daemon;
    },
    emulator,
    kubeconfig: daemon.kubeconfigFile,
    contexts: ['prod', 'edge-store', 'datacenter'],
    restart: async (how, { memberships = [] } = {}) => {
      if (how === 'kill') daemon.kill();
      else await daemon.drain('the test says so');
      await daemon.closed;
      daemon = await start(memberships);
    },
    close: async () => {
      daemon.kill();
      await daemon.closed;
      await emulator.close();
    },
  };
}
