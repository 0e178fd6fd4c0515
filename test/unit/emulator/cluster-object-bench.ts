import { readFileSync } from 'node:fs';
import { ApiError } from '../../../src/emulator/cluster/api-error.js';
import type { Dict, KubeObject } from '../../../src/emulator/cluster/json.js';
import { dicts } from '../../../src/emulator/cluster/json.js';
import { Registry } from '../../../src/emulator/cluster/registry.js';
import { resourceById } from '../../../src/emulator/cluster/resource-table.js';
import { Store } from '../../../src/emulator/cluster/store.js';
import { FakeClock } from '../../support/fake-clock.js';

const FIXTURES = new URL('../../fixtures/cluster/', import.meta.url);
/** A pod of a real Kubernetes 1.36 cluster, as its API server wrote it. */
export const REAL_POD = JSON.parse(readFileSync(new URL('pod-1.36.json', FIXTURES), 'utf8')) as KubeObject;
export const REAL_POD_PROTOBUF = Buffer.from(
  readFileSync(new URL('pod-1.36.protobuf.base64', FIXTURES), 'utf8'),
  'base64',
);

export const PODS = resourceById('pods');
export const CONFIG_MAPS = resourceById('configmaps');
export const DEPLOYMENTS = resourceById('deployments.apps');
export const SERVICES = resourceById('services');
export const NOW = Date.UTC(2026, 10, 24);

export interface Bench {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly registry: Registry;
}

/** Objects and the rules of writing them, without HTTP and controllers; the namespace `default` exists. */
export function createObjectBench(): Bench {
  const clock = new FakeClock(NOW);
  const store = new Store({ clock });
  let address = 1;
  const help = { serviceAddress: () => `10.96.0.${++address}`, nodePort: () => 30_000 + address++ };
  const registry = new Registry({ store, clock, random: () => 0.5, help });
  registry.create(resourceById('namespaces'), '', { metadata: { name: 'default' } }, { manager: 'setup' });
  return { clock, store, registry };
}

export function configMap(name: string, data: Record<string, string>, metadata: Dict = {}): Dict {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default', ...metadata }, data };
}

export function managersOf(object: KubeObject): readonly Dict[] {
  return dicts(object.metadata['managedFields']);
}

export function fieldsManagedBy(object: KubeObject, manager: string, operation = 'Update'): unknown {
  const entry = managersOf(object).find((e) => e['manager'] === manager && e['operation'] === operation);
  return entry?.['fieldsV1'];
}

/** What the act is refused with; throws when it is not. */
export function refusal(act: () => unknown): ApiError {
  try {
    act();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('was not refused');
}
