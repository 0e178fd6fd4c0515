import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parse } from 'yaml';
import { readIfThere } from '../service/files.js';
import type { Environment } from './in-force.js';

/** What one context leads to, as kubectl puts it together. */
export interface SeenContext {
  readonly name: string;
  /** The file that the context is read from. */
  readonly file: string;
  readonly server?: string;
  /** PEM. */
  readonly authority?: string;
  readonly token?: string;
  readonly namespace?: string;
  /** The exec plugin's command. */
  readonly plugin?: string;
}

export interface SeenKubeconfig {
  readonly files: readonly string[];
  /** Of a name that several files have, the first counts, and the others are listed as hidden. */
  readonly contexts: readonly SeenContext[];
  readonly hidden: readonly { readonly name: string; readonly file: string; readonly by: string }[];
  readonly current?: string;
  /** Files that are no YAML. */
  readonly broken: readonly string[];
}

interface Named {
  readonly name?: string;
  readonly [field: string]: unknown;
}

interface KubeconfigFile {
  readonly clusters?: readonly Named[];
  readonly users?: readonly Named[];
  readonly contexts?: readonly Named[];
  readonly 'current-context'?: string;
}

/** The files of KUBECONFIG, or the one in the home folder. */
export function kubeconfigFiles(env: Environment): string[] {
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  return listed.length > 0 ? [...new Set(listed)] : [join(env['HOME'] ?? homedir(), '.kube', 'config')];
}

/** Reads the files as kubectl does: the first that has a name, or a current context, counts. */
export function readKubeconfigs(files: readonly string[]): SeenKubeconfig {
  const broken: string[] = [];
  const read = files.flatMap((file): { file: string; content: KubeconfigFile }[] => {
    const text = readIfThere(file);
    if (text === undefined) return [];
    try {
      const content: unknown = parse(text) ?? {};
      if (typeof content === 'object') return [{ file, content: content as KubeconfigFile }];
    } catch {
      // Told below.
    }
    broken.push(file);
    return [];
  });
  const named = (section: 'clusters' | 'users', name: unknown): Named | undefined =>
    read.flatMap(({ content }) => listOf(content[section])).find((item) => item.name === name);
  const contexts: SeenContext[] = [];
  const hidden: { name: string; file: string; by: string }[] = [];
  for (const { file, content } of read) {
    for (const item of listOf(content.contexts)) {
      const name = String(item.name);
      const first = contexts.find((context) => context.name === name);
      if (first === undefined) contexts.push(resolve(item, { name, file, named }));
      else hidden.push({ name, file, by: first.file });
    }
  }
  const current = read.map(({ content }) => content['current-context']).find((name) => name);
  return { files, contexts, hidden, broken, ...(current === undefined ? {} : { current }) };
}

function resolve(
  item: Named,
  o: { name: string; file: string; named: (section: 'clusters' | 'users', name: unknown) => Named | undefined },
): SeenContext {
  const context = record(item['context']);
  const cluster = record(o.named('clusters', context['cluster'])?.['cluster']);
  const user = record(o.named('users', context['user'])?.['user']);
  const data = text(cluster['certificate-authority-data']);
  const caFile = text(cluster['certificate-authority']);
  const authority = data === undefined ? caFile && readIfThere(caFile) : Buffer.from(data, 'base64').toString();
  const fields = {
    server: text(cluster['server']),
    authority,
    token: text(user['token']),
    namespace: text(context['namespace']),
    plugin: text(record(user['exec'])['command']),
  };
  const known = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return { name: o.name, file: o.file, ...known };
}

function listOf(value: unknown): readonly Named[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
