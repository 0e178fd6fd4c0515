import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import { createBuiltinCluster } from './cluster/builtin-cluster.js';
import type { EmulatedMembership, Emulator } from './emulator.js';
import { startEmulator } from './emulator.js';
import { createPodRuntime } from './pods/local-pod-runtime.js';

const VERSION = 'v1.36.2';
const PROJECT = { projectNumber: '123456789012', projectId: 'demo-project' } as const;
/** One of each kind that the gateway treats differently. */
const MEMBERS = [
  { id: 'prod', location: 'us-central1', kind: 'gke', uniqueId: '0f0a7a3e-5c55-4d2c-9a86-6d1c2f1f0001' },
  { id: 'edge-store', location: 'global', kind: 'attached', uniqueId: '0f0a7a3e-5c55-4d2c-9a86-6d1c2f1f0002' },
  { id: 'datacenter', location: 'europe-west1', kind: 'on-prem', uniqueId: '0f0a7a3e-5c55-4d2c-9a86-6d1c2f1f0003' },
] as const;

export interface DemoFleetOptions {
  /** Pods keep their files below it; the caller removes it. */
  readonly workDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly port?: number;
  readonly limits?: { readonly activeStreams?: number; readonly requestsPerMinute?: number };
}

/** The emulator with a fleet of three small built-in clusters, each with something running in it. */
export async function startDemoFleet(options: DemoFleetOptions): Promise<Emulator> {
  const { workDir, clock, log, port, limits } = options;
  const runtimes = MEMBERS.map(({ id }) =>
    createPodRuntime({ rootDir: join(workDir, id), clock, log: log.child({ membership: id }) }),
  );
  const memberships = MEMBERS.map((member, i): EmulatedMembership => {
    const runtime = runtimes[i];
    if (runtime === undefined) throw new Error('a member without a runtime');
    const backend = createBuiltinCluster({
      name: member.id,
      version: VERSION,
      runtime,
      clock,
      log: log.child({ membership: member.id }),
      seed: true,
    });
    return { ...PROJECT, ...member, backend };
  });
  const emulator = await startEmulator({
    memberships,
    clock,
    log,
    ...(port === undefined ? {} : { port }),
    ...(limits === undefined ? {} : { limits }),
  });
  return {
    ...emulator,
    async close() {
      await emulator.close();
      await Promise.all(runtimes.map((runtime) => runtime.close()));
    },
  };
}
