import { collectionOf, type EmulatedMembership, pathOf } from './emulated-fleet.js';

/** The membership as the GKE Hub API describes it. */
export function membershipResource(m: EmulatedMembership): Record<string, unknown> {
  return {
    name: pathOf(m),
    endpoint: {
      ...endpointKind(m),
      kubernetesMetadata: {
        kubernetesApiServerVersion: m.backend.version,
        nodeCount: 1,
        vcpuCount: 2,
        memoryMb: 4096,
        updateTime: CREATED,
      },
    },
    state: { code: m.state ?? 'READY' },
    createTime: CREATED,
    updateTime: CREATED,
    externalId: m.uniqueId,
    lastConnectionTime: CREATED,
    uniqueId: m.uniqueId,
  };
}

const CREATED = '2026-01-01T00:00:00.000000000Z';

function endpointKind(m: EmulatedMembership): Record<string, unknown> {
  const missing = m.clusterMissing === true ? { clusterMissing: true } : {};
  const place = `projects/${m.projectId}/locations/${m.location}`;
  switch (m.kind) {
    case 'gke': {
      const resourceLink = `//container.googleapis.com/${place}/clusters/${m.id}`;
      return { gkeCluster: { resourceLink, ...missing }, googleManaged: true };
    }
    case 'multi-cloud':
      return {
        multiCloudCluster: { resourceLink: `//gkemulticloud.googleapis.com/${place}/awsClusters/${m.id}`, ...missing },
      };
    case 'on-prem':
      return {
        onPremCluster: {
          resourceLink: `//gkeonprem.googleapis.com/${place}/bareMetalClusters/${m.id}`,
          clusterType: 'USER',
          ...missing,
        },
      };
    case 'attached':
      // An attached cluster of no particular kind is told by the absence of all others.
      return {};
  }
}

export interface CredentialsRequest {
  readonly membership: EmulatedMembership;
  /** `v1`, `v1beta1` or `v1alpha1`, as the caller wrote it. */
  readonly version: string;
  /** `https://127.0.0.1:PORT` */
  readonly origin: string;
  readonly caCertificate: string;
  readonly query: URLSearchParams;
}

/** What generateCredentials answers. Google's kubeconfig has no CA; ours needs one, the emulator's certificate being its own. */
export function generatedCredentials(o: CredentialsRequest): { kubeconfig: string; endpoint: string } {
  const { membership: m, query } = o;
  const viaAgent = query.get('forceUseAgent')?.toLowerCase() === 'true';
  const collection = viaAgent ? 'memberships' : collectionOf(m);
  const endpoint = `${o.origin}/${o.version}/projects/${m.projectNumber}/locations/${m.location}/${collection}/${m.id}`;
  const namespace = query.get('kubernetesNamespace') ?? '';
  const name = `connectgateway_${m.projectId}_${m.location}_${m.id}${namespace === '' ? '' : `_ns-${namespace}`}`;
  const account = query.get('impersonatedServiceAccount') ?? '';
  const windows = query.get('operatingSystem') === 'OPERATING_SYSTEM_WINDOWS';
  // Indented as YAML, written as JSON values: every text is quoted safely.
  const text = JSON.stringify;
  const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: ${text(name)}
  cluster:
    server: ${text(endpoint)}
    certificate-authority-data: ${Buffer.from(o.caCertificate).toString('base64')}
contexts:
- name: ${text(name)}
  context:
    cluster: ${text(name)}
    user: ${text(name)}${namespace === '' ? '' : `\n    namespace: ${text(namespace)}`}
current-context: ${text(name)}
users:
- name: ${text(name)}
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: gke-gcloud-auth-plugin${windows ? '.exe' : ''}${account === '' ? '' : `\n      args: [${text(`--impersonate_service_account=${account}`)}]`}
      installHint: Install gke-gcloud-auth-plugin for use with kubectl by following https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl#install_plugin
      provideClusterInfo: true
`;
  return { kubeconfig: Buffer.from(kubeconfig).toString('base64'), endpoint };
}
