import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.js';
import { shellQuoted } from '../base/shell-quoted.js';
import type { DispatcherSource } from '../base/undici.js';
import {
  accountOf,
  type CredentialsFile,
  type CredentialsJson,
  type Peeled,
  peel,
  readCredentialsFile,
  textField,
  wellKnownFile,
} from './credentials-file.js';
import type { Environment } from './gcloud-config.js';
import { googleCredentials } from './google.js';
import { metadataServerCredentials } from './metadata-server.js';
import { DEFAULT_UNIVERSE, type Principal } from './principal.js';
import type { Credentials, TokenOrigin } from './token-source.js';

const LOGIN = 'gcloud auth application-default login';

export interface FileCredentialsOptions {
  readonly file: CredentialsFile;
  readonly origin: TokenOrigin;
  /** Wins over the file's. */
  readonly quotaProject?: string;
  readonly env: Environment;
  readonly clock: Clock;
  readonly dispatcher: DispatcherSource;
}

/** What a file of credentials begins with, and whom it becomes by itself. The fetch tells of a file that cannot be used. */
export function fileCredentials(
  options: FileCredentialsOptions,
): { readonly credentials: Credentials } & Omit<Peeled, 'json'> {
  const { file, origin, env } = options;
  const { path } = file;
  let peeled: Peeled;
  try {
    peeled = peel(readCredentialsFile(path), path);
  } catch (error) {
    const principal: Principal = { account: `credentials file ${path}`, chain: [], universe: DEFAULT_UNIVERSE };
    return {
      credentials: { principal, origin, renewal: `see: ${path}`, fetch: () => Promise.reject(error) },
      chain: [],
    };
  }
  const { json, ...how } = peeled;
  const principal = principalOf(json, options);
  const renewal = renewalOf(peeled, file, env);
  return { credentials: googleCredentials({ ...options, json, path, principal, origin, renewal }), ...how };
}

/** Application default credentials where there is no file of them. */
export function noFileCredentials(options: {
  readonly env: Environment;
  readonly clock: Clock;
  readonly universe: string;
  readonly quotaProject?: string;
}): Credentials {
  const { env, universe } = options;
  const quotaProject = options.quotaProject ?? env['GOOGLE_CLOUD_QUOTA_PROJECT'];
  return metadataServerCredentials({
    ...options,
    principal: {
      account: "the metadata server's service account",
      chain: [],
      universe,
      ...(quotaProject ? { quotaProject } : {}),
    },
    renewal: `run: ${LOGIN}`,
  });
}

/** The Google Cloud universe that the credentials of a file are of; undefined for a file that cannot be used. */
export function universeOfFile(path: string): string | undefined {
  try {
    return universeOf(peel(readCredentialsFile(path), path).json);
  } catch {
    return undefined;
  }
}

function universeOf(json: CredentialsJson): string {
  return textField(json, 'universe_domain') ?? DEFAULT_UNIVERSE;
}

function principalOf(json: CredentialsJson, { file, env, quotaProject: wanted }: FileCredentialsOptions): Principal {
  const quotaProject = wanted ?? (env['GOOGLE_CLOUD_QUOTA_PROJECT'] || textField(json, 'quota_project_id'));
  return {
    account: accountOf(json) ?? `the login of ${file.path}`,
    fingerprint: createHash('sha256').update(JSON.stringify(json)).digest('hex').slice(0, 16),
    chain: [],
    universe: universeOf(json),
    ...(quotaProject ? { quotaProject } : {}),
  };
}

function renewalOf({ json, chain }: Peeled, file: CredentialsFile, env: Environment): string {
  switch (json.type) {
    case 'service_account': {
      const account = accountOf(json) ?? 'ACCOUNT';
      return `make a new key; run: gcloud iam service-accounts keys create ${shellQuoted(file.path)} --iam-account=${account}`;
    }
    case 'external_account': {
      const { file: from, url } = (json['credential_source'] ?? {}) as { file?: unknown; url?: unknown };
      return `renew the workload's own token, which is read from: ${String(from ?? url ?? 'its provider')}`;
    }
    default: {
      const folder = env['CLOUDSDK_CONFIG'];
      const written = wellKnownFile(env);
      // A login is written to one place, whatever file the daemon has been told to use.
      const copy = file.path === written ? '' : ` && cp ${shellQuoted(written)} ${shellQuoted(file.path)}`;
      const become = chain.length === 0 ? '' : ` --impersonate-service-account=${chain.join(',')}`;
      return `run: ${folder ? `CLOUDSDK_CONFIG=${shellQuoted(folder)} ` : ''}${LOGIN}${become}${copy}`;
    }
  }
}
