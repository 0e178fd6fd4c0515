import type { ServerResponse } from 'node:http';
import type { Clock } from '../../../base/clock.js';
import { expired } from '../api-error.js';
import type { KubeObject } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf } from '../resource-table.js';
import type { Matcher } from '../selectors.js';
import type { Store, StoreEvent } from '../store.js';
import type { Form } from './exchange.js';
import { assertReached } from './list.js';
import type { ListOptions } from './options.js';
import { readListOptions } from './options.js';
import { presentEvent } from './present.js';

/** About as often as the real server sends them. */
const BOOKMARK_MS = 60_000;
/** The middle of the real server's 30 to 60 minutes. */
const DEFAULT_TIMEOUT_SECONDS = 45 * 60;
/** Events that may wait for a client that does not read; then its watch is ended, as the real watch cache does. */
const MAX_WAITING = 1000;
const INITIAL_EVENTS_END = { 'k8s.io/initial-events-end': 'true' };

export interface WatchOptions {
  readonly store: Store;
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly matches: Matcher;
  readonly form: Form;
  readonly query: URLSearchParams;
  readonly clock: Clock;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
  /** Holds the way to end each open watch. */
  readonly open: Set<() => void>;
}

/**
 * Answers a watch until its time is up, the client leaves or does not read, or the history that it wants is gone.
 * Throws what is refused before the stream begins.
 */
export function serveWatch(options: WatchOptions): void {
  const listOptions = readListOptions(options.query, true);
  if (listOptions.sendInitialEvents === true) assertReached(options.store, listOptions.resourceVersion ?? 0);
  new WatchStream(options, listOptions).start();
}

/** Made into JSON only when it is sent, so that what waits is nothing but references. */
type Item =
  | { readonly kind: 'event'; readonly type: string; readonly object: KubeObject }
  | { readonly kind: 'bookmark'; readonly revision: number; readonly annotations?: Readonly<Record<string, string>> }
  | { readonly kind: 'error'; readonly status: unknown }
  | { readonly kind: 'end' };

class WatchStream {
  readonly #o: WatchOptions;
  readonly #list: ListOptions;
  /** The key in the store. */
  readonly #resource: string;
  readonly #cancels: (() => void)[] = [];
  /** What was there when the watch began; sent before everything that waits. */
  #initial: Iterator<Item> | undefined;
  #waiting: Item[] = [];
  #blocked = false;
  #withColumns = true;
  #ended = false;
  /** Events up to here are known to the client. */
  #after = 0;

  constructor(options: WatchOptions, list: ListOptions) {
    this.#o = options;
    this.#list = list;
    this.#resource = options.type.storedAs ?? options.type.id;
  }

  start(): void {
    const { response, store, clock, signal, open } = this.#o;
    const stop = (): void => this.#stop();
    const end = (): void => this.#end();
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
    // An empty watch would else keep its client waiting for the head.
    response.flushHeaders();
    response.on('close', stop);
    signal.addEventListener('abort', stop, { once: true });
    open.add(end);
    this.#cancels.push(() => signal.removeEventListener('abort', stop));
    this.#cancels.push(() => open.delete(end));
    this.#initial = this.#beginning();
    this.#cancels.push(store.subscribe((event) => this.#onEvent(event)));
    const seconds = this.#list.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
    this.#cancels.push(clock.after(seconds * 1000, () => this.#timeUp()));
    this.#bookmarkLater();
    if (signal.aborted) stop();
    this.#send();
  }

  /** Taken at once, sent as fast as the client reads. */
  #beginning(): Iterator<Item> {
    const { store, namespace, matches } = this.#o;
    const { resourceVersion, sendInitialEvents, bookmarks } = this.#list;
    const fromNowhere = resourceVersion === undefined || resourceVersion === 0;
    const { revision } = store;
    if (sendInitialEvents ?? fromNowhere) {
      const objects = store.list(this.#resource, namespace);
      return initialItems(objects.values(), matches, bookmarks ? revision : undefined);
    }
    if (fromNowhere) return [].values();
    const missed = store.since(resourceVersion);
    if (missed === undefined) {
      const gone = expired(`too old resource version: ${resourceVersion} (${store.compactedRevision})`);
      return [{ kind: 'error', status: gone.status } as const, { kind: 'end' } as const].values();
    }
    this.#after = resourceVersion;
    return this.#itemsOf(missed);
  }

