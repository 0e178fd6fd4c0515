import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { shellQuoted } from '../base/shell-quoted.js';
import { credentialsError } from './credentials-error.js';
import { type Environment, gcloudPrincipal, TOKEN_FILE } from './gcloud-config.js';
import { explainGcloud } from './gcloud-failure.js';
import type { Principal } from './principal.js';
import type { AccessToken, Credentials } from './token-source.js';

/** Longer than a new token is asked for ahead of expiry, or gcloud would hand out the one that is about to end. */
const MIN_EXPIRY_SECONDS = 600;
/** Of a token whose source does not tell its expiry, such as a file: it is looked at again after a while. */
const UNTOLD_LIFETIME_MS = 5 * 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** A service's PATH is shorter than a shell's: where the installers put the Cloud SDK. */
const USUAL_FOLDERS = [
  '/usr/bin',
  '/usr/local/bin',
  '/opt/homebrew/bin',
  '/snap/bin',
  '/usr/lib/google-cloud-sdk/bin',
  '/opt/google-cloud-sdk/bin',
];
const HOME_FOLDERS = ['google-cloud-sdk/bin', '.local/bin', 'AppData/Local/Google/Cloud SDK/google-cloud-sdk/bin'];

/** How gcloud's end is told. */
export interface GcloudRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with these arguments, without a shell; rejects with the signal's reason. */
export type RunProgram = (
  program: string,
  args: readonly string[],
  options: { env: Environment; signal: AbortSignal },
) => Promise<GcloudRun>;

export interface GcloudOptions {
  /** Instead of the active one. */
  readonly account?: string;
  /** Where a configuration other than the active one is meant, CLOUDSDK_ACTIVE_CONFIG_NAME names it. */
  readonly env: Environment;
  readonly quotaProject?: string;
  readonly clock: Clock;
  readonly run?: RunProgram;
}

/**
 * Tokens of `gcloud config config-helper`, which is what the auth plugin asks too: it honours CLOUDSDK_CONFIG,
 * CLOUDSDK_ACTIVE_CONFIG_NAME, and the configuration's account, access_token_file and impersonate_service_account.
 */
export function gcloudCredentials(options: GcloudOptions): Credentials {
  const { account, env, clock, run = runProgram } = options;
  const principal = principalOf(options);
  const renewal = `run: ${loginCommand(options)}`;
  return {
    ...{ principal, renewal },
    origin: 'gcloud',
    async fetch(signal, { refused }) {
      const gcloud = findGcloud(env);
      if (gcloud === undefined) {
        throw credentialsError(
          'gcloud-missing',
          'there is no gcloud on the PATH of the daemon, or where it is usually installed; install the Google Cloud SDK, or use source: adc',
        );
      }
      // gcloud takes one of the two only.
      const freshness = refused ? '--force-auth-refresh' : `--min-expiry=${MIN_EXPIRY_SECONDS}s`;
      const args = ['config', 'config-helper', '--format=json', freshness];
      if (account !== undefined) args.push(`--account=${account}`);
      const path = `${env['PATH'] ?? ''}${delimiter}${dirname(gcloud)}${delimiter}/usr/bin${delimiter}/bin`;
      // It must never wait for a person: nobody sees its terminal.
      const quiet = { CLOUDSDK_CORE_DISABLE_PROMPTS: '1', PATH: path };
      const { code, stdout, stderr } = await run(gcloud, args, { env: { ...env, ...quiet }, signal });
      if (code !== 0) throw explainGcloud({ code, stderr, account: principal.account, renewal });
      return parseToken(stdout, { clock, ofAccount: !principal.account.startsWith(TOKEN_FILE) });
    },
  };
}

/** The path of gcloud, from the PATH or the usual places. */
export function findGcloud(env: Environment): string | undefined {
  const home = env['HOME'] ?? env['USERPROFILE'];
  const folders = [
    ...(env['PATH'] ?? '').split(delimiter),
    ...USUAL_FOLDERS,
    ...(home === undefined ? [] : HOME_FOLDERS.map((folder) => join(home, folder))),
  ];
  const names = process.platform === 'win32' ? ['gcloud.cmd', 'gcloud.exe'] : ['gcloud'];
  return folders
    .filter((folder) => folder !== '')
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function principalOf({ account, env, quotaProject: configured }: GcloudOptions): Principal {
  const { configuration, impersonate, universe, ...found } = gcloudPrincipal(env);
  const quotaProject = configured ?? found.quotaProject;
  return {
    account: account ?? found.account ?? `gcloud configuration ${configuration}`,
    configuration,
    chain: impersonate,
    universe,
    ...(quotaProject === undefined ? {} : { quotaProject }),
  };
}

/** For the same configuration and account that the daemon uses, and without a change of what others use. */
function loginCommand({ account, env }: GcloudOptions): string {
  const folder = env['CLOUDSDK_CONFIG'];
  const configuration = env['CLOUDSDK_ACTIVE_CONFIG_NAME'];
  return [
    ...(folder ? [`CLOUDSDK_CONFIG=${shellQuoted(folder)}`] : []),
    'gcloud auth login',
    // Without --force nothing happens where gcloud believes in the login that Google does not believe in.
    ...(account === undefined ? [] : [account, '--force --no-activate']),
    ...(configuration ? [`--configuration=${shellQuoted(configuration)}`] : []),
  ].join(' ');
}

function parseToken(stdout: string, { clock, ofAccount }: { clock: Clock; ofAccount: boolean }): AccessToken {
  let credential: { access_token?: unknown; token_expiry?: unknown } | undefined;
  let account: unknown;
  try {
    const told = JSON.parse(stdout) as {
      credential?: typeof credential;
      configuration?: { properties?: { core?: { account?: unknown } } };
    };
    credential = told.credential;
    account = told.configuration?.properties?.core?.account;
  } catch {
    // Told below: what was printed may hold a token, and is not repeated.
  }
  const value = credential?.access_token;
  if (typeof value !== 'string' || value === '') {
    throw credentialsError(
      'token-unavailable',
      'gcloud config config-helper printed no access token; is gcloud up to date?',
    );
  }
  const expiry = typeof credential?.token_expiry === 'string' ? Date.parse(credential.token_expiry) : Number.NaN;
  return {
    value,
    expiresAt: Number.isNaN(expiry) ? clock.now() + UNTOLD_LIFETIME_MS : expiry,
    ...(ofAccount && typeof account === 'string' && account !== '' ? { account } : {}),
  };
}

const runProgram: RunProgram = (program, args, { env, signal }) =>
  new Promise((resolve, reject) => {
    const options = {
      env,
      signal,
      maxBuffer: MAX_OUTPUT_BYTES,
      windowsHide: true,
      // A .cmd is a script of the shell; no argument comes from a client.
      shell: program.endsWith('.cmd'),
    };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (signal.aborted) reject(signal.reason);
      else if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else
        reject(
          credentialsError(
            'token-unavailable',
            `gcloud could not be run: ${error.code ?? error.signal ?? 'unknown error'}`,
          ),
        );
    });
    child.stdin?.end();
  });
