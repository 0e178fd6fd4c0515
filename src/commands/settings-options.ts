import { type Command, Option } from 'commander';
import { loadSettings, type Settings } from '../daemon/settings.js';
import { SETTING_KEYS } from '../daemon/settings-keys.js';
import type { CommandIo } from './io.js';

/** Which settings a command takes as flags: a command beside the daemon needs to find it, and no more. */
export type SettingGroup = 'all' | 'beside';

const BESIDE = new Set(['stateDir', 'kubeconfigFile', 'log.level', 'log.format']);

/** Adds `--config` and one flag per setting. */
export function addSettingOptions(command: Command, group: SettingGroup): Command {
  command.optionsGroup('Settings:');
  command.addOption(new Option('--config <FILE>', 'config file (CGP_CONFIG)'));
  for (const key of SETTING_KEYS) {
    if (group === 'beside' && !BESIDE.has(key.path)) continue;
    const option = new Option(`${key.flag} <${key.value}>`, `${key.description} (default: ${key.fallback})`);
    command.addOption(option);
  }
  return command;
}

/** Throws a UsageError. */
export function settingsOf(command: Command, io: CommandIo, fallbacks?: Readonly<Record<string, unknown>>): Settings {
  // What follows `sessions kill` is taken by `sessions`, which has the same flags.
  const given = command.optsWithGlobals<Record<string, string | undefined>>();
  const flags: Record<string, string | undefined> = {};
  for (const { path, flag } of SETTING_KEYS) flags[path] = given[attributeOf(flag)];
  return loadSettings({
    flags,
    env: io.env,
    ...(given['config'] === undefined ? {} : { configFile: given['config'] }),
    isTty: io.errIsTty,
    paths: io.paths,
    ...(fallbacks === undefined ? {} : { fallbacks }),
  });
}

/** As commander names it. */
function attributeOf(flag: string): string {
  return new Option(flag).attributeName();
}
