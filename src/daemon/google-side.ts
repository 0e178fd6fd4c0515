import { readFileSync } from 'node:fs';
import type { Dispatcher } from 'undici';
import type { Clock } from '../base/clock.js';
import { CodedError, describeError, UsageError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { createTokenSource } from '../credentials/identities.js';
import type { TokenSource } from '../credentials/token-source.js';
import { createHubClient, type HubClient } from '../fleet/hub-client.js';
import { createJsonClient, type JsonClient } from '../fleet/json-client.js';
import { createDialer, type Dialer } from '../gateway/dial.js';
import { type ForwardProxySettings, forwardProxySettings } from '../gateway/forward-proxy.js';
import { createHttpUpstream } from '../gateway/http-upstream.js';
import { type EndpointProbe, probeEndpoint } from '../gateway/probe-endpoint.js';
import type { Settings } from './settings.js';

export type { EndpointProbe, HubClient, TokenSource };

type Environment = Readonly<Record<string, string | undefined>>;

/** The way to Google that settings and environment name. Throws a CodedError for a CA file that cannot be used. */
export function googleWay(
  settings: Settings,
  env: Environment,
): { dialer: Dialer; proxy: ForwardProxySettings; extraCa?: string } {
  const extraCa = readExtraCa(settings.endpoints.caFile);
  const proxy = forwardProxySettings(env);
  const options = { proxy, ...(extraCa === undefined ? {} : { extraCa }) };
  return { dialer: createDialer(options), ...options };
}

/** The control APIs, as the identity `default`. */
export function controlApis(o: {
  settings: Settings;
  tokens: () => TokenSource;
  dispatcher: Dispatcher;
  clock: Clock;
  /** For one who waits: no repetitions, and no long wait. */
  impatient?: { deadlineMs: number };
}): { json: JsonClient; hub: HubClient } {
  const { settings, tokens, dispatcher, clock, impatient } = o;
  const { gkehub, connectgateway, cloudresourcemanager } = settings.endpoints;
  const { quotaProject } = settings.identities['default'] ?? {};
  const json = createJsonClient({
    tokens,
    dispatcher,
    clock,
    ...(quotaProject === undefined ? {} : { quotaProject }),
    ...(impatient === undefined ? {} : { retries: 0, ...impatient }),
  });
  const endpoints = { gkehub, cloudresourcemanager, ...(connectgateway === undefined ? {} : { connectgateway }) };
  return { json, hub: createHubClient({ json, endpoints }) };
}

/** Throws a CodedError for an identity that the settings do not have, or that cannot work. */
export function openIdentity(
  name: string,
  o: { settings: Settings; env: Environment; dispatcher: Dispatcher; clock: Clock; log: Logger },
): TokenSource {
  const { settings, dispatcher, ...rest } = o;
  const identity = settings.identities[name];
  const iam = { endpoint: settings.endpoints.iamcredentials, dispatcher };
  if (identity !== undefined) return createTokenSource({ name, identity, iam, ...rest });
  const known = Object.keys(settings.identities).join(', ');
  throw new UsageError(`there is no identity ${JSON.stringify(name)}; configured are ${known}`);
}

/** What a daemon with these settings and this environment would use of Google, without a daemon. */
export interface GoogleSide {
  readonly dialer: Dialer;
  readonly dispatcher: Dispatcher;
  readonly hub: HubClient;
  /** Throws as `openIdentity`. The same for the same name. */
  identity(name: string): TokenSource;
  /** Those of `wanted` that the identity `default` has on the project. */
  permissions(project: string, wanted: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** Never rejects. */
  probe(url: string, signal: AbortSignal): Promise<EndpointProbe>;
  close(): Promise<void>;
}

export function openGoogleSide(o: {
  settings: Settings;
  env: Environment;
  clock: Clock;
  log: Logger;
  deadlineMs: number;
}): GoogleSide {
  const { settings, env, clock, log, deadlineMs } = o;
  const { dialer, ...way } = googleWay(settings, env);
  const upstream = createHttpUpstream({ dialer });
  const { dispatcher } = upstream;
  const identities = new Map<string, TokenSource>();
  const identity = (name: string): TokenSource => {
    const source = identities.get(name) ?? openIdentity(name, { settings, env, dispatcher, clock, log });
    identities.set(name, source);
    return source;
  };
  const tokens = (): TokenSource => identity('default');
  const { json, hub } = controlApis({ settings, tokens, dispatcher, clock, impatient: { deadlineMs } });
  return {
    dialer,
    dispatcher,
    hub,
    identity,
    async permissions(project, wanted, signal) {
      const { cloudresourcemanager } = settings.endpoints;
      const url = `${cloudresourcemanager}/v3/projects/${encodeURIComponent(project)}:testIamPermissions`;
      const answer = (await json.post(url, { permissions: wanted }, signal)) as { permissions?: unknown };
      return Array.isArray(answer.permissions) ? answer.permissions.map(String) : [];
    },
    probe: (url, signal) => probeEndpoint(url, { ...way, clock, signal }),
    async close() {
      for (const source of identities.values()) source.close();
      await upstream.close();
    },
  };
}

function readExtraCa(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`endpoints.caFile: cannot read ${path}: ${describeError(error)}`, { cause: error });
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new CodedError({ code: 'ca-unusable', message: `endpoints.caFile: ${path} holds no PEM certificate` });
}
