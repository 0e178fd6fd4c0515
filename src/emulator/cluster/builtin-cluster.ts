import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { CallContext, ClusterBackend } from '../cluster-backend.js';
import type { PodRuntime } from '../pods/pod-runtime.js';
import { ApiError, methodNotAllowed, noSuchPath } from './api-error.js';
import { startControllers } from './controllers/controllers.js';
import { aggregatedDiscovery, apiGroupList, apiGroupOf, apiResourceList, apiVersions } from './discovery.js';
import { assertMayDo, userOf } from './http/access.js';
import { parseResourcePath, splitTarget } from './http/api-path.js';
import { negotiate, sendError, sendJson } from './http/exchange.js';
import { isStream, refuseUpgrade, serveStream } from './http/pod-streams.js';
import { ResourceApi } from './http/resources.js';
import type { Dict } from './json.js';
import { openApiV2, openApiV3, openApiV3Index } from './openapi.js';
import { OPENAPI_V2_PROTOBUF, openApiV2Protobuf } from './openapi-v2-protobuf.js';
import { Registry } from './registry.js';
import { seedCluster } from './seed.js';
import { Store } from './store.js';

export interface BuiltinClusterOptions {
  readonly name: string;
  /** Of Kubernetes, e.g. `v1.36.2`. */
  readonly version: string;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether it begins with namespaces, nodes and something running. */
  readonly seed?: boolean;
  readonly random?: () => number;
}

/** A small Kubernetes in this process: real API semantics, pods as local processes. */
export interface BuiltinCluster extends ClusterBackend {
  readonly store: Store;
  /** Forgets all history: every older resourceVersion is answered with 410. */
  compact(): void;
}

export function createBuiltinCluster(options: BuiltinClusterOptions): BuiltinCluster {
  return new Cluster(options);
}

interface Target {
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
}

/** Services of the built-in cluster live in 10.96.0.0/16, of which the first is the API's own. */
const FIRST_SERVICE_ADDRESS = 2;
const FIRST_NODE_PORT = 30_000;
const NODE_PORTS = 2768;

class Cluster implements BuiltinCluster {
  readonly version: string;
  readonly store: Store;
  readonly #o: BuiltinClusterOptions;
  readonly #registry: Registry;
  readonly #controllers: { close(): void };
  readonly #resources: ResourceApi;
  #services = FIRST_SERVICE_ADDRESS;
  #nodePorts = 0;

