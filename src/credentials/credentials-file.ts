import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError, systemCode } from '../base/errors.js';
import { type Environment, gcloudFolder } from './gcloud-config.js';

/** A file of credentials for Google's library: a key, a gcloud login, or a workload's federation settings. */
export interface CredentialsFile {
  readonly path: string;
  /** Named by GOOGLE_APPLICATION_CREDENTIALS: a new login would be written elsewhere and not be seen. */
  readonly byVariable: boolean;
}

/** Far above any of these files: a wrong path must not read a disk image into memory. */
const MAX_BYTES = 1024 * 1024;

/** Where the application default credentials are, by the rules of Google's libraries; undefined where there is no file. */
export function findDefaultCredentials(env: Environment): CredentialsFile | undefined {
  const named = env['GOOGLE_APPLICATION_CREDENTIALS'] || env['google_application_credentials'];
  if (named !== undefined && named !== '') return { path: named, byVariable: true };
  const path = join(gcloudFolder(env), 'application_default_credentials.json');
  return statSync(path, { throwIfNoEntry: false }) === undefined ? undefined : { path, byVariable: false };
}

/** Files that the choice above depends on. */
export function defaultCredentialsFiles(env: Environment): string[] {
  const found = findDefaultCredentials(env);
  return [found?.path ?? join(gcloudFolder(env), 'application_default_credentials.json')];
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

export interface CredentialsJson {
  /** `service_account`, `authorized_user`, `external_account`, ... */
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Whose credentials these are, where the file says so. */
export function principalOf(json: CredentialsJson): string | undefined {
  return [json['client_email'], json['account']].find(
    (field): field is string => typeof field === 'string' && field !== '',
  );
}

function isCredentials(json: unknown): json is CredentialsJson {
  return typeof json === 'object' && json !== null && typeof (json as { type?: unknown }).type === 'string';
}

function unusable(path: string, why: string): CodedError {
  return new CodedError({
    code: 'credentials-unreadable',
    message: `the credentials file ${path} cannot be used: ${why}; expected the JSON of a service account key, of gcloud auth application-default login, or of a workload identity federation`,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
}
