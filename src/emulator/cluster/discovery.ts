import type { GroupVersion, ResourceType } from './resource-table.js';
import { apiVersionOf, GROUP_VERSIONS } from './resource-table.js';

/** By name, in the order in which they first come. */
const GROUPS = [...new Set(GROUP_VERSIONS.map(({ group }) => group))].map(
  (group) => [group, GROUP_VERSIONS.filter((candidate) => candidate.group === group)] as const,
);

export type AggregatedVersion = 'v2' | 'v2beta1';

/** The aggregated form: everything about `/api` (the core group) or `/apis` (all others) in one document. */
export function aggregatedDiscovery(root: 'api' | 'apis', version: AggregatedVersion): unknown {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: GROUPS.filter(([group]) => (group === '') === (root === 'api')).map(([group, versions]) => ({
      metadata: { ...(group === '' ? {} : { name: group }), creationTimestamp: null },
      versions: versions.map(({ version: served, resources }) => ({
        version: served,
        freshness: 'Current',
        resources: resources.map(aggregatedResource),
      })),
    })),
  };
}

function aggregatedResource(type: ResourceType): unknown {
  const { group, version, kind } = type;
  return {
    resource: type.plural,
    responseKind: { group, version, kind },
    scope: type.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: type.singular,
    verbs: type.verbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    ...(type.subresources.length === 0
      ? {}
      : {
          subresources: type.subresources.map((sub) => ({
            subresource: sub.name,
            responseKind: { group: sub.group ?? group, version: sub.version ?? version, kind: sub.kind },
            verbs: sub.verbs,
          })),
        }),
  };
}

export function apiVersions(host: string): unknown {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: host }],
  };
}

export function apiGroupList(): unknown {
  const groups = GROUPS.filter(([group]) => group !== '').map(([, versions]) => apiGroup(versions));
  return { kind: 'APIGroupList', apiVersion: 'v1', groups };
}

function apiGroup(served: readonly GroupVersion[]): Record<string, unknown> {
  const versions = served.map((one) => ({ groupVersion: apiVersionOf(one), version: one.version }));
  return { name: served[0]?.group, versions, preferredVersion: versions[0] };
}

export function apiGroupOf(group: string): unknown {
  const found = GROUPS.find(([name]) => name === group && name !== '');
  return found === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(found[1]) };
}

export function apiResourceList(group: string, version: string): unknown {
  const found = GROUP_VERSIONS.find((candidate) => candidate.group === group && candidate.version === version);
  if (found === undefined) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf(found),
    resources: found.resources.flatMap((type) => [
      {
        name: type.plural,
        singularName: type.singular,
        namespaced: type.namespaced,
        kind: type.kind,
        verbs: type.verbs,
        ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
        ...(type.categories.length === 0 ? {} : { categories: type.categories }),
      },
      ...type.subresources.map((sub) => ({
        name: `${type.plural}/${sub.name}`,
        singularName: '',
        namespaced: type.namespaced,
        ...(sub.group === undefined ? {} : { group: sub.group, version: sub.version }),
        kind: sub.kind,
        verbs: sub.verbs,
      })),
    ]),
  };
}
