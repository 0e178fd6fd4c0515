import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError, systemCode } from '../base/errors.js';
import { credentialsError } from './credentials-error.js';
import { type Environment, gcloudFolder } from './gcloud-config.js';

/** A file of credentials for Google's library: a key, a gcloud login, or a workload's federation settings. */
export interface CredentialsFile {
  readonly path: string;
  /** Named by GOOGLE_APPLICATION_CREDENTIALS: a new login would be written elsewhere and not be seen. */
  readonly byVariable: boolean;
}

export interface CredentialsJson {
  /** `service_account`, `authorized_user`, `external_account`, ... */
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Far above any of these files: a wrong path must not read a disk image into memory. */
const MAX_BYTES = 1024 * 1024;

/** Where the application default credentials are, by the rules of Google's libraries; undefined where there is no file. */
export function findDefaultCredentials(env: Environment): CredentialsFile | undefined {
  const named = env['GOOGLE_APPLICATION_CREDENTIALS'] || env['google_application_credentials'];
  if (named !== undefined && named !== '') return { path: named, byVariable: true };
  const path = wellKnownFile(env);
  return statSync(path, { throwIfNoEntry: false }) === undefined ? undefined : { path, byVariable: false };
}

/** Where `gcloud auth application-default login` writes. */
export function wellKnownFile(env: Environment): string {
  return join(gcloudFolder(env), 'application_default_credentials.json');
}

/** Files that the choice above depends on. */
export function defaultCredentialsFiles(env: Environment): string[] {
  return [findDefaultCredentials(env)?.path ?? wellKnownFile(env)];
}

/** The parsed file. Throws a CodedError that names it; the message never quotes what is in it. */
export function readCredentialsFile(path: string): CredentialsJson {
  let text: string;
  try {
    const about = statSync(path);
    if (!about.isFile()) throw unusable(path, 'it is not a regular file');
    if (about.size > MAX_BYTES) throw unusable(path, `it has ${about.size} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const code = systemCode(error) ?? 'unknown error';
    throw unusable(path, code === 'ENOENT' ? 'it does not exist (ENOENT)' : code);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw unusable(path, 'it is not JSON');
  }
  if (!isCredentials(json)) throw unusable(path, 'it has no "type"');
  return json;
}

/** Credentials that become service accounts by themselves, taken apart. */
export interface Peeled {
  /** Who begins. */
  readonly json: CredentialsJson;
  /** Whom they become, one after the other. */
  readonly chain: readonly string[];
  /** Where the IAM Credentials API is asked, e.g. `https://iamcredentials.googleapis.com`. */
  readonly endpoint?: string;
  readonly lifetimeSeconds?: number;
}

/**
 * `impersonated_service_account` files, and federation with a `service_account_impersonation_url`: Google's library
 * would do both by itself, but ask for a token once per caller and not say which hop fails. Throws a CodedError.
 */
export function peel(json: CredentialsJson, path: string): Peeled {
  const url = json['service_account_impersonation_url'];
  if (json.type === 'impersonated_service_account') {
    const source = json['source_credentials'];
    if (!isCredentials(source)) throw unusable(path, 'it has no "source_credentials"');
    const universe = json['universe_domain'];
    const inner = peel(universe === undefined ? source : { universe_domain: universe, ...source }, path);
    const delegates = Array.isArray(json['delegates']) ? json['delegates'].map(accountOfName) : [];
    const target = readImpersonationUrl(url, path);
    return { json: inner.json, chain: [...inner.chain, ...delegates, target.account], endpoint: target.endpoint };
  }
  if (json.type !== 'external_account' || url === undefined) return { json, chain: [] };
  const { account, endpoint } = readImpersonationUrl(url, path);
  const { service_account_impersonation_url: _url, service_account_impersonation: how, ...bare } = json;
  const seconds = (how as { token_lifetime_seconds?: unknown } | null | undefined)?.token_lifetime_seconds;
  return {
    json: bare as CredentialsJson,
    chain: [account],
    endpoint,
    ...(typeof seconds === 'number' ? { lifetimeSeconds: seconds } : {}),
  };
}

/** Whose credentials these are, as IAM names it, where the file says so. */
export function accountOf(json: CredentialsJson): string | undefined {
  const named = [json['client_email'], json['account']].find(
    (field): field is string => typeof field === 'string' && field !== '',
  );
  if (named !== undefined) return named;
  // The file names the pool; the subject is in a token that is yet to be had.
  const audience = typeof json['audience'] === 'string' ? json['audience'] : '';
  const pool = /^\/\/iam\.([^/]+)\/(.+(?:workloadIdentityPools|workforcePools)\/[^/]+)/.exec(audience);
  return pool === null ? undefined : `principalSet://iam.${pool[1]}/${pool[2]}/*`;
}

export function textField(json: CredentialsJson, name: string): string | undefined {
  const value = json[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function readImpersonationUrl(url: unknown, path: string): { account: string; endpoint: string } {
  if (typeof url === 'string' && URL.canParse(url)) {
    const { origin, protocol, pathname } = new URL(url);
    const account = /\/serviceAccounts\/([^/]+):generateAccessToken$/.exec(pathname)?.[1];
    if (account !== undefined && /^https?:$/.test(protocol)) {
      return { account: decodeURIComponent(account), endpoint: origin };
    }
  }
  throw unusable(path, 'its "service_account_impersonation_url" names no service account');
}

/** Delegates are written as resources. */
function accountOfName(name: unknown): string {
  return String(name).split('/').at(-1) ?? '';
}

function isCredentials(json: unknown): json is CredentialsJson {
  return typeof json === 'object' && json !== null && typeof (json as { type?: unknown }).type === 'string';
}

function unusable(path: string, why: string): CodedError {
  return credentialsError(
    'credentials-unreadable',
    `the credentials file ${path} cannot be used: ${why}; expected the JSON of a service account key, of gcloud auth application-default login, or of a workload identity federation`,
  );
}
