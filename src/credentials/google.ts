import type { AuthClient, GoogleAuthOptions } from 'google-auth-library';
import { CodedError, describeError } from '../base/errors.js';
import type { AccessToken } from './token-source.js';

const SCOPES = [
  'https://www.googleapis.com/auth/cloud-platform',
  // The gateway tells the cluster who is calling by the token's e-mail address.
  'https://www.googleapis.com/auth/userinfo.email',
];

/** getClient() looks for a project by running gcloud unless it is given one; nothing of ours uses it. */
const NO_PROJECT = 'unused';

/**
 * Tokens of Google's own library: application default credentials, or a key file. Loaded at the first call, because it
 * costs 70 ms and 14 MB that a token file does not need.
 */
export function googleTokens(options: { keyFile?: string }): (signal: AbortSignal) => Promise<AccessToken> {
  let client: Promise<AuthClient> | undefined;
  return async () => {
    client ??= loadClient(options.keyFile);
    try {
      const loaded = await client;
      const { token } = await loaded.getAccessToken();
      if (typeof token !== 'string' || token === '') throw new Error('the answer held no token');
      const { expiry_date: expiresAt } = loaded.credentials;
      return { value: token, ...(typeof expiresAt === 'number' ? { expiresAt } : {}) };
    } catch (error) {
      // The next attempt reads the files again: a person may have logged in meanwhile.
      client = undefined;
      throw explain(error, options.keyFile);
    }
  };
}

async function loadClient(keyFile: string | undefined): Promise<AuthClient> {
  const { GoogleAuth } = await import('google-auth-library');
  const options: GoogleAuthOptions = { scopes: SCOPES, projectId: NO_PROJECT };
  return await new GoogleAuth(keyFile === undefined ? options : { ...options, keyFilename: keyFile }).getClient();
}

const LOGIN = 'gcloud auth application-default login';

function explain(error: unknown, keyFile: string | undefined): CodedError {
  const told = describeError(error);
  const data = (error as { response?: { data?: { error?: unknown; error_subtype?: unknown } } }).response?.data;
  const code = typeof data?.error === 'string' ? data.error : '';
  const subtype = typeof data?.error_subtype === 'string' ? data.error_subtype : '';
  const where = keyFile === undefined ? 'the application default credentials' : `the key file ${keyFile}`;
  if (/Could not load the default credentials|Unable to detect a Project Id/i.test(told)) {
    return failure('credentials-missing', `no Google credentials on this machine; run: ${LOGIN}`, error);
  }
  if (subtype === 'invalid_rapt' || /reauth|rapt/i.test(told)) {
    return failure('reauthentication-required', `Google asks for a new login; run: ${LOGIN}`, error);
  }
  if (code === 'invalid_grant' || /invalid_grant/.test(told)) {
    const fix = keyFile === undefined ? `run: ${LOGIN}` : 'make a new key, and check the clock of this machine';
    return failure(
      'credentials-revoked',
      `Google refused ${where} as expired or revoked (invalid_grant); ${fix}`,
      error,
    );
  }
  if (/ENOENT|EACCES|not valid JSON|Unexpected token|does not exist|is not a file/i.test(told)) {
    return failure('credentials-unreadable', `${where} cannot be read: ${told}`, error);
  }
  return failure('token-unavailable', `no token from ${where}: ${told}`, error);
}

function failure(code: string, message: string, cause: unknown): CodedError {
  return new CodedError({
    code,
    message,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
    cause,
  });
}
