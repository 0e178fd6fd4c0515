import type { Check } from './check.js';
import { agent } from './checks/agent.js';
import { api } from './checks/api.js';
import { clusterVersion } from './checks/cluster-version.js';
import { configuration } from './checks/configuration.js';
import { daemonUp } from './checks/daemon-up.js';
import { endpoints } from './checks/endpoints.js';
import { environment } from './checks/environment.js';
import { execUpgrade } from './checks/exec-upgrade.js';
import { iam } from './checks/iam.js';
import { identity } from './checks/identity.js';
import { kubeconfig } from './checks/kubeconfig.js';
import { kubectlVersions } from './checks/kubectl-versions.js';
import { membership } from './checks/membership.js';
import { port } from './checks/port.js';
import { proxy } from './checks/proxy.js';
import { quotaHeadroom } from './checks/quota-headroom.js';
import { rbacRights } from './checks/rbac-rights.js';
import { roundTrip } from './checks/round-trip.js';
import { stateFolder } from './checks/state-folder.js';
import { wallClock } from './checks/wall-clock.js';

/** In the order of CHECK_IDS; a check needs only those before it. */
export const CHECKS: readonly Check[] = [
  configuration,
  stateFolder,
  port,
  daemonUp,
  kubeconfig,
  environment,
  wallClock,
  proxy,
  endpoints,
  identity,
  api,
  iam,
  membership,
  agent,
  clusterVersion,
  kubectlVersions,
  rbacRights,
  quotaHeadroom,
  roundTrip,
  execUpgrade,
];
