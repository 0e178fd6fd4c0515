import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_UNIVERSE } from './principal.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder with gcloud's configurations and logins. */
export function gcloudFolder(env: Environment): string {
  const configured = env['CLOUDSDK_CONFIG'];
  if (configured !== undefined && configured !== '') return configured;
  const roaming = env['APPDATA'];
  if (process.platform === 'win32' && roaming !== undefined) return join(roaming, 'gcloud');
  return join(env['HOME'] ?? homedir(), '.config', 'gcloud');
}

/** What gcloud itself would act as, as far as its files and variables say. */
export interface GcloudPrincipal {
  readonly configuration: string;
  readonly account?: string;
  /** Service accounts, the last being the one that is meant. */
  readonly impersonate: readonly string[];
  readonly universe: string;
  readonly quotaProject?: string;
}

/** Whose token a file holds is not known; the configuration's account may be another. */
export const TOKEN_FILE = 'access token file';
/** Not projects, but rules for choosing one. */
const QUOTA_RULES = new Set(['CURRENT_PROJECT', 'CURRENT_PROJECT_WITH_FALLBACK', 'LEGACY']);

export function gcloudPrincipal(env: Environment): GcloudPrincipal {
  const configuration = activeConfiguration(env);
  const property = propertyReader(env, configuration);
  const tokenFile = property('auth', 'access_token_file');
  const account = tokenFile === undefined ? property('core', 'account') : `${TOKEN_FILE} ${tokenFile}`;
  const quotaProject = property('billing', 'quota_project');
  return {
    configuration,
    ...(account === undefined ? {} : { account }),
    impersonate: (property('auth', 'impersonate_service_account') ?? '').split(',').filter((name) => name !== ''),
    universe: property('core', 'universe_domain') ?? DEFAULT_UNIVERSE,
    ...(quotaProject === undefined || QUOTA_RULES.has(quotaProject) ? {} : { quotaProject }),
  };
}

/** Files whose change may mean another principal. gcloud touches the sentinel at every `gcloud config set`. */
export function gcloudConfigFiles(env: Environment): string[] {
  const folder = gcloudFolder(env);
  const configuration = activeConfiguration(env);
  const property = propertyReader(env, configuration);
  return [
    join(folder, 'active_config'),
    join(folder, 'config_sentinel'),
    configurationFile(env, configuration),
    ...['access_token_file', 'credential_file_override'].flatMap((name) => property('auth', name) ?? []),
  ];
}

/** Files that a login writes. gcloud writes them at other times too, so that they tell of nothing else. */
export function gcloudLoginFiles(env: Environment): string[] {
  return [join(gcloudFolder(env), 'credentials.db')];
}

/** Whether gcloud has a login of any kind here. */
export function hasGcloudLogin(env: Environment): boolean {
  const property = propertyReader(env, activeConfiguration(env));
  const given = ['access_token', 'access_token_file', 'credential_file_override'];
  if (given.some((name) => property('auth', name) !== undefined)) return true;
  const [login = ''] = gcloudLoginFiles(env);
  return property('core', 'account') !== undefined && statSync(login, { throwIfNoEntry: false }) !== undefined;
}

/** A property as gcloud sees it: its variable wins over the configuration. */
function propertyReader(
  env: Environment,
  configuration: string,
): (section: string, name: string) => string | undefined {
  const properties = readProperties(configurationFile(env, configuration));
  return (section, name) => env[`CLOUDSDK_${section}_${name}`.toUpperCase()] || properties.get(`${section}/${name}`);
}

function activeConfiguration(env: Environment): string {
  const named = env['CLOUDSDK_ACTIVE_CONFIG_NAME'];
  if (named !== undefined && named !== '') return named;
  return readText(join(gcloudFolder(env), 'active_config'))?.trim() || 'default';
}

function configurationFile(env: Environment, name: string): string {
  return join(gcloudFolder(env), 'configurations', `config_${name}`);
}

/** gcloud's own form of INI: sections, and one `name = value` a line. */
function readProperties(path: string): Map<string, string> {
  const properties = new Map<string, string>();
  let section = '';
  for (const line of (readText(path) ?? '').split(/\r?\n/)) {
    const header = /^\[(.+)\]\s*$/.exec(line);
    if (header !== null) section = header[1] ?? '';
    const [, name, value] = /^(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined && value !== '') properties.set(`${section}/${name}`, value);
  }
  return properties;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
