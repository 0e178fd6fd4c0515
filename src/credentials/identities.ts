import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { CachedTokenSource } from './cached-token-source.js';
import { googleTokens } from './google.js';
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

/** Throws a CodedError for an identity that cannot work. */
export function createTokenSource(options: {
  name: string;
  identity: IdentitySettings;
  clock: Clock;
  log: Logger;
}): TokenSource {
  const { name, identity, clock } = options;
  if (identity.impersonate !== undefined && identity.impersonate.length > 0) {
    throw unsupported(`identity ${name}: impersonate: is not built yet; use a token file of the service account`);
  }
  const log = options.log.child({ identity: name });
  switch (identity.source) {
    case 'token-file':
      return new TokenFile({ path: identity.tokenFile ?? '', now: () => clock.now() });
    case 'key-file': {
      const keyFile = identity.keyFile ?? '';
      const fetch = googleTokens({ keyFile });
      return new CachedTokenSource({ description: `key file ${keyFile}`, fetch, clock, log });
    }
    case 'auto':
    case 'adc': {
      const description = 'application default credentials';
      return new CachedTokenSource({ description, fetch: googleTokens({}), clock, log });
    }
    case 'gcloud':
      throw unsupported(
        `identity ${name}: source gcloud is not built yet; use source adc after gcloud auth application-default login`,
      );
  }
}

function unsupported(message: string): CodedError {
  return new CodedError({ code: 'identity-unsupported', message, answer: { status: 501, reason: 'NotImplemented' } });
}
