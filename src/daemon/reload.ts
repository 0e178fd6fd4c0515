import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Settings } from './settings.js';
import { SETTING_KEYS } from './settings-keys.js';

/** What a running daemon takes over. Everything else was used to build it, and needs a restart. */
const LIVE_KEYS: ReadonlySet<string> = new Set([
  'projects',
  'memberships',
  'identities',
  'cutoff.assume',
  'exec.onCutoff',
  'exec.linger',
  'exec.warnBefore',
]);

/** What other settings mean for a running daemon. */
export interface ReloadPlan {
  /** The new settings, but for those that need a restart: these stay as they are. */
  readonly settings: Settings;
  /** Config keys that take effect now. */
  readonly changed: readonly string[];
  /** Config keys that differ and take effect with the next start. */
  readonly needsRestart: readonly string[];
}

/** JSON of POST `/-/reload`. */
export interface ReloadReport {
  readonly configFile?: string;
  readonly changed: readonly string[];
  readonly needsRestart: readonly string[];
  /** What the refresh of the fleet found. */
  readonly memberships?: number;
  readonly unreachable?: readonly string[];
  readonly failures?: readonly string[];
}

export function planReload(now: Settings, next: Settings): ReloadPlan {
  const changed: string[] = [];
  const needsRestart: string[] = [];
  const settings = structuredClone(next) as unknown as Record<string, unknown>;
  for (const { path } of SETTING_KEYS) {
    if (same(at(now, path), at(next, path))) continue;
    if (LIVE_KEYS.has(path)) {
      changed.push(path);
      continue;
    }
    needsRestart.push(path);
    put(settings, path, at(now, path));
  }
  return { settings: settings as unknown as Settings, changed, needsRestart };
}

/** Reads the settings again, checks them, and has them taken over as one; or leaves everything as it is and says why. */
export class Reloader {
  readonly #o: ReloaderOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ReloaderOptions) {
    this.#o = options;
  }

  /**
   * Rejects with the CodedError that the settings were refused with; it has been logged, and the old ones are in force.
   * Calls are carried out one after the other. `cause` is for the log.
   */
  reload(cause: string): Promise<ReloadReport> {
    const reload = this.#last.then(() => this.#reload(cause));
    this.#last = reload.catch(() => {});
    return reload;
  }

  async #reload(cause: string): Promise<ReloadReport> {
    const { load, current, check, apply, log } = this.#o;
    let plan: ReloadPlan;
    try {
      plan = planReload(current(), load());
      check(plan.settings);
    } catch (error) {
      const code = error instanceof CodedError ? error.code : 'internal';
      log.error({ cause, code }, `the settings are refused, the old ones stay in force: ${describeError(error)}`);
      throw error;
    }
    const { settings, changed, needsRestart } = plan;
    if (needsRestart.length > 0) {
      log.warn({ cause, keys: needsRestart.join(',') }, 'these settings take effect when the daemon is restarted');
    }
    const found = await apply(settings, changed);
    log.info({ cause, changed: changed.join(',') || 'nothing' }, 'reloaded');
    return {
      ...(settings.configFile === undefined ? {} : { configFile: settings.configFile }),
      changed,
      needsRestart,
      ...found,
    };
  }
}

export interface ReloaderOptions {
  /** Reads flags, environment and file again. Throws a UsageError with file and line. */
  readonly load: () => Settings;
  readonly current: () => Settings;
  /** Throws a CodedError for settings that are well-formed and cannot work. */
  readonly check: (settings: Settings) => void;
  readonly apply: (settings: Settings, changed: readonly string[]) => Promise<Partial<ReloadReport>>;
  readonly log: Logger;
}

function at(settings: Settings, path: string): unknown {
  let value: unknown = settings;
  for (const key of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[key];
  return value;
}

function put(tree: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let inner = tree;
  for (const key of keys) inner = inner[key] as Record<string, unknown>;
  if (value === undefined) delete inner[last];
  else inner[last] = value;
}

/** The settings are plain trees, and the schema gives their keys one order. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
