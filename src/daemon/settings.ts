import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { closest, distance } from 'fastest-levenshtein';
import * as v from 'valibot';
import { LineCounter, parse, parseDocument } from 'yaml';
import { systemCode, UsageError } from '../base/errors.js';
import { declaredUniverse } from '../credentials/identities.js';
import { DEFAULT_UNIVERSE } from '../credentials/principal.js';
import { SETTING_KEYS } from './settings-keys.js';
import { type IdentitySettings, SETTINGS_SCHEMA, type SettingsInput } from './settings-schema.js';

/** Everything that a person can decide, from flags, environment and config file, checked. Durations are in ms. */
export interface Settings extends Omit<SettingsInput, 'stateDir' | 'kubeconfigFile' | 'log' | 'endpoints'> {
  readonly stateDir: string;
  readonly kubeconfigFile: string;
  readonly log: { readonly level: SettingsInput['log']['level']; readonly format: 'json' | 'pretty' };
  readonly endpoints: Endpoints;
  readonly identities: Readonly<Record<string, IdentitySettings>>;
  /** The config file that was read. */
  readonly configFile?: string;
}

/** Where Google's APIs are. */
export interface Endpoints {
  /** `googleapis.com`, or the Google Cloud universe that the default identity is of. */
  readonly universeDomain: string;
  readonly gkehub: string;
  readonly iamcredentials: string;
  readonly cloudresourcemanager: string;
  /** Set only where a person has overridden it: it then wins over the answer of generateCredentials. */
  readonly connectgateway?: string;
  readonly caFile?: string;
}

export interface SettingsSources {
  /** By config path, e.g. `listen.port`, as text. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--config` or CGP_CONFIG: it must exist. Without it the default file is read if it is there. */
  readonly configFile?: string;
  readonly isTty: boolean;
  readonly paths: { readonly config: string; readonly data: string };
  /** Values under the ones of the file: what the demo command changes. */
  readonly fallbacks?: Readonly<Record<string, unknown>>;
}

type Tree = Record<string, unknown>;
/** By config path: where a value came from, for messages. */
type Origins = Map<string, string>;

/** Variables of our tests and benchmarks, which are no settings. */
const NOT_SETTINGS = /^CGP_(TEST|BENCH)_|^CGP_CONFIG$/;

/** Throws a UsageError that names the file and line, variable or flag, and what was expected. */
export function loadSettings(sources: SettingsSources): Settings {
  const origins: Origins = new Map();
  const tree: Tree = {};
  for (const [path, value] of Object.entries(sources.fallbacks ?? {})) assign(tree, path, value);
  const file = readConfigFile(sources);
  if (file !== undefined) {
    for (const [key, value] of Object.entries(file.tree)) merge(tree, key, value);
    for (const [path, line] of file.lines) origins.set(path, `${file.path}:${line}`);
  }
  applyEnvironment(tree, origins, sources.env);
  for (const { path, flag, structured } of SETTING_KEYS) {
    const value = sources.flags[path];
    if (value === undefined) continue;
    assign(tree, path, structured ? parseStructured(value, flag) : value);
    origins.set(path, flag);
  }
  const parsed = v.safeParse(SETTINGS_SCHEMA, tree, { abortPipeEarly: true });
  if (!parsed.success) throw invalidSettings(parsed.issues, origins);
  return finish(parsed.output, origins, { ...sources, readFile: file?.path });
}

function finish(
  input: SettingsInput,
  origins: Origins,
  sources: SettingsSources & { readFile: string | undefined },
): Settings {
  const base = sources.readFile === undefined ? process.cwd() : dirname(sources.readFile);
  // A path in the config file is relative to that file, everywhere else to where the person stands.
  const file = (path: string, value: string): string => {
    const fromFile = sources.readFile !== undefined && origins.get(path)?.startsWith(sources.readFile) === true;
    return absolute(value, fromFile ? base : process.cwd());
  };
  const stateDir = input.stateDir === undefined ? sources.paths.data : file('stateDir', input.stateDir);
  const identities: Record<string, IdentitySettings> = { default: { source: 'auto' } };
  for (const [name, identity] of Object.entries(input.identities)) {
    identities[name] = {
      ...identity,
      ...(identity.tokenFile === undefined ? {} : { tokenFile: file('identities', identity.tokenFile) }),
      ...(identity.keyFile === undefined ? {} : { keyFile: file('identities', identity.keyFile) }),
    };
  }
  checkMemberships(input, identities, origins);
  const { http, port } = input.listen;
  if (http === port && port !== 0) {
    throw new UsageError(`${where(origins, 'listen.http')}: listen.http and listen.port cannot both be ${port}`);
  }
  const { caFile } = input.endpoints;
  return deepFreeze({
    ...input,
    identities,
    stateDir,
    kubeconfigFile:
      input.kubeconfigFile === undefined ? join(stateDir, 'kubeconfig') : file('kubeconfigFile', input.kubeconfigFile),
    log: { level: input.log.level, format: input.log.format ?? (sources.isTty ? 'pretty' : 'json') },
    endpoints: {
      ...endpointsOf(input.endpoints, identities['default'], sources.env),
      ...(caFile === undefined ? {} : { caFile: file('endpoints.caFile', caFile) }),
    },
    ...(sources.readFile === undefined ? {} : { configFile: sources.readFile }),
  });
}

