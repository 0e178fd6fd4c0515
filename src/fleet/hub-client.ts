import { CodedError } from '../base/errors.js';
import type { JsonClient } from './json-client.js';
import type { Membership } from './membership.js';
import { gatewayHost, type MembershipPath, parseMembershipName } from './names.js';

/** A membership as gkehub tells it, before names, ports and endpoints are decided. */
export interface HubMembership extends MembershipPath {
  readonly name: string;
  readonly kind: Membership['kind'];
  readonly state: string;
  readonly uniqueId?: string;
  readonly kubernetesVersion?: string;
}

export interface HubListing {
  readonly memberships: readonly HubMembership[];
  /** Locations whose memberships are missing from the answer, e.g. `us-central1`. */
  readonly unreachable: readonly string[];
  /** Names of memberships whose cluster is gone: they are registered, and lead nowhere. */
  readonly gone?: readonly string[];
}

/** Google's APIs that say what a fleet is. Every call rejects with the JSON client's CodedErrors. */
export interface HubClient {
  /** All pages, all locations. */
  list(project: string, signal?: AbortSignal): Promise<HubListing>;
  /** The URL of the cluster behind the gateway, as Google tells it. `path.project` should be the number. */
  endpoint(path: MembershipPath, signal?: AbortSignal): Promise<string>;
  project(project: string, signal?: AbortSignal): Promise<{ number: string; id: string }>;
}

/** More is not needed; the API's own default of "all" makes one answer of unbounded size. */
const PAGE_SIZE = 500;
/** A server that repeats its page token would be asked for ever. */
const MAX_PAGES = 1000;

export function createHubClient(options: {
  json: Pick<JsonClient, 'get'>;
  endpoints: { universeDomain: string; gkehub: string; cloudresourcemanager: string; connectgateway?: string };
}): HubClient {
  const { json, endpoints } = options;
  return {
    async list(project, signal) {
      const memberships: HubMembership[] = [];
      const gone: string[] = [];
      const unreachable = new Set<string>();
      let pageToken = '';
      for (let page = 0; page < MAX_PAGES; page++) {
        const query = new URLSearchParams({ pageSize: String(PAGE_SIZE), ...(pageToken === '' ? {} : { pageToken }) });
        const url = `${endpoints.gkehub}/v1/projects/${encodeURIComponent(project)}/locations/-/memberships?${query}`;
        const answer = asRecord(await json.get(url, signal));
        for (const resource of asList(answer['resources'])) {
          const membership = readMembership(resource);
          if (membership === undefined) continue;
          if (isClusterMissing(resource)) gone.push(membership.name);
          else memberships.push(membership);
        }
        // Names or bare locations: both forms are seen.
        for (const place of asList(answer['unreachable'])) unreachable.add(String(place).split('/').at(-1) ?? '');
        const next = asText(answer['nextPageToken']);
        if (next === '' || next === pageToken) break;
        pageToken = next;
      }
      return { memberships, unreachable: [...unreachable], gone };
    },
    async endpoint(path, signal) {
      const host = endpoints.connectgateway ?? gatewayHost(path.location, endpoints.universeDomain);
      const name = `projects/${path.project}/locations/${path.location}/memberships/${path.id}`;
      const { endpoint } = asRecord(await json.get(`${host}/v1/${name}:generateCredentials`, signal));
      if (typeof endpoint === 'string' && URL.canParse(endpoint)) {
        const { origin, pathname } = new URL(endpoint);
        return origin + pathname.replace(/\/+$/, '');
      }
      throw new CodedError({ code: 'google-odd-answer', message: `generateCredentials of ${name} named no endpoint` });
    },
    async project(project, signal) {
      const url = `${endpoints.cloudresourcemanager}/v3/projects/${encodeURIComponent(project)}`;
      const { name, projectId } = asRecord(await json.get(url, signal));
      const number = /^projects\/(\d+)$/.exec(asText(name))?.[1];
      if (number === undefined) {
        throw new CodedError({
          code: 'google-odd-answer',
          message: `the answer on project ${project} names no number`,
        });
      }
      return { number, id: asText(projectId) || project };
    },
  };
}

function readMembership(resource: unknown): HubMembership | undefined {
  const record = asRecord(resource);
  const name = asText(record['name']);
  const path = parseMembershipName(name);
  if (path === undefined) return undefined;
  const endpoint = asRecord(record['endpoint']);
  const [, kind] = KINDS.find(([field]) => endpoint[field] !== undefined) ?? ['', 'attached' as const];
  const version = asText(asRecord(endpoint['kubernetesMetadata'])['kubernetesApiServerVersion']);
  const uniqueId = asText(record['uniqueId']);
  return {
    ...path,
    name,
    kind,
    state: asText(asRecord(record['state'])['code']) || 'CODE_UNSPECIFIED',
    ...(uniqueId === '' ? {} : { uniqueId }),
    ...(version === '' ? {} : { kubernetesVersion: version }),
  };
}

function isClusterMissing(resource: unknown): boolean {
  const endpoint = asRecord(asRecord(resource)['endpoint']);
  return KINDS.some(([field]) => asRecord(endpoint[field])['clusterMissing'] === true);
}

const KINDS = [
  ['gkeCluster', 'gke'],
  ['multiCloudCluster', 'multi-cloud'],
  ['onPremCluster', 'on-prem'],
  ['edgeCluster', 'edge'],
  ['applianceCluster', 'appliance'],
] as const;

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
}
