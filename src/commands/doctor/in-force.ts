import { parseEnv } from 'node:util';
import { PROXY_VARIABLES, WAY_VARIABLES, withoutPassword } from '../../daemon/environment.js';
import { loadSettings, type Settings } from '../../daemon/settings.js';
import { SETTING_KEYS } from '../../daemon/settings-keys.js';
import type { CommandIo } from '../io.js';
import { readIfThere } from '../service/files.js';
import type { ServiceRecord } from '../service/record.js';
import type { DaemonFacts } from './facts.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The settings and the environment that a daemon has, or would have. */
export interface InForce {
  readonly settings: Settings;
  readonly env: Environment;
  /** Whose they are. */
  readonly of: 'the running daemon' | 'the service' | 'this shell';
}

export function namesSomething({ projects, memberships }: Settings): boolean {
  return projects.length > 0 || memberships.length > 0;
}

/** Those of the daemon that runs; else of the service that would start one; else what was given here. */
export function chooseInForce(o: {
  own: Settings;
  io: CommandIo;
  daemon: DaemonFacts;
  service: ServiceRecord | undefined;
}): InForce {
  const { own, io, daemon, service } = o;
  if (daemon.kind === 'up' && daemon.report !== undefined) {
    const { settings, environment } = daemon.report;
    return { settings, env: withTold(io.env, environment), of: 'the running daemon' };
  }
  if (!namesSomething(own) && service !== undefined && service.stateDir === own.stateDir) {
    return { settings: serviceSettings(service, io), env: serviceEnvironment(service, io), of: 'the service' };
  }
  return { settings: own, env: io.env, of: 'this shell' };
}

/** As `run` would read them. Throws a UsageError. */
export function serviceSettings({ definition }: ServiceRecord, io: CommandIo): Settings {
  const flags: Record<string, string> = {};
  let configFile: string | undefined;
  const [, ...words] = definition.start.args;
  for (let at = 0; at + 1 < words.length; at += 2) {
    const [flag = '', value = ''] = words.slice(at, at + 2);
    if (flag === '--config') configFile = value;
    else flags[SETTING_KEYS.find((key) => key.flag === flag)?.path ?? flag] = value;
  }
  return loadSettings({
    flags,
    env: {},
    ...(configFile === undefined ? {} : { configFile }),
    isTty: false,
    paths: io.paths,
  });
}

/** What the service was told at its installation, and what a person has put into its file. */
export function serviceEnvironment({ definition }: ServiceRecord, io: CommandIo): Environment {
  const { start, environmentFile } = definition;
  const extra = readIfThere(environmentFile);
  return {
    ...without(io.env),
    HOME: io.env['HOME'],
    ...start.environment,
    ...(extra === undefined ? {} : parseEnv(extra)),
  };
}

/** A password is not told; where ours is the same but for it, ours is meant. */
function withTold(env: Environment, told: Readonly<Record<string, string>>): Environment {
  const merged: Record<string, string | undefined> = { ...without(env), ...told };
  for (const name of PROXY_VARIABLES) {
    const ours = env[name];
    if (ours !== undefined && withoutPassword(ours) === told[name]) merged[name] = ours;
  }
  return merged;
}

function without(env: Environment): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !WAY_VARIABLES.includes(name)));
}
