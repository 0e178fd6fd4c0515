import { randomUUID } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { expired } from './api-error.js';
import type { KubeObject } from './json.js';
import { timestamp } from './json.js';

export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** The id of a resource type, e.g. `pods` or `deployments.apps`. */
  readonly resource: string;
  readonly object: KubeObject;
  readonly previous?: KubeObject;
  readonly revision: number;
}

interface Table {
  readonly objects: Map<string, KubeObject>;
  /** Undefined after a key came or went. */
  sorted: readonly string[] | undefined;
}

/** etcd compacts every five minutes; a busy small cluster makes far fewer events than this meanwhile. */
const HISTORY_LIMIT = 5000;

/**
 * Objects by resource, with one revision counter for all as etcd has, and a bounded history of changes from which
 * watches resume and older lists are rebuilt. Knows nothing of the meaning of objects.
 */
export class Store {
  readonly #clock: Clock;
  readonly #tables = new Map<string, Table>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #history: StoreEvent[] = [];
  /** A fresh cluster has made some hundred revisions before anyone looks; starting at 1 would make "0" and "1" special. */
  #revision = 100;
  #compacted = 100;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Changes up to and including this revision are forgotten. */
  get compactedRevision(): number {
    return this.#compacted;
  }

  get(resource: string, namespace: string, name: string): KubeObject | undefined {
    return this.#tables.get(resource)?.objects.get(keyOf(namespace, name));
  }

  /** In the order of namespace, then name; all namespaces when `namespace` is undefined. */
  list(resource: string, namespace?: string): KubeObject[] {
    const table = this.#tables.get(resource);
    if (table === undefined) return [];
    table.sorted ??= [...table.objects.keys()].sort();
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const found: KubeObject[] = [];
    for (const key of table.sorted) {
      const object = key.startsWith(prefix) ? table.objects.get(key) : undefined;
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** The list as it was at `revision`. */
  listAt(resource: string, namespace: string | undefined, revision: number): KubeObject[] {
    if (revision >= this.#revision) return this.list(resource, namespace);
    if (revision < this.#compacted) throw expired(`The provided resource version is too old: ${revision}`);
    const objects = new Map(this.list(resource, namespace).map((object) => [keyOfObject(object), object]));
    for (let index = this.#history.length - 1; index >= 0; index--) {
      const event = this.#history[index];
      if (event === undefined || event.revision <= revision) break;
      if (event.resource !== resource) continue;
      if (namespace !== undefined && event.object.metadata.namespace !== namespace) continue;
      if (event.previous === undefined) objects.delete(keyOfObject(event.object));
      else objects.set(keyOfObject(event.object), event.previous);
    }
    return [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Every object of every resource: for garbage collection and namespaces that end. */
  *all(): Generator<{ resource: string; object: KubeObject }> {
    for (const [resource, table] of this.#tables) {
      for (const object of [...table.objects.values()]) yield { resource, object };
    }
  }

  /** Gives the object its uid, creation time and revision. The caller has made sure that the name is free. */
  create(resource: string, object: KubeObject): KubeObject {
    const stored: KubeObject = { ...object, metadata: this.#identify(object) };
    this.#put(resource, stored, undefined);
    return stored;
  }

  /** What `create` would store, for dry runs. */
  preview(object: KubeObject): KubeObject {
    const { resourceVersion: _none, ...metadata } = this.#identify(object);
    return { ...object, metadata };
  }

  update(resource: string, object: KubeObject): KubeObject {
    const previous = this.get(resource, object.metadata.namespace ?? '', object.metadata.name);
    const metadata = { ...object.metadata, resourceVersion: String(this.#revision + 1) };
    const stored: KubeObject = { ...object, metadata };
    this.#put(resource, stored, previous);
    return stored;
  }

  remove(resource: string, object: KubeObject): KubeObject | undefined {
    const key = keyOfObject(object);
    const table = this.#tables.get(resource);
    const previous = table?.objects.get(key);
    if (table === undefined || previous === undefined) return undefined;
    table.objects.delete(key);
    table.sorted = undefined;
    this.#revision++;
    const metadata = { ...previous.metadata, resourceVersion: String(this.#revision) };
    const last: KubeObject = { ...previous, metadata };
    this.#emit({ type: 'DELETED', resource, object: last, previous, revision: this.#revision });
    return last;
  }

  /** The changes after `revision`, or undefined when some of them are forgotten. */
  since(revision: number): readonly StoreEvent[] | undefined {
    if (revision < this.#compacted) return undefined;
    let low = 0;
    for (let high = this.#history.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((this.#history[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#history.slice(low);
  }

  /** Forgets all history, as etcd's compaction does: older resource versions are answered with 410. */
  compact(): void {
    this.#history = [];
    this.#compacted = this.#revision;
  }

  /** Listeners are called in the order of subscription, inside the write. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #identify(object: KubeObject): KubeObject['metadata'] {
    const { name, namespace, generateName, ...rest } = object.metadata;
    return {
      name,
      ...(generateName === undefined ? {} : { generateName }),
      ...(namespace === undefined ? {} : { namespace }),
      uid: object.metadata.uid ?? randomUUID(),
      resourceVersion: String(this.#revision + 1),
      ...(rest.generation === undefined ? {} : { generation: rest.generation }),
      creationTimestamp: timestamp(this.#clock.now()),
      ...withoutIdentity(rest),
    };
  }

  #put(resource: string, object: KubeObject, previous: KubeObject | undefined): void {
    let table = this.#tables.get(resource);
    if (table === undefined) {
      table = { objects: new Map(), sorted: undefined };
      this.#tables.set(resource, table);
    }
    table.objects.set(keyOfObject(object), object);
    if (previous === undefined) table.sorted = undefined;
    this.#revision++;
    const type = previous === undefined ? 'ADDED' : 'MODIFIED';
    const change = previous === undefined ? {} : { previous };
    this.#emit({ type, resource, object, ...change, revision: this.#revision });
  }

  #emit(event: StoreEvent): void {
    this.#history.push(event);
    // Half at a time, so that the array is not shifted at every event.
    if (this.#history.length > HISTORY_LIMIT) {
      const forgotten = this.#history.splice(0, HISTORY_LIMIT / 2);
      this.#compacted = forgotten.at(-1)?.revision ?? this.#compacted;
    }
    for (const listener of [...this.#listeners]) listener(event);
  }
}

function withoutIdentity(metadata: Record<string, unknown>): Record<string, unknown> {
  const { uid: _uid, resourceVersion: _version, creationTimestamp: _time, generation: _generation, ...rest } = metadata;
  return rest;
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

export function keyOfObject(object: KubeObject): string {
  return keyOf(object.metadata.namespace ?? '', object.metadata.name);
}
