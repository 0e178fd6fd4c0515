import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { CodedError } from '../base/errors.js';
import { type Environment, gcloudPrincipal } from './gcloud-config.js';
import type { AccessToken } from './token-source.js';

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
  readonly env: Environment;
  readonly clock: Clock;
  readonly run?: RunProgram;
}

/**
 * Tokens of `gcloud config config-helper`, which is what the auth plugin asks too: it honours CLOUDSDK_CONFIG,
 * CLOUDSDK_ACTIVE_CONFIG_NAME, and the configuration's account, access_token_file and impersonate_service_account.
 */
export function gcloudCredentials(options: GcloudOptions): {
  readonly description: string;
  readonly fetch: (signal: AbortSignal, why: { readonly refused: boolean }) => Promise<AccessToken>;
} {
  const { account, env, clock, run = runProgram } = options;
  const description = describe(account, env);
  return {
    description,
    async fetch(signal, { refused }) {
      const gcloud = findGcloud(env);
      if (gcloud === undefined) {
        throw failure(
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
      const ended = await run(gcloud, args, { env: { ...env, ...quiet }, signal });
      if (ended.code !== 0) throw explain(ended, { account, env });
      return parseToken(ended.stdout, clock);
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

function describe(account: string | undefined, env: Environment): string {
  const principal = gcloudPrincipal(env);
  const who = account ?? principal.account ?? `gcloud configuration ${principal.configuration}`;
  return principal.impersonate === undefined ? who : `${principal.impersonate.split(',').at(-1)} (through ${who})`;
}

function parseToken(stdout: string, clock: Clock): AccessToken {
  let credential: { access_token?: unknown; token_expiry?: unknown } | undefined;
  try {
    ({ credential } = JSON.parse(stdout) as { credential?: typeof credential });
  } catch {
    // Told below: what was printed may hold a token, and is not repeated.
  }
  const value = credential?.access_token;
  if (typeof value !== 'string' || value === '') {
    throw failure('token-unavailable', 'gcloud config config-helper printed no access token; is gcloud up to date?');
  }
  const expiry = typeof credential?.token_expiry === 'string' ? Date.parse(credential.token_expiry) : Number.NaN;
  return { value, expiresAt: Number.isNaN(expiry) ? clock.now() + UNTOLD_LIFETIME_MS : expiry };
}

function explain(
  { code, stderr }: GcloudRun,
  { account, env }: { account: string | undefined; env: Environment },
): CodedError {
  const folder = env['CLOUDSDK_CONFIG'];
  const login = `${folder === undefined || folder === '' ? '' : `CLOUDSDK_CONFIG=${folder} `}gcloud auth login${account === undefined ? '' : ` ${account}`}`;
  if (/reauth/i.test(stderr)) {
    return failure('reauthentication-required', `Google asks for a new login; run: ${login}`);
  }
  if (/invalid_grant|problem refreshing your current auth tokens|expired or revoked/i.test(stderr)) {
    return failure('credentials-revoked', `Google refused gcloud's login as expired or revoked; run: ${login}`);
  }
  if (
    /active account selected|does not have any valid credentials|not have any credentialed|auth login/i.test(stderr)
  ) {
    return failure('credentials-missing', `gcloud has no login; run: ${login}`);
  }
  const said = /ERROR:\s*(?:\([\w.-]+\)\s*)?([^\n]*)/.exec(stderr)?.[1] ?? stderr.split('\n')[0] ?? '';
  return failure('token-unavailable', `gcloud ended with code ${code}: ${withoutTokens(said).slice(0, 300)}`);
}

/** gcloud names no tokens in its errors; should it ever, they end here. */
function withoutTokens(text: string): string {
  return text.replace(/ya29\.[\w.-]+/g, '[token]').replace(/[\w-]{60,}/g, '[...]');
}

function failure(code: string, message: string): CodedError {
  return new CodedError({
    code,
    message,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
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
          failure('token-unavailable', `gcloud could not be run: ${error.code ?? error.signal ?? 'unknown error'}`),
        );
    });
    child.stdin?.end();
  });
