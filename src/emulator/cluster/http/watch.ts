import type { ServerResponse } from 'node:http';
import type { Clock } from '../../../base/clock.js';
import { expired } from '../api-error.js';
import type { KubeObject } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf } from '../resource-table.js';
import type { Matcher } from '../selectors.js';
import type { Store, StoreEvent } from '../store.js';
import { type PresentOptions, presentEvent } from './present.js';

/** About as often as the real server sends them. */
const BOOKMARK_MS = 60_000;
/** The middle of the real server's 30 to 60 minutes. */
const DEFAULT_TIMEOUT_MS = 45 * 60_000;
/** A watcher that is this far behind is ended, as the real watch cache does. */
const MAX_QUEUED_BYTES = 16 * 1024 * 1024;

export interface WatchOptions extends PresentOptions {
  readonly store: Store;
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly matches: Matcher;
  readonly clock: Clock;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
}

/** Answers a watch until its time is up, the client leaves, or the history it wants is gone. */
export function serveWatch(options: WatchOptions): void {
  new WatchStream(options).start();
}

class WatchStream {
  readonly #o: WatchOptions;
  readonly #resource: string;
  readonly #bookmarks: boolean;
  readonly #cancels: (() => void)[] = [];
  #first = true;
  #ended = false;

  constructor(options: WatchOptions) {
    this.#o = options;
    this.#resource = options.type.storedAs ?? options.type.id;
    this.#bookmarks = isTrue(options.query.get('allowWatchBookmarks'));
  }

  start(): void {
    const { response, query, store, clock, signal } = this.#o;
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
    response.flushHeaders();
    response.on('close', () => this.#stop());
    signal.addEventListener('abort', () => this.#stop(), { once: true });
    if (!this.#catchUp(query.get('resourceVersion') ?? '')) return;
    this.#cancels.push(store.subscribe((event) => this.#onEvent(event)));
    const seconds = Number(query.get('timeoutSeconds') ?? 0);
    this.#cancels.push(clock.after(seconds > 0 ? seconds * 1000 : DEFAULT_TIMEOUT_MS, () => this.#timeUp()));
    this.#bookmarkLater();
  }

  #catchUp(asked: string): boolean {
    const { store, query, namespace, matches } = this.#o;
    const listFirst = isTrue(query.get('sendInitialEvents'));
    if (listFirst || asked === '' || asked === '0') {
      for (const object of store.list(this.#resource, namespace)) if (matches(object)) this.#send('ADDED', object);
      if (listFirst && this.#bookmarks) this.#bookmark({ 'k8s.io/initial-events-end': 'true' });
      return true;
    }
    const missed = store.since(Number(asked));
    if (missed === undefined) {
      const gone = expired(`too old resource version: ${asked} (${store.compactedRevision})`);
      this.#write(`{"type":"ERROR","object":${JSON.stringify(gone.status)}}\n`);
      this.#end();
      return false;
    }
    for (const event of missed) this.#onEvent(event);
    return true;
  }

  #onEvent(event: StoreEvent): void {
    const { namespace, matches } = this.#o;
    if (event.resource !== this.#resource) return;
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
    const was = event.previous !== undefined && matches(event.previous);
    const is = event.type !== 'DELETED' && matches(event.object);
    if (is) this.#send(was ? 'MODIFIED' : 'ADDED', event.object);
    else if (was) this.#send('DELETED', event.object);
  }

  #send(type: string, object: KubeObject): void {
    this.#write(`{"type":"${type}","object":${presentEvent(this.#o.type, object, this.#o, this.#first)}}\n`);
    this.#first = false;
  }

  #bookmark(annotations?: Record<string, string>): void {
    const { type, store, form } = this.#o;
    const metadata = {
      resourceVersion: String(store.revision),
      creationTimestamp: null,
      ...(annotations ? { annotations } : {}),
    };
    const bare = { kind: type.kind, apiVersion: apiVersionOf(type), metadata };
    const object =
      form.kind === 'table'
        ? {
            kind: 'Table',
            apiVersion: 'meta.k8s.io/v1',
            metadata: { resourceVersion: metadata.resourceVersion },
            columnDefinitions: null,
            rows: [{ cells: [], object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata } }],
          }
        : form.kind === 'partial'
          ? { ...bare, kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' }
          : bare;
    this.#write(`{"type":"BOOKMARK","object":${JSON.stringify(object)}}\n`);
  }

  #bookmarkLater(): void {
    if (!this.#bookmarks || this.#ended) return;
    const cancel = this.#o.clock.after(BOOKMARK_MS, () => {
      this.#bookmark();
      this.#bookmarkLater();
    });
    this.#cancels.push(cancel);
  }

  #timeUp(): void {
    if (this.#bookmarks) this.#bookmark();
    this.#end();
  }

  #write(line: string): void {
    if (this.#ended) return;
    const { response } = this.#o;
    response.write(line);
    if (response.writableLength > MAX_QUEUED_BYTES) {
      this.#stop();
      response.destroy();
    }
  }

  #end(): void {
    this.#stop();
    this.#o.response.end();
  }

  #stop(): void {
    this.#ended = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.length = 0;
  }
}

export function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}
