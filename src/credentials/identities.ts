import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { DispatcherSource } from '../base/undici.js';
import { createCachedTokenSource } from './cached-token-source.js';
import { defaultCredentialsFiles, findDefaultCredentials } from './credentials-file.js';
import { fileCredentials, noFileCredentials, universeOfFile } from './file-credentials.js';
import { findGcloud, gcloudCredentials, type RunProgram } from './gcloud.js';
import {
  type Environment,
  gcloudConfigFiles,
  gcloudLoginFiles,
  gcloudPrincipal,
  hasGcloudLogin,
} from './gcloud-config.js';
import { type ImpersonationOptions, impersonatedCredentials } from './impersonation.js';
import { universeMismatch } from './metadata-server.js';
import { principalKey } from './principal.js';
import { SharedTokenSources } from './shared-token-sources.js';
import { TokenFile } from './token-file.js';
import type { Credentials, TokenSource } from './token-source.js';
import { type Signs, signOfFiles, WatchedTokenSource } from './watched-token-source.js';

/** One entry of `identities:`. */
export interface IdentitySettings {
  readonly source: 'auto' | 'gcloud' | 'adc' | 'token-file' | 'key-file';
  readonly tokenFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** gcloud's, instead of the active one. */
  readonly account?: string | undefined;
  /** gcloud's, instead of the active one. */
  readonly configuration?: string | undefined;
  readonly impersonate?: readonly string[] | undefined;
  /** ms; of the tokens that a chain ends in. */
  readonly lifetime?: number | undefined;
  readonly quotaProject?: string | undefined;
}

export interface IdentitiesOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Where logins are looked for. */
  readonly env: Environment;
  /** Of the endpoints that the tokens are for. */
  readonly universe: string;
  /** The IAM Credentials API, for chains; its dispatcher knows the way to every API of Google. */
  readonly iam: { readonly endpoint: string; readonly dispatcher: DispatcherSource };
  /** Runs gcloud. */
  readonly run?: RunProgram;
}

/** The order in which `auto` looks: a named account or configuration is gcloud's; then these. */
const CHOICES = {
  adc: 'application default credentials (source: adc)',
  gcloud: "gcloud's login (source: gcloud), because there are no application default credentials",
  'metadata server': 'the metadata server (source: adc), because there is no file of credentials and no gcloud login',
} as const;

/** The identities of one daemon. Those that begin with the same login share its tokens. */
export class Identities {
  readonly #o: IdentitiesOptions;
  readonly #shared = new SharedTokenSources();

  constructor(options: IdentitiesOptions) {
    this.#o = options;
  }

  /**
   * The tokens of an identity. Closing the answer gives back what it shares. Throws a CodedError for one that cannot
   * work; nothing is fetched before the first `get`.
   */
  open(name: string, identity: IdentitySettings): TokenSource {
    const chain = identity.impersonate ?? [];
    const wrong = chain.find((account) => !/^[^@\s/]+@[^@\s/]+$/.test(account));
    if (wrong !== undefined) {
      throw refuse(`identity ${name}: impersonate: ${JSON.stringify(wrong)} is no e-mail address of a service account`);
    }
    if (chain.length === 0) return this.#beginning(name, identity);
    // Who is charged is said by the chain itself, so that chains of one login share it.
    const { quotaProject, lifetime, ...login } = identity;
    const how = {
      chain,
      ...(quotaProject === undefined ? {} : { quotaProject }),
      ...(lifetime === undefined ? {} : { lifetimeSeconds: Math.round(lifetime / 1000) }),
    };
    const watched = this.#beginning(name, login);
    const tokenFile = identity.source === 'token-file' ? [identity.tokenFile ?? ''] : [];
    return new WatchedTokenSource({
      // Made anew with its beginning: what one principal could reach is not another's.
      create: () => this.#impersonated({ base: this.#beginning(name, login), ...how }),
      signs: () => ({ principal: principalKey(watched.principal) + signOfFiles(tokenFile), login: '' }),
      onClose: () => watched.close(),
      clock: this.#o.clock,
      log: this.#o.log.child({ identity: name }),
    });
  }

