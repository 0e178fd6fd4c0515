import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

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
  readonly impersonate?: string;
}

export function gcloudPrincipal(env: Environment): GcloudPrincipal {
  const configuration = activeConfiguration(env);
  const properties = readProperties(configurationFile(env, configuration));
  const account = env['CLOUDSDK_CORE_ACCOUNT'] || properties.get('core/account');
  const impersonate =
    env['CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT'] || properties.get('auth/impersonate_service_account');
  return {
    configuration,
    ...(account === undefined ? {} : { account }),
    ...(impersonate === undefined ? {} : { impersonate }),
  };
}

/** Files whose change may mean another principal. gcloud touches the sentinel at every `gcloud config set`. */
export function gcloudConfigFiles(env: Environment): string[] {
  const folder = gcloudFolder(env);
  const named = configurationFile(env, activeConfiguration(env));
  const properties = readProperties(named);
  const given = ['access_token_file', 'credential_file_override'].map(
    (name) => env[`CLOUDSDK_AUTH_${name.toUpperCase()}`] || properties.get(`auth/${name}`),
  );
  return [
    join(folder, 'active_config'),
    join(folder, 'config_sentinel'),
    named,
    ...given.filter((path) => path !== undefined),
  ];
}

/** Files that a login writes. gcloud writes them at other times too, so that they tell of nothing else. */
export function gcloudLoginFiles(env: Environment): string[] {
  return [join(gcloudFolder(env), 'credentials.db')];
}

/** Whether gcloud has a login of any kind here. */
export function hasGcloudLogin(env: Environment): boolean {
  if (env['CLOUDSDK_AUTH_ACCESS_TOKEN_FILE'] || env['CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE']) return true;
  const { account } = gcloudPrincipal(env);
  const [login = ''] = gcloudLoginFiles(env);
  return account !== undefined && statSync(login, { throwIfNoEntry: false }) !== undefined;
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
