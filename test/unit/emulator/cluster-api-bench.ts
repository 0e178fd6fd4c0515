import { once } from 'node:events';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { PassThrough, type Readable } from 'node:stream';
import type { Test } from 'tap';
import { silentLogger } from '../../../src/base/log.js';
import { type BuiltinCluster, createBuiltinCluster } from '../../../src/emulator/cluster/builtin-cluster.js';
import type { Dict } from '../../../src/emulator/cluster/json.js';
import type {
  ContainerStatus,
  LogOptions,
  PodRuntime,
  PodSpec,
  PodUpgrade,
} from '../../../src/emulator/pods/pod-runtime.js';
import { FakeClock } from '../../support/fake-clock.js';

/** Pods without processes: every container runs at once, and what is asked of it is noted. */
export class FakeRuntime implements PodRuntime {
  readonly pods = new Map<string, PodSpec>();
  /** Every call of `start`. */
  readonly started: PodSpec[] = [];
  readonly logs: { container: string; options: LogOptions; signal: AbortSignal }[] = [];
  readonly upgrades: PodUpgrade[] = [];
  /** Instead of running. */
  states: ContainerStatus['state'] = { kind: 'running', startedAt: 0 };
  log: Readable = new PassThrough();
  readonly #listeners: ((uid: string) => void)[] = [];

  start(pod: PodSpec): void {
    this.started.push(pod);
    const before = this.pods.get(pod.uid);
    this.pods.set(
      pod.uid,
      before === undefined ? pod : { ...before, containers: [...before.containers, ...pod.containers] },
    );
    this.changed(pod.uid);
  }

  changed(uid: string): void {
    for (const listener of this.#listeners) listener(uid);
  }

  async stop(uid: string): Promise<void> {
    this.pods.delete(uid);
  }

  statuses(uid: string): readonly ContainerStatus[] {
    const containers = this.pods.get(uid)?.containers ?? [];
    return containers.map(({ name }) => ({ name, state: this.states, restartCount: 0 }));
  }

  onChange(listener: (uid: string) => void): void {
    this.#listeners.push(listener);
  }

  openLog(_uid: string, container: string, options: LogOptions, signal: AbortSignal): Readable {
    this.logs.push({ container, options, signal });
    return this.log;
  }

  upgrade(upgrade: PodUpgrade): void {
    this.upgrades.push(upgrade);
    upgrade.socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  }

  async close(): Promise<void> {}
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON. */
  readonly body: Dict;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: unknown;
}

/** A built-in cluster behind a plain HTTP server, with a clock that stands still. */
export class ClusterApi {
  readonly clock = new FakeClock();
  readonly runtime = new FakeRuntime();
  readonly cluster: BuiltinCluster;
  readonly server: http.Server;
  readonly #agent = new http.Agent({ keepAlive: true });
  /** Who the gateway says is calling. */
  user = 'dev@example.com';

  constructor(seed: boolean) {
    const { clock, runtime } = this;
    this.cluster = createBuiltinCluster({ name: 'test', version: 'v1.36.2', runtime, clock, log: silentLogger, seed });
    this.server = http.createServer((request, response) => {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      this.cluster.handle(request, response, this.#context(request, gone.signal));
    });
    this.server.on('upgrade', (request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
      this.cluster.upgrade(request, socket, head, this.#context(request, new AbortController().signal));
    });
  }

  #context(request: http.IncomingMessage, signal: AbortSignal): Parameters<BuiltinCluster['handle']>[2] {
    return { target: request.url ?? '/', caller: { user: this.user, groups: ['devs'] }, signal };
  }

  /** The answer as soon as its head is there. */
  async open(target: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<http.IncomingMessage> {
    const { port } = this.server.address() as AddressInfo;
    const upgrade = headers['Upgrade'] !== undefined;
    const agent = upgrade ? false : this.#agent;
    const request = http.request({ host: '127.0.0.1', port, path: target, method, headers, agent });
    const raw = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    if (raw !== undefined && request.getHeader('Content-Type') === undefined) {
      request.setHeader('Content-Type', 'application/json');
    }
    // Node would send the body of a DELETE without saying how long it is.
    if (raw !== undefined && !request.hasHeader('Transfer-Encoding')) {
      request.setHeader('Content-Length', Buffer.byteLength(raw));
    }
    request.end(raw);
    const answered = once(request, 'response').then(([response]) => response as http.IncomingMessage);
    if (!upgrade) return answered;
    const upgraded = once(request, 'upgrade').then(([response]) => response as http.IncomingMessage);
    return Promise.race([answered, upgraded]);
  }

  async ask(target: string, options: Ask = {}): Promise<Answer> {
    const response = await this.open(target, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const json = text.startsWith('{');
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      text,
      body: json ? (JSON.parse(text) as Dict) : {},
    };
  }

  async create(target: string, body: Dict): Promise<Dict> {
    const answer = await this.ask(target, { method: 'POST', body });
    if (answer.status !== 201) throw new Error(`${target}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  async watch(target: string, options: Ask = {}): Promise<Watch> {
    return new Watch(await this.open(target, options));
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await this.cluster.close();
    this.server.closeAllConnections();
    this.server.close();
  }
}

export interface WatchEvent {
  readonly type: string;
  readonly object: Dict;
}

/** Reads a watch event by event. */
export class Watch {
  readonly response: http.IncomingMessage;
  readonly #events: AsyncGenerator<WatchEvent>;

  constructor(response: http.IncomingMessage) {
    this.response = response;
    this.#events = eventsOf(response);
  }

  /** The next event; undefined after a clean end. */
  async next(): Promise<WatchEvent | undefined> {
    const { value, done } = await this.#events.next();
    return done === true ? undefined : value;
  }

  /** Types and names of the next events. */
  async take(count: number): Promise<string[]> {
    const told: string[] = [];
    while (told.length < count) {
      const event = await this.next();
      if (event === undefined) break;
      const { name } = event.object['metadata'] as Dict;
      told.push(`${event.type}${name === undefined ? '' : ` ${String(name)}`}`);
    }
    return told;
  }

  close(): void {
    this.response.destroy();
  }
}

async function* eventsOf(response: http.IncomingMessage): AsyncGenerator<WatchEvent> {
  let rest = '';
  for await (const chunk of response) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as WatchEvent;
  }
}

export async function openClusterApi(t: Test, { seed = true }: { seed?: boolean } = {}): Promise<ClusterApi> {
  const api = new ClusterApi(seed);
  api.server.listen(0, '127.0.0.1');
  await once(api.server, 'listening');
  t.teardown(() => api.close());
  // What the seed sets going is done before a test counts revisions.
  await settle(api);
  return api;
}

/** Resolves when the controllers have nothing left to do. */
export async function settle(api: ClusterApi): Promise<void> {
  for (let before = -1; before !== api.cluster.store.revision; ) {
    before = api.cluster.store.revision;
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

export const CONFIGMAPS = '/api/v1/namespaces/default/configmaps';
export const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

export function configMap(name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}): Dict {
  return { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name, labels }, data };
}