/** What is configured, and for the rest the usual names in the universe of the default identity. */
function endpointsOf(
  { universeDomain, gkehub, iamcredentials, cloudresourcemanager, connectgateway }: SettingsInput['endpoints'],
  identity: IdentitySettings | undefined,
  env: SettingsSources['env'],
): Endpoints {
  const named = universeDomain ?? (env['GOOGLE_CLOUD_UNIVERSE_DOMAIN'] || undefined);
  const universe = named ?? (identity && declaredUniverse(identity, env)) ?? DEFAULT_UNIVERSE;
  return {
    universeDomain: universe,
    gkehub: gkehub ?? `https://gkehub.${universe}`,
    iamcredentials: iamcredentials ?? `https://iamcredentials.${universe}`,
    cloudresourcemanager: cloudresourcemanager ?? `https://cloudresourcemanager.${universe}`,
    ...(connectgateway === undefined ? {} : { connectgateway }),
  };
}

function checkMemberships(input: SettingsInput, identities: Tree, origins: Origins): void {
  const seen = new Map<string, string>();
  input.memberships.forEach((membership, index) => {
    const at = (key: string): string => where(origins, `memberships.${index}.${key}`);
    const { identity = 'default' } = membership;
    if (identities[identity] === undefined) {
      const known = Object.keys(identities);
      throw new UsageError(
        `${at('identity')}: there is no identity ${JSON.stringify(identity)} under identities:; there is ${known.join(', ')}`,
      );
    }
    for (const key of ['name', 'alias', 'port'] as const) {
      const value = membership[key];
      if (value === undefined) continue;
      const other = seen.get(`${key} ${value}`);
      if (other !== undefined) throw new UsageError(`${at(key)}: the ${key} ${value} is already used at ${other}`);
      seen.set(`${key} ${value}`, at(key));
    }
  });
}

function readConfigFile(
  sources: SettingsSources,
): { path: string; tree: Tree; lines: Map<string, number> } | undefined {
  const asked = sources.configFile ?? sources.env['CGP_CONFIG'];
  const path = asked === undefined ? join(sources.paths.config, 'config.yaml') : absolute(asked, process.cwd());
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' && asked === undefined) return undefined;
    throw new UsageError(`cannot read the config file ${path}: ${code ?? String(error)}`, { cause: error });
  }
  const counter = new LineCounter();
  const document = parseDocument(source, { lineCounter: counter });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const { line } = counter.linePos(problem.pos[0]);
    throw new UsageError(`${path}:${line}: this is not valid YAML: ${problem.message.split('\n')[0]}`);
  }
  const tree: unknown = document.toJS() ?? {};
  if (!isTree(tree)) throw new UsageError(`${path}:1: expected settings like "projects: [my-project]"`);
  const lines = new Map<string, number>();
  noteLines(document.contents, '', { lines, counter });
  return { path, tree, lines };
}

interface LineNotes {
  readonly lines: Map<string, number>;
  readonly counter: LineCounter;
}

