import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { createCachedTokenSource } from './cached-token-source.js';
import type { Environment } from './credentials-file.js';
import { googleCredentials } from './google.js';
import { TokenFile } from './token-file.js';
import type { TokenSource } from './token-source.js';

/** One entry of `identities:`. */
export interface IdentitySettings {
  readonly source: 'auto' | 'gcloud' | 'adc' | 'token-file' | 'key-file';
  readonly tokenFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly account?: string | undefined;
  readonly impersonate?: readonly string[] | undefined;
  readonly quotaProject?: string | undefined;
}

/** Throws a CodedError for an identity that cannot work. Nothing is fetched before the first `get`. */
export function createTokenSource(options: {
  name: string;
  identity: IdentitySettings;
  clock: Clock;
  log: Logger;
  /** Where the application default credentials are looked for. */
  env: Environment;
}): TokenSource {
  const { name, identity, clock, env } = options;
  if (identity.impersonate !== undefined && identity.impersonate.length > 0) {
    throw refuse(`identity ${name}: impersonate: is not built yet; use a token file of the service account`);
  }
  const log = options.log.child({ identity: name });
  switch (identity.source) {
    case 'token-file': {
      const path = identity.tokenFile;
      if (path === undefined || path === '') throw refuse(`identity ${name}: source token-file needs tokenFile`);
      return new TokenFile({ path, now: () => clock.now() });
    }
    case 'key-file': {
      const { keyFile } = identity;
      if (keyFile === undefined || keyFile === '') throw refuse(`identity ${name}: source key-file needs keyFile`);
      return createCachedTokenSource({ ...googleCredentials({ keyFile, env }), clock, log });
    }
    case 'auto':
    case 'adc':
      return createCachedTokenSource({ ...googleCredentials({ env }), clock, log });
    case 'gcloud':
      throw refuse(
        `identity ${name}: source gcloud is not built yet; use source adc after gcloud auth application-default login`,
      );
  }
}

function refuse(message: string): CodedError {
  return new CodedError({ code: 'identity-unsupported', message, answer: { status: 501, reason: 'NotImplemented' } });
}