  constructor(options: BuiltinClusterOptions) {
    const { clock, runtime, log, name, version } = options;
    this.#o = options;
    this.version = version;
    this.store = new Store({ clock });
    this.#registry = new Registry({
      store: this.store,
      clock,
      random: options.random ?? Math.random,
      help: {
        serviceAddress: () => {
          const next = this.#services++;
          return `10.96.${(next >> 8) & 0xff}.${next & 0xff}`;
        },
        nodePort: () => FIRST_NODE_PORT + (this.#nodePorts++ % NODE_PORTS),
      },
    });
    this.#resources = new ResourceApi({ registry: this.#registry, runtime, clock });
    this.#controllers = startControllers({ registry: this.#registry, store: this.store, runtime, clock, log });
    if (options.seed === true) seedCluster({ registry: this.#registry, now: clock.now(), name, version });
  }

  compact(): void {
    this.store.compact();
  }

  async close(): Promise<void> {
    this.#controllers.close();
    this.#resources.close();
    await this.#o.runtime.close();
  }

  handle(request: IncomingMessage, response: ServerResponse, context: CallContext): void {
    this.#answer(request, response, context).catch((error: unknown) => {
      if (!(error instanceof ApiError)) this.#o.log.warn({}, `built-in cluster: ${describeError(error)}`);
      sendError(response, error);
    });
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, context: CallContext): void {
    try {
      const { segments, query } = splitTarget(context.target);
      const path = parseResourcePath(segments);
      const { subresource } = path;
      if (path.type.id !== 'pods' || !isStream(subresource)) throw noSuchPath();
      const user = userOf(request, context.caller);
      const { namespace, name = '' } = path;
      assertMayDo(user, { verb: 'create', group: '', resource: 'pods', subresource, namespace, name });
      const pod = this.#registry.find(path.type, namespace ?? '', name);
      serveStream(this.#o.runtime, pod, { subresource, query, request, socket, head, signal: context.signal });
    } catch (error) {
      refuseUpgrade(socket, error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, context: CallContext): Promise<void> {
    const { segments, query } = splitTarget(context.target);
    const [root = ''] = segments;
    if ((root === 'api' && segments.length > 2) || (root === 'apis' && segments.length > 3)) {
      const path = parseResourcePath(segments);
      const { caller, signal } = context;
      await this.#resources.serve({ request, response, path, query, caller, signal });
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
    userOf(request, context.caller);
    this.#document({ segments, query }, request, response);
  }

  /** What is no resource: versions, health, discovery, OpenAPI. */
  #document(target: Target, request: IncomingMessage, response: ServerResponse): void {
    const { segments } = target;
    const [root = '', second, third] = segments;
    if (root === 'version') {
      const [, major = '1', minor = '0'] = /^v(\d+)\.(\d+)/.exec(this.version) ?? [];
      const build = { gitCommit: 'emulator', gitTreeState: 'clean', buildDate: '2026-01-01T00:00:00Z' };
      const built = { goVersion: 'none', compiler: 'none', platform: `${process.platform}/emulated` };
      sendJson(response, { major, minor, gitVersion: this.version, ...build, ...built });
    } else if (['healthz', 'livez', 'readyz'].includes(root)) {
      sendJson(response, 'ok', { contentType: 'text/plain; charset=utf-8' });
    } else if (root === 'openapi') {
      this.#openApi(target, request, response);
    } else if ((root === 'api' || root === 'apis') && second === undefined) {
      const form = negotiate(request.headers.accept);
      if (form.kind === 'discovery') {
        const contentType = `application/json;g=apidiscovery.k8s.io;v=${form.version};as=APIGroupDiscoveryList`;
        sendJson(response, aggregatedDiscovery(root, form.version), { contentType });
      } else {
        sendJson(response, root === 'api' ? apiVersions(request.headers.host ?? '') : apiGroupList());
      }
    } else {
      const found =
        root === 'api'
          ? apiResourceList('', second ?? '')
          : root !== 'apis'
            ? undefined
            : third === undefined
              ? apiGroupOf(second ?? '')
              : apiResourceList(second ?? '', third);
      if (found === undefined) throw noSuchPath();
      sendJson(response, found);
    }
  }

  #openApi({ segments, query }: Target, request: IncomingMessage, response: ServerResponse): void {
    const [, version, ...rest] = segments;
    if (version === 'v2') {
      if (request.headers.accept?.includes('proto-openapi')) {
        const body = openApiV2Protobuf(JSON.parse(openApiV2()) as Dict);
        response.writeHead(200, { 'Content-Type': OPENAPI_V2_PROTOBUF, 'Content-Length': body.length }).end(body);
      } else {
        negotiate(request.headers.accept);
        sendJson(response, openApiV2());
      }
      return;
    }
    if (version !== 'v3') throw noSuchPath();
    if (rest.length === 0) {
      sendJson(response, openApiV3Index());
      return;
    }
    const document = openApiV3(rest.join('/'));
    if (document === undefined) throw noSuchPath();
    const hash = query.get('hash') ?? '';
    if (hash !== '' && hash !== document.hash) {
      // Relative, because the way to here has a prefix that only the client knows.
      response.writeHead(301, { Location: `?hash=${document.hash}` }).end();
      return;
    }
    response.setHeader('ETag', `"${document.hash}"`);
    if (request.headers['if-none-match'] === `"${document.hash}"`) {
      response.writeHead(304).end();
      return;
    }
    const headers = { 'Cache-Control': hash === '' ? 'no-cache, private' : 'public, immutable' };
    sendJson(response, document.json, { headers });
  }
}
