import type { Dispatcher } from 'undici';
import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { createCachedTokenSource } from './cached-token-source.js';
import { defaultCredentialsFiles, findDefaultCredentials } from './credentials-file.js';
import { findGcloud, gcloudCredentials, type RunProgram } from './gcloud.js';
import { type Environment, gcloudConfigFiles, gcloudLoginFiles, hasGcloudLogin } from './gcloud-config.js';
import { googleCredentials } from './google.js';
import { impersonatedCredentials } from './impersonation.js';
import { TokenFile } from './token-file.js';
import type { TokenSource } from './token-source.js';
import { type WatchedFiles, WatchedTokenSource } from './watched-token-source.js';

/** One entry of `identities:`. */
export interface IdentitySettings {
  readonly source: 'auto' | 'gcloud' | 'adc' | 'token-file' | 'key-file';
  readonly tokenFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly account?: string | undefined;
  readonly impersonate?: readonly string[] | undefined;
  readonly quotaProject?: string | undefined;
}

export interface TokenSourceOptions {
  readonly name: string;
  readonly identity: IdentitySettings;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where logins are looked for. */
  readonly env: Environment;
  /** The IAM Credentials API, for chains. */
  readonly iam: { readonly endpoint: string; readonly dispatcher: Dispatcher };
  /** Runs gcloud. */
  readonly run?: RunProgram;
}

/** Throws a CodedError for an identity that cannot work. Nothing is fetched before the first `get`. */
export function createTokenSource(options: TokenSourceOptions): TokenSource {
  const { name, identity, clock, iam } = options;
  const log = options.log.child({ identity: name });
  const { create, files } = originOf(options, log);
  const chain = identity.impersonate ?? [];
  const wrong = chain.find((account) => !/^[^@\s/]+@[^@\s/]+$/.test(account));
  if (wrong !== undefined) {
    throw refuse(`identity ${name}: impersonate: ${JSON.stringify(wrong)} is no e-mail address of a service account`);
  }
  if (chain.length === 0) return files === undefined ? create() : new WatchedTokenSource({ create, files, clock, log });
  return new WatchedTokenSource({
    // Made anew with its beginning: what one principal could reach is not another's.
    create: () => {
      const base = create();
      return createCachedTokenSource({ ...impersonatedCredentials({ base, chain, ...iam }), base, clock, log });
    },
    files: files ?? ((): WatchedFiles => ({ principal: [identity.tokenFile ?? ''], login: [] })),
    clock,
    log,
  });
}

/** Where a principal's first token comes from. */
interface Origin {
  readonly create: () => TokenSource;
  /** Absent where the source looks after its file by itself. */
  readonly files?: () => WatchedFiles;
}

function originOf({ name, identity, clock, env, run }: TokenSourceOptions, log: Logger): Origin {
  const { account, tokenFile, keyFile } = identity;
  const adc = (key?: string): TokenSource =>
    createCachedTokenSource({ ...googleCredentials({ env, ...(key && { keyFile: key }) }), clock, log });
  const gcloud = (): TokenSource => {
    const options = { env, clock, ...(account && { account }), ...(run && { run }) };
    return createCachedTokenSource({ ...gcloudCredentials(options), clock, log });
  };
  const gcloudFiles = (): WatchedFiles => ({ principal: gcloudConfigFiles(env), login: gcloudLoginFiles(env) });
  switch (identity.source) {
    case 'token-file':
      if (!tokenFile) throw refuse(`identity ${name}: source token-file needs tokenFile`);
      return { create: () => new TokenFile({ path: tokenFile, now: () => clock.now() }) };
    case 'key-file':
      if (!keyFile) throw refuse(`identity ${name}: source key-file needs keyFile`);
      return { create: () => adc(keyFile), files: () => ({ principal: [keyFile], login: [] }) };
    case 'adc':
      return { create: () => adc(), files: () => ({ principal: defaultCredentialsFiles(env), login: [] }) };
    case 'gcloud':
      return { create: gcloud, files: gcloudFiles };
    case 'auto':
      return {
        create: () => {
          const source = chooseSource(env, account);
          log.info({ source }, CHOICES[source]);
          return source === 'gcloud' ? gcloud() : adc();
        },
        files: () => ({
          principal: [...defaultCredentialsFiles(env), ...gcloudConfigFiles(env)],
          login: gcloudLoginFiles(env),
        }),
      };
  }
}

const CHOICES = {
  adc: 'application default credentials (source: adc)',
  gcloud: "gcloud's login (source: gcloud), because there are no application default credentials",
  metadata: 'the metadata server (source: adc), because there is no file of credentials and no gcloud login',
} as const;

/** The order of `auto`: a named account is gcloud's; then a file of credentials, gcloud, the metadata server. */
function chooseSource(env: Environment, account: string | undefined): keyof typeof CHOICES {
  if (account !== undefined && account !== '') return 'gcloud';
  if (findDefaultCredentials(env) !== undefined) return 'adc';
  return hasGcloudLogin(env) && findGcloud(env) !== undefined ? 'gcloud' : 'metadata';
}

function refuse(message: string): CodedError {
  return new CodedError({ code: 'identity-invalid', message, answer: { status: 501, reason: 'NotImplemented' } });
}
