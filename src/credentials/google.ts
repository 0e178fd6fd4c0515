import type { AuthClient, GoogleAuthOptions } from 'google-auth-library';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import {
  type CredentialsFile,
  type CredentialsJson,
  findDefaultCredentials,
  principalOf,
  readCredentialsFile,
} from './credentials-file.js';
import type { Environment } from './gcloud-config.js';
import type { AccessToken } from './token-source.js';

const SCOPES = [
  'https://www.googleapis.com/auth/cloud-platform',
  // The gateway tells the cluster who is calling by the token's e-mail address.
  'https://www.googleapis.com/auth/userinfo.email',
];

/** getClient() looks for a project by running gcloud unless it is given one; nothing of ours uses it. */
const NO_PROJECT = 'unused';

const LOGIN = 'gcloud auth application-default login';

/**
 * Tokens of Google's own library: application default credentials, or a key file. Each fetch reads the files anew and
 * makes a new client, because a client hands out its own cached token again even after Google has refused it, and
 * because a person may have logged in meanwhile.
 */
export function googleCredentials(options: { keyFile?: string; env: Environment }): {
  readonly description: string;
  readonly fetch: (signal: AbortSignal) => Promise<AccessToken>;
} {
  const { keyFile, env } = options;
  const locate = (): CredentialsFile | undefined =>
    keyFile === undefined ? findDefaultCredentials(env) : { path: keyFile, byVariable: false };
  return {
    description: describe(locate(), keyFile !== undefined),
    async fetch(signal) {
      const file = locate();
      const json = file === undefined ? undefined : readCredentialsFile(file.path);
      try {
        const client = await createClient(json, signal);
        const { token } = await client.getAccessToken();
        if (typeof token !== 'string' || token === '') throw new Error('the answer held no token');
        const { expiry_date: expiresAt } = client.credentials;
        return { value: token, ...(typeof expiresAt === 'number' ? { expiresAt } : {}) };
      } catch (error) {
        throw explain(error, { file, json, isKey: keyFile !== undefined || json?.type === 'service_account' });
      }
    },
  };
}

/** Loads the library at the first call: it costs 70 ms and 14 MB that a token file does not need. */
async function createClient(json: CredentialsJson | undefined, signal: AbortSignal): Promise<AuthClient> {
  const { GoogleAuth } = await import('google-auth-library');
  const options: GoogleAuthOptions = {
    scopes: SCOPES,
    projectId: NO_PROJECT,
    // Its interceptors would log whole token answers where GOOGLE_SDK_NODE_LOGGING is set.
    clientOptions: { useAuthRequestParameters: false, transporterOptions: { signal } },
    // The type only tells a few of the fields; the library checks them by itself.
    ...(json === undefined ? {} : { credentials: json as NonNullable<GoogleAuthOptions['credentials']> }),
  };
  const client = await new GoogleAuth(options).getClient();
  const tokenUri = ownTokenUri(json);
  if (tokenUri !== undefined) {
    client.transporter.interceptors.request.add({
      resolved: async (config) => {
        if (String(config.url) === 'https://oauth2.googleapis.com/token') config.url = new URL(tokenUri);
        return config;
      },
    });
  }
  return client;
}

/**
 * The token endpoint that a key of another issuer names, such as the emulator's. The library has Google's built in.
 * Keys of Google name Google's, in an older or newer form.
 */
function ownTokenUri(json: CredentialsJson | undefined): string | undefined {
  if (json?.type !== 'service_account' && json?.type !== 'authorized_user') return undefined;
  const uri = json['token_uri'];
  if (typeof uri !== 'string' || !URL.canParse(uri)) return undefined;
  return /(^|\.)(googleapis|google)\.com$/.test(new URL(uri).hostname) ? undefined : uri;
}

function describe(file: CredentialsFile | undefined, isKeyFile: boolean): string {
  const source = isKeyFile ? `key file ${file?.path}` : 'application default credentials';
  if (file === undefined) return source;
  try {
    return principalOf(readCredentialsFile(file.path)) ?? source;
  } catch {
    // The first fetch says what is wrong with it.
    return source;
  }
}

interface Used {
  readonly file: CredentialsFile | undefined;
  readonly json: CredentialsJson | undefined;
  readonly isKey: boolean;
}

function explain(error: unknown, { file, isKey }: Used): CodedError {
  const told = oneLine(describeError(error));
  const data = (error as { response?: { data?: { error?: unknown; error_subtype?: unknown } } } | undefined)?.response
    ?.data;
  const code = typeof data?.error === 'string' ? data.error : '';
  const subtype = typeof data?.error_subtype === 'string' ? data.error_subtype : '';
  const where = file === undefined ? 'the metadata server' : `the credentials file ${file.path}`;
  const login = file?.byVariable ? `unset GOOGLE_APPLICATION_CREDENTIALS and run: ${LOGIN}` : `run: ${LOGIN}`;
  if (/Could not load the default credentials/i.test(told)) {
    return failure('credentials-missing', `no Google credentials on this machine; run: ${LOGIN}`, error);
  }
  if (subtype === 'invalid_rapt' || /reauth|invalid_rapt/i.test(told)) {
    return failure('reauthentication-required', `Google asks for a new login; ${login}`, error);
  }
  if (code === 'invalid_grant' || /invalid_grant/.test(told)) {
    const fix = isKey ? `make a new key and check the clock of this machine, or ${login}` : login;
    return failure(
      'credentials-revoked',
      `Google refused ${where} as expired or revoked (invalid_grant); ${fix}`,
      error,
    );
  }
  const network = systemCode(error);
  const reason = network === undefined || told.includes(network) ? told : `${told} (${network})`;
  return failure('token-unavailable', `no token from ${where}: ${reason}`, error);
}

function failure(code: string, message: string, error: unknown): CodedError {
  return new CodedError({
    code,
    message,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
    cause: withoutPayload(error),
  });
}

/** The library's errors hold the whole request, with refresh tokens in it; a crash report would print that. */
function withoutPayload(error: unknown): Error {
  const code = systemCode(error);
  const bare = new Error(oneLine(describeError(error)));
  return code === undefined ? bare : Object.assign(bare, { code });
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 300);
}