  *#itemsOf(events: readonly StoreEvent[]): Generator<Item, undefined> {
    for (const event of events) {
      const item = this.#itemOf(event);
      if (item !== undefined) yield item;
    }
    return undefined;
  }

  /** What an event is to this watch: objects come and go with the selectors, too. */
  #itemOf({ resource, revision, type, object, previous }: StoreEvent): Item | undefined {
    const { namespace, matches } = this.#o;
    if (resource !== this.#resource || revision <= this.#after) return undefined;
    if (namespace !== undefined && object.metadata.namespace !== namespace) return undefined;
    const was = previous !== undefined && matches(previous);
    if (type !== 'DELETED' && matches(object)) return { kind: 'event', type: was ? 'MODIFIED' : 'ADDED', object };
    if (!was) return undefined;
    // As it was when it last belonged here, with the revision of its going.
    const metadata = { ...previous.metadata, resourceVersion: String(revision) };
    return { kind: 'event', type: 'DELETED', object: type === 'DELETED' ? object : { ...previous, metadata } };
  }

  #onEvent(event: StoreEvent): void {
    const item = this.#itemOf(event);
    if (item !== undefined) this.#enqueue(item);
  }

  #enqueue(item: Item): void {
    if (this.#ended) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#end();
      return;
    }
    this.#waiting.push(item);
    this.#send();
  }

  #send(): void {
    while (!this.#blocked && !this.#ended) {
      const item = this.#next();
      if (item === undefined) return;
      if (item.kind === 'end') {
        this.#end();
        return;
      }
      const { response } = this.#o;
      if (response.write(this.#lineOf(item))) continue;
      this.#blocked = true;
      response.once('drain', () => {
        this.#blocked = false;
        this.#send();
      });
    }
  }

  #next(): Item | undefined {
    if (this.#initial !== undefined) {
      const next = this.#initial.next();
      if (next.done !== true) return next.value;
      this.#initial = undefined;
    }
    return this.#waiting.shift();
  }

  #lineOf(item: Exclude<Item, { kind: 'end' }>): string {
    if (item.kind === 'error') return `{"type":"ERROR","object":${JSON.stringify(item.status)}}\n`;
    const type = item.kind === 'bookmark' ? 'BOOKMARK' : item.type;
    const object = item.kind === 'bookmark' ? this.#emptyObject(item) : item.object;
    const { form, query, clock } = this.#o;
    const options = { form, query, now: clock.now() };
    const json = presentEvent(this.#o.type, object, options, this.#withColumns);
    this.#withColumns = false;
    return `{"type":"${type}","object":${json}}\n`;
  }

  /** The object of a bookmark: an empty one of the type that says only how far the watch is. */
  #emptyObject({ revision, annotations }: Extract<Item, { kind: 'bookmark' }>): KubeObject {
    const { type } = this.#o;
    const metadata = { resourceVersion: String(revision), ...(annotations === undefined ? {} : { annotations }) };
    const rest = type.id === 'pods' ? { spec: { containers: null }, status: {} } : {};
    // It has no name: the one object of which that is true.
    return { kind: type.kind, apiVersion: apiVersionOf(type), metadata, ...rest } as unknown as KubeObject;
  }

  #bookmarkLater(): void {
    if (!this.#list.bookmarks) return;
    const cancel = this.#o.clock.after(BOOKMARK_MS, () => {
      this.#cancels.splice(this.#cancels.indexOf(cancel), 1);
      this.#enqueue({ kind: 'bookmark', revision: this.#revision() });
      if (!this.#ended) this.#bookmarkLater();
    });
    this.#cancels.push(cancel);
  }

  #timeUp(): void {
    if (this.#list.bookmarks) this.#enqueue({ kind: 'bookmark', revision: this.#revision() });
    this.#enqueue({ kind: 'end' });
  }

  /** A watch from the future must not be set back by its own bookmarks. */
  #revision(): number {
    return Math.max(this.#o.store.revision, this.#after);
  }

  #end(): void {
    if (this.#ended) return;
    this.#stop();
    this.#o.response.end();
  }

  #stop(): void {
    this.#ended = true;
    this.#waiting = [];
    this.#initial = undefined;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.length = 0;
  }
}

function* initialItems(
  objects: Iterable<KubeObject>,
  matches: Matcher,
  bookmark: number | undefined,
): Generator<Item, undefined> {
  for (const object of objects) if (matches(object)) yield { kind: 'event', type: 'ADDED', object };
  if (bookmark !== undefined) yield { kind: 'bookmark', revision: bookmark, annotations: INITIAL_EVENTS_END };
  return undefined;
}
