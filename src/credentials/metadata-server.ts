import type { Agent } from 'undici';
import type { Clock } from '../base/clock.js';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import { credentialsError, oneLine } from './credentials-error.js';
import type { Environment } from './gcloud-config.js';
import { SCOPES } from './google.js';
import { DEFAULT_UNIVERSE } from './principal.js';
import type { AccessToken, Credentials } from './token-source.js';

const LINK_LOCAL = '169.254.169.254';
/** It is in the same machine; on a machine without one nobody answers, and somebody waits for that. */
const CONNECT_DEADLINE_MS = 2000;
/** GKE's own takes some seconds in a pod that has just started. */
const ANSWER_DEADLINE_MS = 15_000;
const FLAVOR = { 'Metadata-Flavor': 'Google' };

export interface MetadataServerOptions extends Pick<Credentials, 'principal' | 'renewal'> {
  readonly env: Environment;
  readonly clock: Clock;
  /** Of the endpoints: a machine of another universe has no tokens for them. */
  readonly universe: string;
}

/**
 * Tokens of the service account that this machine, pod or build runs as. Asked here and not through Google's library,
 * which logs the answer with GOOGLE_SDK_NODE_LOGGING, sends it through forward proxies, and never asks again when
 * nobody answered the first time.
 */
export function metadataServerCredentials(options: MetadataServerOptions): Credentials {
  const { env, clock, principal, renewal, universe } = options;
  const host = env['GCE_METADATA_IP'] || env['GCE_METADATA_HOST'] || LINK_LOCAL;
  const origin = /^https?:\/\//.test(host) ? host : `http://${host}`;
  // Of its own: what is link-local is never reached through a proxy.
  let agent: Agent | undefined;
  const dispatcher = async (): Promise<Agent> => {
    const undici = await loadUndici();
    agent ??= new undici.Agent({ connect: { timeout: CONNECT_DEADLINE_MS }, headersTimeout: ANSWER_DEADLINE_MS });
    return agent;
  };
  const ask = (path: string, signal: AbortSignal): Promise<Answer> =>
    askMetadata(`${origin}/computeMetadata/v1/${path}`, { dispatcher, signal });
  return {
    ...{ principal, renewal },
    origin: 'metadata-server',
    async fetch(signal) {
      if (env['METADATA_SERVER_DETECTION']?.trim().toLowerCase() === 'none') throw missing(renewal);
      const query = new URLSearchParams({ scopes: SCOPES.join(',') });
      const [token, email, domain] = await Promise.all([
        ask(`instance/service-accounts/default/token?${query}`, signal),
        ask('instance/service-accounts/default/email', signal).catch(() => undefined),
        ask('universe/universe-domain', signal).catch(() => undefined),
      ]).catch((error: unknown) => {
        signal.throwIfAborted();
        if (error instanceof CodedError) throw error;
        throw missing(renewal, `no metadata server answers: ${systemCode(error) ?? describeError(error)}`);
      });
      const own = domain?.status === 200 && domain.text.trim() !== '' ? domain.text.trim() : DEFAULT_UNIVERSE;
      if (own !== universe) throw universeMismatch("this machine's metadata server", own, universe);
      return readToken(token, { clock, renewal, email: email?.status === 200 ? email.text.trim() : '' });
    },
  };
}

export function universeMismatch(what: string, own: string, universe: string): CodedError {
  return credentialsError(
    'universe-mismatch',
    `the credentials of ${what} are of the universe ${own}, and the endpoints of ${universe}: no token goes there; set endpoints.universeDomain: ${own} in config.yaml and restart`,
  );
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function askMetadata(
  url: string,
  { dispatcher, signal }: { dispatcher: DispatcherSource; signal: AbortSignal },
): Promise<Answer> {
  const { request } = await loadUndici();
  const { statusCode, headers, body } = await request(url, {
    dispatcher: await dispatcher(),
    signal,
    headers: FLAVOR,
  });
  const text = await body.text();
  // Some routers answer for every address.
  if (headers['metadata-flavor'] !== 'Google') throw new Error('what answers there is no metadata server of Google');
  return { status: statusCode, text };
}

function readToken(
  { status, text }: Answer,
  { clock, renewal, email }: { clock: Clock; renewal: string; email: string },
): AccessToken {
  if (status === 404) throw missing(renewal, 'the metadata server knows no service account');
  if (status !== 200) {
    throw credentialsError('token-unavailable', `the metadata server answered HTTP ${status}: ${oneLine(text)}`);
  }
  let json: { access_token?: unknown; expires_in?: unknown } = {};
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    // Told below; the text may hold a token.
  }
  const { access_token: value, expires_in: seconds } = json;
  if (typeof value !== 'string' || value === '') {
    throw credentialsError('token-unavailable', 'the metadata server answered with something else than a token');
  }
  return {
    value,
    ...(typeof seconds === 'number' ? { expiresAt: clock.now() + seconds * 1000 } : {}),
    ...(/^\S+@\S+$/.test(email) ? { account: email } : {}),
  };
}

function missing(renewal: string, why = 'asking a metadata server is switched off'): CodedError {
  return credentialsError(
    'credentials-missing',
    `no Google credentials on this machine (no file, and ${why}); ${renewal}`,
  );
}
