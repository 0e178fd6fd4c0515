import type { AuthClient, GoogleAuthOptions } from 'google-auth-library';
import type { Clock } from '../base/clock.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import { credentialsError } from './credentials-error.js';
import { accountOf, type CredentialsJson, textField } from './credentials-file.js';
import type { Environment } from './gcloud-config.js';
import { explainGoogle, type HeardOfGoogle } from './google-failure.js';
import { DEFAULT_UNIVERSE } from './principal.js';
import type { AccessToken, Credentials } from './token-source.js';

export const SCOPES = [
  'https://www.googleapis.com/auth/cloud-platform',
  // The gateway tells the cluster who is calling by the token's e-mail address.
  'https://www.googleapis.com/auth/userinfo.email',
];

/** getClient() looks for a project by running gcloud unless it is given one; nothing of ours uses it. */
const NO_PROJECT = 'unused';
/** Built into the library. */
const TOKEN_URL = 'https://oauth2.googleapis.com/token';
const MAY_RUN = 'GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES';

export interface GoogleOptions {
  readonly json: CredentialsJson;
  /** The file that it is from, for messages. */
  readonly path: string;
  readonly env: Environment;
  readonly clock: Clock;
  /** Knows the way: certificates that are trusted, forward proxies. */
  readonly dispatcher: DispatcherSource;
}

/**
 * Tokens of Google's own library for a file of credentials. Each fetch makes a new client, because a client hands out
 * its own cached token again even after Google has refused it.
 */
export function googleCredentials(
  options: GoogleOptions & Pick<Credentials, 'principal' | 'origin' | 'renewal'>,
): Credentials {
  const { json, path, env, clock, principal, origin, renewal } = options;
  return {
    ...{ principal, origin, renewal },
    async fetch(signal) {
      assertNothingIsRun(json, { path, env });
      const heard: HeardOfGoogle = {};
      try {
        const client = await createClient(options, { signal, heard });
        return await tokenOf(client, json, clock);
      } catch (error) {
        throw explainGoogle(error, { json, path, heard, renewal });
      }
    },
  };
}

/** The library refuses by itself too, in words that name neither the file nor the place of the variable. */
function assertNothingIsRun(json: CredentialsJson, { path, env }: Pick<GoogleOptions, 'path' | 'env'>): void {
  const source = json['credential_source'] as { executable?: unknown } | null | undefined;
  if (json.type !== 'external_account' || source?.executable === undefined || env[MAY_RUN] === '1') return;
  throw credentialsError(
    'executable-refused',
    `the credentials file ${path} wants a program to be run (credential_source.executable), which nobody has allowed; if you trust the file, start the daemon with the environment variable ${MAY_RUN}=1`,
  );
}

/** Loads the library at the first call: it costs 70 ms and 14 MB that a token file does not need. */
async function createClient(
  options: GoogleOptions,
  call: { signal: AbortSignal; heard: HeardOfGoogle },
): Promise<AuthClient> {
  const { GoogleAuth } = await import('google-auth-library');
  const { json } = options;
  const settings: GoogleAuthOptions = {
    scopes: SCOPES,
    projectId: NO_PROJECT,
    clientOptions: {
      // Its interceptors would log whole token answers where GOOGLE_SDK_NODE_LOGGING is set.
      useAuthRequestParameters: false,
      transporterOptions: { signal: call.signal, fetchImplementation: fetchFor(options, call.heard) },
    },
    // The type only tells a few of the fields; the library checks them by itself.
    credentials: json as NonNullable<GoogleAuthOptions['credentials']>,
  };
  const client = await new GoogleAuth(settings).getClient();
  // Of all clients this one alone has a part that goes its own way, without signal and trust.
  const { stsCredential } = client as { stsCredential?: { transporter?: unknown } };
  if (stsCredential?.transporter !== undefined) stsCredential.transporter = client.transporter;
  return client;
}

type FetchImplementation = NonNullable<AuthClient['transporter']['defaults']['fetchImplementation']>;

/** The way of all our calls of Google, with an ear for the time that it is there. */
function fetchFor({ json, dispatcher, clock }: GoogleOptions, heard: HeardOfGoogle): FetchImplementation {
  const tokenUri = ownTokenUri(json);
  return async (input, init) => {
    const url = tokenUri !== undefined && String(input) === TOKEN_URL ? tokenUri : String(input);
    const { method, headers, body, signal } = init ?? {};
    const { fetch: fetchByUndici } = await loadUndici();
    const calling = fetchByUndici(url, {
      ...(method === undefined ? {} : { method }),
      ...(headers === undefined ? {} : { headers: [...new Headers(headers)] as [string, string][] }),
      ...(body === undefined || body === null ? {} : { body: String(body) }),
      ...(signal === undefined || signal === null ? {} : { signal }),
      dispatcher: await dispatcher(),
    });
    const response = await calling.catch((error: unknown) => {
      // "fetch failed" says nothing; what lies behind it does.
      throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
    });
    heard.status = response.status;
    const date = Date.parse(response.headers.get('date') ?? '');
    if (!Number.isNaN(date)) heard.clockAheadMs = clock.now() - date;
    return response as unknown as Response;
  };
}

/**
 * The token endpoint that a key of another issuer names, such as the emulator's. Keys of Google name Google's, in an
 * older or newer form.
 */
function ownTokenUri(json: CredentialsJson): string | undefined {
  if (json.type !== 'service_account' && json.type !== 'authorized_user') return undefined;
  const uri = textField(json, 'token_uri');
  if (uri === undefined || !URL.canParse(uri)) return undefined;
  return /(^|\.)(googleapis|google)\.com$/.test(new URL(uri).hostname) ? undefined : uri;
}

async function tokenOf(client: AuthClient, json: CredentialsJson, clock: Clock): Promise<AccessToken> {
  if (
    json.type === 'service_account' &&
    (textField(json, 'universe_domain') ?? DEFAULT_UNIVERSE) !== DEFAULT_UNIVERSE
  ) {
    // Other universes have no token endpoint: the library signs the token itself.
    const value = (await client.getRequestHeaders()).get('authorization')?.replace(/^Bearer /, '') ?? '';
    const { exp } = claimsOf(value);
    return { value, ...(typeof exp === 'number' ? { expiresAt: exp * 1000 } : {}) };
  }
  const before = clock.now();
  const machineBefore = Date.now();
  const { token } = await client.getAccessToken();
  if (typeof token !== 'string' || token === '') throw new Error('the answer held no token');
  const { expiry_date: expiry, id_token: idToken } = client.credentials;
  const { email } = claimsOf(idToken ?? '');
  const account = accountOf(json) ?? (typeof email === 'string' ? email : undefined);
  return {
    value: token,
    // The library counts by the system's clock.
    ...(typeof expiry === 'number' ? { expiresAt: expiry - machineBefore + before } : {}),
    ...(account === undefined ? {} : { account }),
  };
}

/** What a JWT says, unchecked: it is for display. */
function claimsOf(jwt: string): { readonly exp?: unknown; readonly email?: unknown } {
  try {
    const claims: unknown = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return typeof claims === 'object' && claims !== null ? claims : {};
  } catch {
    return {};
  }
}
