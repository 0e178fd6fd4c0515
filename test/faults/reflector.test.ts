import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import * as https from 'node:https';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { CUT_FORMS, type CutForm, cut } from '../support/cut-forms.js';
import { type Arrival, Upstream } from '../support/fault-scene.js';
import { openTestFrontDoor, type TestFrontDoor } from '../support/front-door.js';
import { expiredEvent, type PodEvent, podEvent, podList, readEvents, readPodList } from '../support/protobuf.js';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const FORMS = Object.keys(CUT_FORMS) as CutForm[];
const EVENTS_PER_CUT = 3;
const CUTS = 9;

/** Lists once, watches from there on, and lists again only where the watch has been told that its point is forgotten. */
class Reflector {
  readonly store = new Map<string, number>();
  readonly seen: PodEvent[] = [];
  lists = 0;
  watches = 0;
  readonly #at: TestFrontDoor;
  #resourceVersion = '';
  #wake = (): void => {};
  #leave = (): void => {};

  constructor(at: TestFrontDoor) {
    this.#at = at;
  }

  async run(): Promise<void> {
    // As client-go does: the first list from a cache, one after an expiry from the store itself.
    await this.#list('0');
    while (await this.#watch()) await this.#list('');
  }

  stop(): void {
    this.#leave();
  }

  async has(version: number): Promise<void> {
    while (Number(this.#resourceVersion) < version) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #list(resourceVersion: string): Promise<void> {
    this.lists++;
    const version = resourceVersion === '' ? '' : `&resourceVersion=${resourceVersion}`;
    const response = await this.#get(`limit=500${version}`, `${PROTOBUF},application/json`);
    const list = readPodList(await buffer(response));
    this.store.clear();
    for (const [name, version] of list.pods) this.store.set(name, version);
    this.#reach(list.resourceVersion);
  }

  /** True when its point is forgotten, false when it has been stopped. */
  async #watch(): Promise<boolean> {
    this.watches++;
    const query = `allowWatchBookmarks=true&resourceVersion=${this.#resourceVersion}&timeoutSeconds=400&watch=true`;
    const response = await this.#get(query, `${PROTOBUF};stream=watch,application/json;stream=watch`);
    let stopped = false;
    this.#leave = () => {
      stopped = true;
      response.destroy();
    };
    let rest = Buffer.alloc(0);
    try {
      for await (const chunk of response) {
        rest = Buffer.concat([rest, chunk as Buffer]);
        const { events, length } = readEvents(rest);
        rest = rest.subarray(length);
        for (const event of events) {
          if (event.type === 'ERROR') return event.name === 'Expired';
          this.#apply(event);
        }
      }
    } catch (error) {
      if (!stopped) throw error;
    }
    if (stopped) return false;
    throw new Error('the watch ended without a word');
  }

  #apply(event: PodEvent): void {
    if (event.type !== 'BOOKMARK') this.seen.push(event);
    if (event.type === 'DELETED') this.store.delete(event.name);
    else if (event.type !== 'BOOKMARK') this.store.set(event.name, event.version);
    this.#reach(String(event.version));
  }

  #reach(resourceVersion: string): void {
    this.#resourceVersion = resourceVersion;
    this.#wake();
  }

  async #get(query: string, accept: string): Promise<IncomingMessage> {
    const request = https.get({
      ...{ host: '127.0.0.1', port: this.#at.port, ca: this.#at.ca, agent: false },
      path: `/api/v1/pods?${query}`,
      headers: { Authorization: `Bearer ${this.#at.localToken}`, Accept: accept },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  }
}

/** An API server that speaks protobuf alone, and forgets when it is told to. */
class Pods {
  version = 100;
  readonly all = new Map<string, number>([['old', 90]]);
  #history: PodEvent[] = [];

  change(type: string, name: string): void {
    this.version++;
    if (type === 'DELETED') this.all.delete(name);
    else this.all.set(name, this.version);
    this.#history.push({ type, name, version: this.version });
  }

  forget(): void {
    this.#history = [];
  }

  list({ response }: Arrival): void {
    const body = podList(this.version, this.all);
    response.writeHead(200, { 'Content-Type': PROTOBUF, 'Content-Length': body.length }).end(body);
  }

  /** What has happened since the asked version. */
  watch({ response, url }: Arrival): void {
    response.writeHead(200, { 'Content-Type': `${PROTOBUF};stream=watch` });
    response.flushHeaders();
    const since = Number(url.searchParams.get('resourceVersion'));
    const missed = this.#history.filter(({ version }) => version > since);
    if (missed.length < this.version - since) response.end(expiredEvent());
    for (const { type, name, version } of missed) response.write(podEvent(type, version, name));
  }
}

const isWatch = ({ url }: Arrival): boolean => url.searchParams.get('watch') === 'true';

t.test(
  'a reflector over a protobuf watch lists once, whatever is cut, and again when its point is forgotten',
  async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const upstream = new Upstream(at);
    const pods = new Pods();
    const reflector = new Reflector(at);
    const running = reflector.run();

    const list = await upstream.next();
    t.notOk(isWatch(list));
    pods.list(list);
    let watch = await upstream.next();
    pods.watch(watch);
    const told: PodEvent[] = [];
    const change = (type: string, name: string): void => {
      pods.change(type, name);
      told.push({ type, name, version: pods.version });
    };
    for (let round = 0; round < CUTS; round++) {
      t.ok(isWatch(watch), 'a watch and no list');
      t.equal(watch.url.searchParams.get('resourceVersion'), String(pods.version), 'from where it stands');
      for (let i = 0; i < EVENTS_PER_CUT; i++) {
        change(['ADDED', 'MODIFIED', 'DELETED'][i] ?? '', `pod-${round}`);
        watch.response.write(podEvent(['ADDED', 'MODIFIED', 'DELETED'][i] ?? '', pods.version, `pod-${round}`));
      }
      // Where nothing happens for long, a bookmark is all that moves the point.
      pods.version++;
      watch.response.write(podEvent('BOOKMARK', pods.version));
      await reflector.has(pods.version);
      const unfinished = podEvent('ADDED', pods.version + 1).subarray(0, round * 4);
      cut(FORMS[round % FORMS.length] ?? 'a TCP reset', watch.response, unfinished);
      watch = await upstream.next();
      pods.watch(watch);
    }
    t.strictSame(reflector.seen, told, 'every change once, in order');
    t.strictSame([reflector.lists, reflector.watches], [1, 1], 'and it has noticed none of them');

    change('ADDED', 'while nobody looked');
    pods.forget();
    cut('a TCP reset', watch.response, Buffer.alloc(0));
    pods.watch(await upstream.next());
    const again = await upstream.next();
    t.notOk(isWatch(again), 'it was told that its point is forgotten, and lists');
    t.equal(again.url.searchParams.get('resourceVersion'), null);
    pods.list(again);
    watch = await upstream.next();
    pods.watch(watch);
    change('MODIFIED', 'old');
    watch.response.write(podEvent('MODIFIED', pods.version, 'old'));
    await reflector.has(pods.version);
    t.strictSame([...reflector.store].sort(), [...pods.all].sort(), 'what it holds is what there is');
    t.strictSame([reflector.lists, reflector.watches], [2, 2]);
    reflector.stop();
    await running;
    t.equal(upstream.unannounced, 0);
  },
);
