import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeError, UsageError } from '../base/errors.js';
import { createLogger } from '../base/log.js';
import { startDemoFleet } from '../emulator/demo-fleet.js';
import { type EmulatedMembership, type Emulator, startEmulator } from '../emulator/emulator.js';
import { ALL_ERROR_NAMES, aboutError } from '../emulator/google/error-catalogue.js';
import { CUT_FORMS, parseFault } from '../emulator/google/faults.js';
import { createRealCluster } from '../emulator/real-cluster.js';
import type { CommandIo } from './io.js';

/** As commander parsed them. */
export interface EmulatorFlags {
  readonly port?: string;
  readonly cluster?: readonly string[];
  readonly fault?: readonly string[];
  readonly activeStreams?: string;
  readonly requestsPerMinute?: string;
  readonly listFaults?: true;
}

/** Runs until a signal. Answers the exit code. */
export async function runEmulator(flags: EmulatorFlags, io: CommandIo): Promise<number> {
  const { cluster = [], fault = [], port = '0' } = flags;
  const faults = fault.map(readFault);
  const log = createLogger({ level: 'info', format: io.errIsTty ? 'pretty' : 'json', write: io.err });
  const workDir = mkdtempSync(join(tmpdir(), 'connect-gateway-emulator-'));
  const options = {
    clock: io.clock,
    log,
    port: wholeNumber('--port', port, 65_535),
    limits: {
      ...(flags.activeStreams === undefined
        ? {}
        : { activeStreams: wholeNumber('--active-streams', flags.activeStreams, 1_000_000) }),
      ...(flags.requestsPerMinute === undefined
        ? {}
        : { requestsPerMinute: wholeNumber('--requests-per-minute', flags.requestsPerMinute, 1_000_000_000) }),
    },
  };
  const emulator =
    cluster.length === 0
      ? await startDemoFleet({ workDir, ...options })
      : await startEmulator({ memberships: await Promise.all(cluster.map(realMembership)), ...options });
  for (const fault of faults) emulator.faults.add(fault);
  const caFile = join(workDir, 'ca.pem');
  const tokenFile = join(workDir, 'token');
  const adminFile = join(workDir, 'admin-token');
  writeFileSync(caFile, emulator.caCertificate, { mode: 0o600 });
  writeFileSync(tokenFile, emulator.accessToken, { mode: 0o600 });
  writeFileSync(adminFile, emulator.adminToken, { mode: 0o600 });
  io.out(welcome(emulator, { caFile, tokenFile, adminFile }));
  await new Promise<void>((resolve) => io.onSignal(() => resolve()));
  await emulator.close();
  rmSync(workDir, { recursive: true, force: true });
  return 0;
}

async function realMembership(text: string, index: number): Promise<EmulatedMembership> {
  const match = /^([a-z0-9][a-z0-9-]{0,62})=(.+?)(?::([^:/\\]+))?$/.exec(text);
  if (match === null) {
    throw new UsageError(
      `--cluster ${text}: expected NAME=KUBECONFIG or NAME=KUBECONFIG:CONTEXT, e.g. prod=~/.kube/config:kind`,
    );
  }
  const [, id = '', kubeconfig = '', context] = match;
  return {
    projectNumber: '123456789012',
    projectId: 'demo-project',
    location: 'global',
    id,
    kind: 'attached',
    uniqueId: `real-${index}-${id}`,
    backend: await createRealCluster({ kubeconfig, ...(context === undefined ? {} : { context }) }),
  };
}

function readFault(text: string): ReturnType<typeof parseFault> {
  try {
    return parseFault(JSON.parse(text));
  } catch (error) {
    throw new UsageError(`--fault ${text}: ${describeError(error)}; --list-faults shows what there is`, {
      cause: error,
    });
  }
}

function wholeNumber(flag: string, text: string, maximum: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= maximum) return value;
  throw new UsageError(`${flag} ${text}: expected a whole number up to ${maximum}`);
}

function welcome(emulator: Emulator, files: { caFile: string; tokenFile: string; adminFile: string }): string {
  return `The Connect gateway emulator listens at ${emulator.url} (plain HTTP: ${emulator.plainUrl}).
It is no Google service: its clusters run commands as processes of this machine, with your rights. Only this machine can
reach it, and only with the random credentials in these files.

A daemon in front of it, in another terminal:

  connect-gateway-proxy run --projects demo-project --state-dir ./demo-state \\
    --identities '{default: {source: token-file, tokenFile: ${files.tokenFile}}}' \\
    --endpoints-gkehub ${emulator.url} --endpoints-connectgateway ${emulator.url} \\
    --endpoints-cloudresourcemanager ${emulator.url} --endpoints-ca-file ${files.caFile}

Faults while it runs:

  curl --cacert ${files.caFile} -H "Authorization: Bearer $(cat ${files.adminFile})" \\
    -d '{"cutAfterMs":2000,"form":"reset"}' ${emulator.url}/-/emulator/faults
`;
}

export function faultList(): string {
  const errors = ALL_ERROR_NAMES.map((name) => `  ${name.padEnd(34)} ${aboutError(name)}`);
  return `Forms of a cut ("form"): ${CUT_FORMS.join(', ')}

Errors ("answer"):
${errors.join('\n')}

Other fields of a fault: cutAfterMs, cutAfterBytes, agentLost, slowHeadersMs, rttMs, tokenExpired, unreachable,
deniedPermissions, membership, serviceAccount, times, match (request, upgrade, watch, control or token).
`;
}
