import { isTrue } from './query-boolean.js';
import type { WatchEvent } from './watch-events.js';

/**
 * From where a watch goes on after a cut. Pure: requests and events come in, decisions come out.
 *
 * A watch is resumable once the point in history that the client has seen is known: at once when it named a
 * resourceVersion; with sendInitialEvents after the bookmark that ends the listing, and with sendInitialEvents=false after
 * the first event; otherwise after the first event that is no ADDED, because only then the synthetic listing at the start
 * is over.
 */
export class ResumePoint {
  readonly #path: string;
  readonly #query: string;
  readonly #startedAt: number;
  readonly #timeoutMs: number | undefined;
  readonly #wantsBookmarks: boolean;
  readonly #listsFirst: 'by-bookmark' | 'until-change' | 'no';
  #resourceVersion: string | undefined;
  #listed: boolean;
  #failed = false;

  /** `target` is the client's; `now` is monotonic, in ms. */
  constructor(options: { target: string; now: number }) {
    const mark = options.target.indexOf('?');
    this.#path = mark === -1 ? options.target : options.target.slice(0, mark);
    this.#query = mark === -1 ? '' : options.target.slice(mark + 1);
    this.#startedAt = options.now;
    const query = new URLSearchParams(this.#query);
    const seconds = Number(query.get('timeoutSeconds') ?? 0);
    this.#timeoutMs = seconds > 0 ? seconds * 1000 : undefined;
    this.#wantsBookmarks = isTrue(query.get('allowWatchBookmarks'));
    const asked = query.get('resourceVersion') ?? '';
    const fromNow = asked === '' || asked === '0';
    const initial = query.get('sendInitialEvents');
    this.#listsFirst = isTrue(initial) ? 'by-bookmark' : fromNow && initial === null ? 'until-change' : 'no';
    this.#resourceVersion = fromNow ? undefined : asked;
    this.#listed = this.#listsFirst === 'no';
  }

  /** What to ask upstream for at first: the client's own request, with bookmarks, which move the point in quiet times. */
  firstTarget(): string {
    return this.#wantsBookmarks ? this.#join(this.#query) : this.#join(this.#edit({ allowWatchBookmarks: 'true' }, []));
  }

  /** Whether the event is the client's to see. Call it for every event, in order. */
  see(event: WatchEvent): 'deliver' | 'hide' {
    // The server's own end of the watch, 410 above all: it reaches the client unchanged and nothing follows it.
    if (event.type === 'ERROR') {
      this.#failed = true;
      return 'deliver';
    }
    if (event.resourceVersion !== undefined) this.#resourceVersion = event.resourceVersion;
    if (this.#listsFirst === 'by-bookmark') this.#listed ||= event.endsInitialEvents;
    else if (event.type !== 'ADDED') this.#listed = true;
    return event.type === 'BOOKMARK' && !this.#wantsBookmarks ? 'hide' : 'deliver';
  }

  /** What follows is of interest only for where it leaves the watch: changes of objects are all for the client. */
  get isPastListing(): boolean {
    return this.#listed;
  }

  /** The client has been given changes up to this one. */
  reach(resourceVersion: string): void {
    this.#resourceVersion = resourceVersion;
  }

  /** The request that goes on where the last one was cut; undefined where the watch is over or cannot be resumed. */
  nextTarget(now: number): string | undefined {
    if (!this.#listed || this.#failed || this.#resourceVersion === undefined) return undefined;
    const set: Record<string, string> = { allowWatchBookmarks: 'true', resourceVersion: this.#resourceVersion };
    if (this.#timeoutMs !== undefined) {
      const left = Math.floor((this.#startedAt + this.#timeoutMs - now) / 1000);
      if (left < 1) return undefined;
      set['timeoutSeconds'] = String(left);
    }
    return this.#join(this.#edit(set, ['sendInitialEvents', 'resourceVersionMatch', 'limit', 'continue']));
  }

  /** Replaces and removes parameters; all others stay byte for byte. */
  #edit(set: Readonly<Record<string, string>>, remove: readonly string[]): string {
    const kept = this.#query.split('&').filter((part) => {
      const name = decodeName(part);
      return part !== '' && set[name] === undefined && !remove.includes(name);
    });
    return [...kept, ...Object.entries(set).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)].join('&');
  }

  #join(query: string): string {
    return query === '' ? this.#path : `${this.#path}?${query}`;
  }
}

function decodeName(part: string): string {
  const [name = ''] = part.split('=');
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
