import { readFileSync } from 'node:fs';
import type { SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.js';
import { CodedError, describeError, UsageError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { DispatcherSource } from '../base/undici.js';
import { findDefaultCredentials, peel, readCredentialsFile } from '../credentials/credentials-file.js';
import { findGcloud } from '../credentials/gcloud.js';
import { hasGcloudLogin } from '../credentials/gcloud-config.js';
import { Identities } from '../credentials/identities.js';
import type { AccessToken, TokenSource } from '../credentials/token-source.js';
import { createHubClient, type HubClient } from '../fleet/hub-client.js';
import { createJsonClient, type JsonClient } from '../fleet/json-client.js';
import { createDialer, type Dialer, trustIn } from '../gateway/dial.js';
import { type ForwardProxySettings, forwardProxySettings } from '../gateway/forward-proxy.js';
import { createHttpUpstream } from '../gateway/http-upstream.js';
import { type EndpointProbe, probeEndpoint } from '../gateway/probe-endpoint.js';
import type { Settings } from './settings.js';

export type { AccessToken, EndpointProbe };
export { findGcloud };

type Environment = Readonly<Record<string, string | undefined>>;

/** The way to Google that settings and environment name. Throws a CodedError for a CA file that cannot be used. */
export function googleWay(
  settings: Settings,
  env: Environment,
): { dialer: Dialer; proxy: ForwardProxySettings; secureContext: SecureContext } {
  const way = { proxy: forwardProxySettings(env), secureContext: trustIn(readExtraCa(settings.endpoints.caFile)) };
  return { dialer: createDialer(way), ...way };
}

/** The control APIs, as the identity `default`. */
export function controlApis(o: {
  settings: Settings;
  tokens: () => TokenSource;
  dispatcher: DispatcherSource;
  clock: Clock;
  /** For one who waits: no repetitions, and no long wait. */
  impatient?: { deadlineMs: number };
}): { json: JsonClient; hub: HubClient } {
  const { settings, tokens, dispatcher, clock, impatient } = o;
  const json = createJsonClient({
    tokens,
    dispatcher,
    clock,
    ...(impatient === undefined ? {} : { retries: 0, ...impatient }),
  });
  return { json, hub: createHubClient({ json, endpoints: settings.endpoints }) };
}

/** Throws a CodedError for an identity that the settings do not have, or that cannot work. */
export type IdentityOpener = (name: string, settings: Pick<Settings, 'identities'>) => TokenSource;

/** All that are opened by one opener share their logins. */
export function identityOpener(o: {
  /** Whose endpoints the tokens are for. */
  settings: Settings;
  env: Environment;
  dispatcher: DispatcherSource;
  clock: Clock;
  log: Logger;
}): IdentityOpener {
  const { settings, dispatcher, ...rest } = o;
  const { universeDomain: universe, iamcredentials } = settings.endpoints;
  const book = new Identities({ ...rest, universe, iam: { endpoint: iamcredentials, dispatcher } });
  return (name, { identities }) => {
    const identity = identities[name];
    if (identity !== undefined) return book.open(name, identity);
    const known = Object.keys(identities).join(', ');
    throw new UsageError(`there is no identity ${JSON.stringify(name)}; configured are ${known}`);
  };
}

/** The file of Google's credentials that an identity is made from, if it is made from one. */
export function credentialsPath(
  { source, keyFile }: Pick<Settings['identities'][string], 'source' | 'keyFile'>,
  env: Environment,
): string | undefined {
  if (source === 'token-file' || source === 'gcloud') return undefined;
  return keyFile ?? findDefaultCredentials(env)?.path;
}

/**
 * Where an identity's own file has its tokens come from, as far as the file says. Undefined for a token file, gcloud, the
 * metadata server, and a file that cannot be read.
 */
export function tokenEndpoint(
  { source, keyFile }: Settings['identities'][string],
  env: Environment,
): string | undefined {
  const path = credentialsPath({ source, keyFile }, env);
  if (path === undefined) return undefined;
  try {
    const { json } = peel(readCredentialsFile(path), path);
    const url = json['token_uri'] ?? json['token_url'] ?? 'https://oauth2.googleapis.com/token';
    return typeof url === 'string' && URL.canParse(url) ? url : undefined;
  } catch {
    return undefined;
  }
}

/** Whether an identity's tokens come from gcloud, or would if it were there. */
export function usesGcloud(
  { source, account, configuration }: Settings['identities'][string],
  env: Environment,
): boolean {
  if (source !== 'auto') return source === 'gcloud';
  return (
    account !== undefined ||
    configuration !== undefined ||
    (findDefaultCredentials(env) === undefined && hasGcloudLogin(env))
  );
}

/** What a daemon with these settings and this environment would use of Google, without a daemon. */
export interface GoogleSide {
  readonly dialer: Dialer;
  readonly dispatcher: DispatcherSource;
  readonly hub: HubClient;
  /** Throws as an `IdentityOpener`. The same for the same name. */
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
  const upstream = createHttpUpstream({ dialer, clock });
  const { dispatcher } = upstream;
  const open = identityOpener({ settings, env, dispatcher, clock, log });
  const identities = new Map<string, TokenSource>();
  const identity = (name: string): TokenSource => {
    const source = identities.get(name) ?? open(name, settings);
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
