import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { systemCode, UsageError } from '../base/errors.js';
import { writePrivateFile } from './files.js';

/** One membership as a kubeconfig shows it. */
export interface KubeconfigEntry {
  /** Name of the cluster, user and context. */
  readonly context: string;
  /** `https://127.0.0.1:7501` */
  readonly server: string;
  /** Absent for plain HTTP, where kubectl sends none: the server's path is the secret then. */
  readonly token?: string;
  /** The membership's full name: by it our own entries are found again. */
  readonly membership: string;
}

export interface KubeconfigContent {
  readonly entries: readonly KubeconfigEntry[];
  /** PEM of the local authority. */
  readonly authority: string;
  /** Whose entries these are: a second daemon's are not touched. The state folder. */
  readonly owner: string;
}

/** kubectl ignores `extensions`; minikube marks its entries in the same way. */
const MARK = 'connect-gateway-proxy';
const SECTIONS = ['clusters', 'users', 'contexts'] as const;
/** What an entry has for TLS and not for plain HTTP. */
const FOR_TLS = ['certificate-authority-data', 'token'];

/**
 * `existing` with our entries brought in step with `content`: comments, order and everybody else's entries stay.
 * Namespaces that a person has set on our contexts stay as well. `current-context` is set where there is none (or none
 * that exists) and `current: 'if-missing'`; to `content`'s first entry with `'first'`; never with `'keep'`.
 * Throws a UsageError for a file that is no kubeconfig and for a name that somebody else's entry has.
 */
export function mergeKubeconfig(
  existing: string,
  content: KubeconfigContent,
  options: { path: string; current: 'if-missing' | 'first' | 'keep' },
): string {
  const document = readKubeconfig(existing, options.path);
  removeOwn(document, content, new Set(content.entries.map((entry) => entry.context)));
  for (const entry of content.entries) {
    const { token, server } = entry;
    const authority = Buffer.from(content.authority).toString('base64');
    putOwn(document, 'clusters', entry, content, {
      cluster: { ...(token === undefined ? {} : { 'certificate-authority-data': authority }), server },
    });
    putOwn(document, 'users', entry, content, { user: token === undefined ? {} : { token } });
    putOwn(document, 'contexts', entry, content, { context: { cluster: entry.context, user: entry.context } });
  }
  const [first] = content.entries;
  const current = document.get('current-context');
  const dangling = !itemsOf(document, 'contexts').some((item) => item.get('name') === current);
  if (options.current === 'first' || (options.current === 'if-missing' && dangling)) {
    document.set('current-context', first?.context ?? '');
  }
  return write(document, existing);
}

/** `existing` without our entries. */
export function removeFromKubeconfig(existing: string, options: { path: string; owner: string }): string {
  const document = readKubeconfig(existing, options.path);
  removeOwn(document, { owner: options.owner }, new Set());
  const current = document.get('current-context');
  if (!itemsOf(document, 'contexts').some((item) => item.get('name') === current)) document.set('current-context', '');
  return write(document, existing);
}

/**
 * Reads, merges and writes. A person's file (`backup`) is locked meanwhile as kubectl does it, and the first time that it
 * is touched a copy of it is kept beside it.
 */
export function updateKubeconfigFile(
  path: string,
  content: KubeconfigContent,
  options: { current: 'if-missing' | 'first' | 'keep'; backup: boolean },
): { changed: boolean } {
  const merge = (existing: string): string => mergeKubeconfig(existing, content, { path, current: options.current });
  if (options.backup) return rewritePersons(path, merge);
  const existing = readIfThere(path);
  const updated = merge(existing ?? '');
  if (updated === existing) return { changed: false };
  writePrivateFile(path, updated);
  return { changed: true };
}

export function removeFromKubeconfigFile(path: string, owner: string): { changed: boolean } {
  if (readIfThere(path) === undefined) return { changed: false };
  return rewritePersons(path, (existing) => removeFromKubeconfig(existing, { path, owner }));
}

/** `no file` where it is gone. Throws a UsageError for a file that cannot be read, or is no kubeconfig. */
export function ownEntriesIn(path: string, owner: string): 'some' | 'none' | 'no file' {
  const existing = readIfThere(path);
  if (existing === undefined) return 'no file';
  const document = readKubeconfig(existing, path);
  const own = SECTIONS.some((section) => itemsOf(document, section).some((item) => ownerOf(item, section) === owner));
  return own ? 'some' : 'none';
}

/** Throws a UsageError `kubeconfig-locked` where another program is at it. */
function rewritePersons(path: string, rewrite: (existing: string) => string): { changed: boolean } {
  const before = readIfThere(path);
  // Most often there is nothing to do, and no lock to take for it.
  if (before !== undefined && rewrite(before) === before) return { changed: false };
  return whileLocked(path, () => {
    const existing = readIfThere(path);
    const updated = rewrite(existing ?? '');
    if (updated === existing) return { changed: false };
    if (existing !== undefined) backUpOnce(path);
    writePrivateFile(path, updated);
    return { changed: true };
  });
}

