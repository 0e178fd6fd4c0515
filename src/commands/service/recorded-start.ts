import { statSync } from 'node:fs';
import { delimiter, isAbsolute } from 'node:path';
import { CodedError } from '../../base/errors.js';
import { FILE_VARIABLES, holdsPassword, PROXY_VARIABLES } from '../../daemon/environment.js';
import type { Settings } from '../../daemon/settings.js';
import { SETTING_KEYS } from '../../daemon/settings-keys.js';
import { assertOneLine, hasControl } from './templates.js';

/** How the service starts the daemon: fixed at installation, because a service sees another environment than a shell. */
export interface RecordedStart {
  /** node and the script, or the single-file executable. */
  readonly program: readonly string[];
  /** `run` and its flags. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingFolder: string;
}

/** Throws a CodedError `service-from-cache` or a UsageError. `notes` are for the person. */
export function recordStart(o: {
  program: readonly string[];
  settings: Settings;
  /** Whether a setting was given as flag or variable, by its path, and its text. */
  given: ReadonlyMap<string, string>;
  env: Readonly<Record<string, string | undefined>>;
  home: string;
  environmentFile: string;
}): { start: RecordedStart; notes: string[] } {
  const script = o.program.at(-1) ?? '';
  if (/[\\/]_npx[\\/]/.test(script)) {
    throw new CodedError({
      code: 'service-from-cache',
      message: `${script} is a copy in npx's cache, which npm removes when it likes; install it with npm install --global connect-gateway-proxy, then run connect-gateway-proxy service install`,
    });
  }
  const args = ['run', ...settingFlags(o.settings, o.given)];
  for (const word of [...o.program, ...args]) assertOneLine('the command line', word);
  const notes: string[] = [];
  const environment: Record<string, string> = {};
  const path = recordedPath(o.env);
  if (path !== '') environment['PATH'] = path;
  for (const name of FILE_VARIABLES) keep(environment, name, o.env[name], notes);
  for (const name of PROXY_VARIABLES) {
    const value = o.env[name];
    if (value !== undefined && holdsPassword(value)) {
      notes.push(
        `${name} holds a password and is not recorded; write it into ${o.environmentFile} (KEY=VALUE, mode 0600)`,
      );
    } else keep(environment, name, value, notes);
  }
  return { start: { program: o.program, args, environment, workingFolder: o.home }, notes };
}

/** Flags and CGP_ variables alike become flags; paths become absolute, because a service stands elsewhere. */
function settingFlags(settings: Settings, given: ReadonlyMap<string, string>): string[] {
  const resolved: Readonly<Record<string, string | undefined>> = {
    stateDir: settings.stateDir,
    kubeconfigFile: settings.kubeconfigFile,
    'endpoints.caFile': settings.endpoints.caFile,
    identities: JSON.stringify(settings.identities),
  };
  const flags = given.has('config') && settings.configFile !== undefined ? ['--config', settings.configFile] : [];
  for (const { path, flag } of SETTING_KEYS) {
    const text = given.get(path);
    if (text !== undefined) flags.push(flag, resolved[path] ?? text);
  }
  return flags;
}

/** The shell's own, so that gcloud and what it needs are found; folders that are not there are left out. */
function recordedPath(env: Readonly<Record<string, string | undefined>>): string {
  const folders = (env['PATH'] ?? env['Path'] ?? '').split(delimiter);
  const sound = folders.filter((folder) => isAbsolute(folder) && !hasControl(folder) && isFolder(folder));
  return [...new Set(sound)].join(delimiter);
}

function keep(environment: Record<string, string>, name: string, value: string | undefined, notes: string[]): void {
  if (value === undefined || value === '') return;
  if (hasControl(value)) notes.push(`${name} holds a control character and is not recorded`);
  else environment[name] = value;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