  /** Where a principal's first token comes from. */
  #beginning(name: string, identity: IdentitySettings): TokenSource {
    const { tokenFile, keyFile, quotaProject } = identity;
    const { universe, clock } = this.#o;
    switch (identity.source) {
      case 'token-file': {
        if (!tokenFile) throw refuse(`identity ${name}: source token-file needs tokenFile`);
        const options = { path: tokenFile, now: () => clock.now(), universe, ...(quotaProject && { quotaProject }) };
        return this.#lease(['token-file', tokenFile, quotaProject], () => new TokenFile(options));
      }
      case 'key-file':
        if (!keyFile) throw refuse(`identity ${name}: source key-file needs keyFile`);
        return this.#lease(['key-file', keyFile, quotaProject], () =>
          this.#watched(
            () => this.#ofFile({ path: keyFile, byVariable: false }, 'key-file', quotaProject),
            () => ({ principal: signOfFiles([keyFile]), login: '' }),
          ),
        );
      case 'adc':
        return this.#applicationDefault(quotaProject);
      case 'gcloud':
        return this.#gcloud(identity);
      case 'auto':
        return this.#auto(identity);
    }
  }

  #auto(identity: IdentitySettings): TokenSource {
    const { env, log } = this.#o;
    const { account, configuration, quotaProject } = identity;
    const create = (): TokenSource => {
      const source = chooseSource(env, identity);
      log.info({ source }, CHOICES[source]);
      return source === 'gcloud' ? this.#gcloud(identity) : this.#applicationDefault(quotaProject);
    };
    // What is chosen looks after its own files.
    const signs = (): Signs => ({ principal: chooseSource(env, identity), login: '' });
    return this.#lease(['auto', account, configuration, quotaProject], () => this.#watched(create, signs));
  }

  #applicationDefault(quotaProject: string | undefined): TokenSource {
    const { env } = this.#o;
    return this.#lease(['adc', quotaProject], () =>
      this.#watched(
        () => {
          const file = findDefaultCredentials(env);
          if (file !== undefined) return this.#ofFile(file, 'adc', quotaProject);
          return this.#cached(noFileCredentials({ ...this.#o, ...(quotaProject && { quotaProject }) }));
        },
        () => ({ principal: signOfFiles(defaultCredentialsFiles(env)), login: '' }),
      ),
    );
  }

  #gcloud({ account, configuration, quotaProject }: IdentitySettings): TokenSource {
    const { clock, run } = this.#o;
    const env = withConfiguration(this.#o.env, configuration);
    const options = {
      env,
      clock,
      ...(account && { account }),
      ...(quotaProject && { quotaProject }),
      ...(run && { run }),
    };
    return this.#lease(['gcloud', account, configuration, quotaProject], () =>
      this.#watched(
        () => this.#cached(gcloudCredentials(options)),
        () => ({ principal: signOfFiles(gcloudConfigFiles(env)), login: signOfFiles(gcloudLoginFiles(env)) }),
      ),
    );
  }

  #ofFile(
    file: { path: string; byVariable: boolean },
    origin: 'adc' | 'key-file',
    quotaProject: string | undefined,
  ): TokenSource {
    const { env, clock, iam } = this.#o;
    const { credentials, chain, ...how } = fileCredentials({
      ...{ file, origin, env, clock },
      dispatcher: iam.dispatcher,
      ...(quotaProject && { quotaProject }),
    });
    const base = this.#cached(credentials);
    return chain.length === 0 ? base : this.#impersonated({ base, chain, ...how });
  }

  #impersonated(
    options: Omit<ImpersonationOptions, 'endpoint' | 'dispatcher' | 'clock'> & { endpoint?: string },
  ): TokenSource {
    const { iam, clock } = this.#o;
    return this.#cached(impersonatedCredentials({ ...iam, clock, ...options }), options.base);
  }

  #cached(credentials: Credentials, base?: TokenSource): TokenSource {
    const { clock, log, universe } = this.#o;
    return createCachedTokenSource({
      ...credentials,
      fetch: async (signal, why) => {
        const { principal } = credentials;
        if (principal.universe !== universe) throw universeMismatch(principal.account, principal.universe, universe);
        return await credentials.fetch(signal, why);
      },
      ...(base === undefined ? {} : { base }),
      clock,
      log,
    });
  }

  #watched(create: () => TokenSource, signs: () => Signs): TokenSource {
    const { clock, log } = this.#o;
    return new WatchedTokenSource({ create, signs, clock, log });
  }

  #lease(words: readonly (string | undefined)[], create: () => TokenSource): TokenSource {
    return this.#shared.lease(JSON.stringify(words), create);
  }
}

/** The Google Cloud universe that an identity's credentials say they are of; undefined where they do not say. */
export function declaredUniverse(identity: IdentitySettings, environment: Environment): string | undefined {
  const { source, keyFile, configuration } = identity;
  const env = withConfiguration(environment, configuration);
  if (source === 'key-file') return keyFile && universeOfFile(keyFile);
  if (source === 'gcloud' || (source === 'auto' && chooseSource(env, identity) === 'gcloud')) {
    return gcloudPrincipal(env).universe;
  }
  const file = source === 'token-file' ? undefined : findDefaultCredentials(env);
  return file && universeOfFile(file.path);
}

function chooseSource(env: Environment, { account, configuration }: IdentitySettings): keyof typeof CHOICES {
  if (account || configuration) return 'gcloud';
  if (findDefaultCredentials(env) !== undefined) return 'adc';
  return hasGcloudLogin(env) && findGcloud(env) !== undefined ? 'gcloud' : 'metadata server';
}

function withConfiguration(env: Environment, configuration: string | undefined): Environment {
  return configuration ? { ...env, CLOUDSDK_ACTIVE_CONFIG_NAME: configuration } : env;
}

function refuse(message: string): CodedError {
  return new CodedError({ code: 'identity-invalid', message, answer: { status: 501, reason: 'NotImplemented' } });
}