/** client-go's lock (clientcmd/loader.go, lockFile): whoever makes the file has it. */
function whileLocked<T>(path: string, act: () => T): T {
  const lock = `${path}.lock`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(lock, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') {
      throw new UsageError(`cannot write ${path}: ${systemCode(error) ?? String(error)}`, { cause: error });
    }
    throw new UsageError(`another program, such as kubectl, writes ${path} now; if none does, remove ${lock}`, {
      code: 'kubeconfig-locked',
      cause: error,
    });
  }
  try {
    return act();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** `{alias}`, `{id}`, `{location}`, `{project}` are replaced. Throws a UsageError for any other name in braces. */
export function contextName(
  template: string,
  membership: { alias: string; id: string; location: string; project: string; projectId?: string },
): string {
  const values: Record<string, string> = {
    alias: membership.alias,
    id: membership.id,
    location: membership.location,
    project: membership.projectId ?? membership.project,
  };
  return template.replace(/\{(\w*)\}/g, (_match, name: string) => {
    const value = values[name];
    if (value !== undefined) return value;
    throw new UsageError(
      `--context-template: {${name}} is unknown; use ${Object.keys(values)
        .map((key) => `{${key}}`)
        .join(', ')}`,
    );
  });
}

/** In the file's own style; a new one in kubectl's. */
function write(document: Document, existing: string): string {
  for (const section of SECTIONS) {
    const sequence = document.get(section) as YAMLSeq;
    // A list that was `[]` must not become one long line, nor a list that is empty a bare `[]` on a line of its own.
    if (sequence.items.length === 0) sequence.flow = true;
    else if (sequence.items.every((item) => isMap(item) && !item.flow)) sequence.flow = false;
  }
  return document.toString({
    lineWidth: 0,
    indentSeq: /^ +- /m.test(existing) && !/^- /m.test(existing),
    flowCollectionPadding: !/\{[^\s}]/.test(existing),
  });
}

function readKubeconfig(source: string, path: string): Document {
  const document = parseDocument(source.trim() === '' ? 'apiVersion: v1\nkind: Config\n' : source);
  const [problem] = document.errors;
  if (problem !== undefined) {
    const line = problem.linePos?.[0].line ?? 1;
    throw new UsageError(`${path}:${line}: this kubeconfig is not valid YAML: ${problem.message.split('\n')[0]}`);
  }
  if (!isMap(document.contents) || (document.get('kind') ?? 'Config') !== 'Config') {
    throw new UsageError(`${path}: this is no kubeconfig: expected kind: Config`);
  }
  for (const section of SECTIONS) {
    const value = document.get(section);
    if (value === undefined || value === null) document.set(section, document.createNode([]));
    else if (!isSeq(value)) throw new UsageError(`${path}: ${section}: expected a list`);
  }
  return document;
}

function itemsOf(document: Document, section: string): YAMLMap[] {
  const sequence = document.get(section);
  return isSeq(sequence) ? sequence.items.filter(isMap) : [];
}

function removeOwn(document: Document, content: { owner: string }, keep: ReadonlySet<string>): void {
  for (const section of SECTIONS) {
    const sequence = document.get(section) as YAMLSeq;
    sequence.items = sequence.items.filter(
      (item) => !isMap(item) || ownerOf(item, section) !== content.owner || keep.has(String(item.get('name'))),
    );
  }
}

function putOwn(
  document: Document,
  section: (typeof SECTIONS)[number],
  entry: KubeconfigEntry,
  content: KubeconfigContent,
  value: Record<string, Record<string, unknown>>,
): void {
  const mark = [{ name: MARK, extension: { owner: content.owner, membership: entry.membership } }];
  const [[key, fields]] = Object.entries(value) as [[string, Record<string, unknown>]];
  const existing = itemsOf(document, section).find((item) => item.get('name') === entry.context);
  if (existing === undefined) {
    const item = document.createNode({ name: entry.context, [key]: { ...fields, extensions: mark } });
    (document.get(section) as YAMLSeq).items.push(item);
    return;
  }
  if (ownerOf(existing, section) !== content.owner) {
    throw new UsageError(
      `the kubeconfig has an entry ${JSON.stringify(entry.context)} under ${section} that is not ours; choose other names with --context-template 'cgp-{alias}'`,
    );
  }
  for (const name of FOR_TLS) if (fields[name] === undefined) existing.deleteIn([key, name]);
  for (const [name, wanted] of Object.entries({ ...fields, extensions: mark })) {
    // Only what differs, so that an unchanged file stays the same to the byte.
    const now = existing.getIn([key, name]);
    const plain = typeof now === 'object' && now !== null ? (now as { toJSON(): unknown }).toJSON() : now;
    if (JSON.stringify(plain) !== JSON.stringify(wanted)) existing.setIn([key, name], document.createNode(wanted));
  }
}

/** The state folder of the daemon whose entry this is; undefined for everybody else's. */
function ownerOf(item: YAMLMap, section: (typeof SECTIONS)[number]): string | undefined {
  const extensions = item.getIn([section.slice(0, -1), 'extensions']);
  if (!isSeq(extensions)) return undefined;
  const mark = extensions.items.find((extension) => isMap(extension) && extension.get('name') === MARK);
  const owner = isMap(mark) ? mark.getIn(['extension', 'owner']) : undefined;
  return typeof owner === 'string' ? owner : undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new UsageError(`cannot read the kubeconfig ${path}: ${systemCode(error) ?? String(error)}`, { cause: error });
  }
}

function backUpOnce(path: string): void {
  const copy = `${path}.before-connect-gateway-proxy`;
  if (!existsSync(copy)) copyFileSync(path, copy);
}
