import { tokenEndpoint } from '../../daemon/google-side.js';
import type { Settings } from '../../daemon/settings.js';
import type { Environment } from './in-force.js';

/** The origins of Google that these settings make the daemon ask, each once. */
export function endpointUrls(o: {
  settings: Settings;
  env: Environment;
  memberships: readonly { readonly endpoint: string }[];
}): string[] {
  const { settings, env, memberships } = o;
  const { endpoints, identities, projects } = settings;
  const used = new Set(['default', ...settings.memberships.map(({ identity = 'default' }) => identity)]);
  const inUse = Object.entries(identities).flatMap(([name, identity]) => (used.has(name) ? [identity] : []));
  const gateways =
    endpoints.connectgateway === undefined
      ? memberships.map(({ endpoint }) => endpoint)
      : [endpoints.connectgateway, ...settings.memberships.flatMap(({ endpoint = [] }) => endpoint)];
  const urls = [
    ...(projects.length > 0 ? [endpoints.gkehub] : []),
    endpoints.cloudresourcemanager,
    ...(gateways.length > 0 ? gateways : ['https://connectgateway.googleapis.com']),
    ...(inUse.some(({ impersonate = [] }) => impersonate.length > 0) ? [endpoints.iamcredentials] : []),
    ...inUse.flatMap((identity) => tokenEndpoint(identity, env) ?? []),
  ];
  return [...new Set(urls.map((url) => new URL(url).origin))];
}