/** `yaml` nodes have a range; the tree of plain values has none. */
function noteLines(node: unknown, path: string, notes: LineNotes): void {
  if (typeof node !== 'object' || node === null) return;
  const { items, range } = node as { items?: unknown[]; range?: [number, number, number] };
  if (path !== '' && range !== undefined && !notes.lines.has(path)) {
    notes.lines.set(path, notes.counter.linePos(range[0]).line);
  }
  items?.forEach((item, index) => {
    const pair = item as { key?: { value?: unknown; range?: [number, number, number] }; value?: unknown };
    const isPair = typeof item === 'object' && item !== null && 'key' in item;
    const name = isPair ? String(pair.key?.value ?? pair.key) : String(index);
    const at = path === '' ? name : `${path}.${name}`;
    if (isPair && pair.key?.range !== undefined) notes.lines.set(at, notes.counter.linePos(pair.key.range[0]).line);
    noteLines(isPair ? pair.value : item, at, notes);
  });
}

function applyEnvironment(tree: Tree, origins: Origins, env: SettingsSources['env']): void {
  const byName = new Map(SETTING_KEYS.map((key) => [key.env, key] as const));
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('CGP_') || NOT_SETTINGS.test(name) || value === undefined) continue;
    const key = byName.get(name);
    if (key === undefined) {
      throw new UsageError(
        `the environment variable ${name} is no setting${didYouMean(name, [...byName.keys(), 'CGP_CONFIG'])}`,
      );
    }
    assign(tree, key.path, key.structured ? parseStructured(value, name) : value);
    origins.set(key.path, name);
  }
}

function parseStructured(text: string, origin: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError(`${origin}: expected YAML or JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function invalidSettings(issues: readonly v.BaseIssue<unknown>[], origins: Origins): UsageError {
  const told = issues.map((issue) => {
    const keys = (issue.path ?? []).map((item) => String(item.key));
    const path = keys.join('.');
    const name = keys.at(-1) ?? '';
    if (issue.type === 'strict_object' && issue.expected === 'never') {
      const siblings = knownSiblings(keys.slice(0, -1));
      return `${where(origins, path)}: ${path} is no setting${didYouMean(name, siblings)}`;
    }
    const given = issue.received === 'undefined' ? 'is missing' : issue.message;
    return `${where(origins, path)}: ${path}: ${given}`;
  });
  return new UsageError([...new Set(told)].join('\n'));
}

/** What could stand where an unknown key stands. */
function knownSiblings(parent: readonly string[]): string[] {
  let schema: unknown = SETTINGS_SCHEMA;
  for (const key of parent) schema = childSchema(schema, key);
  return Object.keys(entriesOf(schema) ?? {});
}

function childSchema(schema: unknown, key: string): unknown {
  const inner = unwrap(schema);
  return entriesOf(inner)?.[key] ?? (inner as { value?: unknown }).value ?? (inner as { item?: unknown }).item;
}

function unwrap(schema: unknown): unknown {
  let inner = schema as { wrapped?: unknown; pipe?: readonly unknown[] } | undefined;
  while (inner !== undefined && (inner.wrapped !== undefined || inner.pipe !== undefined)) {
    inner = (inner.wrapped ?? inner.pipe?.[0]) as typeof inner;
    if (entriesOf(inner) !== undefined) break;
  }
  return inner ?? {};
}

function entriesOf(schema: unknown): Record<string, unknown> | undefined {
  const inner = schema as { entries?: Record<string, unknown>; wrapped?: unknown };
  return inner?.entries ?? (inner?.wrapped === undefined ? undefined : entriesOf(inner.wrapped));
}

function didYouMean(wanted: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const nearest = closest(wanted, [...known]);
  const near = distance(wanted.toLowerCase(), nearest.toLowerCase()) <= Math.max(2, wanted.length / 2);
  return near ? `; did you mean ${nearest}?` : `; known here: ${known.join(', ')}`;
}

/** The nearest ancestor that has a place. */
function where(origins: Origins, path: string): string {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const origin = origins.get(at);
    if (origin !== undefined) return origin;
  }
  return 'settings';
}

function assign(tree: Tree, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let at = tree;
  for (const key of keys) {
    const inner = at[key];
    const next: Tree = isTree(inner) ? inner : {};
    at[key] = next;
    at = next;
  }
  at[last] = value;
}

function merge(tree: Tree, key: string, value: unknown): void {
  const there = tree[key];
  if (!isTree(there) || !isTree(value)) {
    tree[key] = value;
    return;
  }
  for (const [inner, innerValue] of Object.entries(value)) merge(there, inner, innerValue);
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function absolute(path: string, base: string): string {
  if (path === '~' || path.startsWith('~/')) return join(homedir(), path.slice(1));
  return isAbsolute(path) ? path : resolve(base, path);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
