import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import type { CallContext, ClusterBackend } from '../cluster-backend.js';
import type { PodRuntime } from '../pods/pod-runtime.js';
import { ApiError, methodNotAllowed, noSuchPath } from './api-error.js';
import { startControllers } from './controllers/controllers.js';
import { aggregatedDiscovery, apiGroupList, apiGroupOf, apiResourceList, apiVersions } from './discovery.js';
import { assertMayDo, review, type User, userOf, verbOf } from './http/access.js';
import { parseResourcePath, type ResourcePath } from './http/api-path.js';
import { type Form, negotiate, readObject, sendError, sendJson } from './http/exchange.js';
import { listObjects, matcherOf } from './http/list.js';
import { refuseUpgrade, type StreamSubresource, serveLog, serveStream } from './http/pod-streams.js';
import { presentList, presentObject } from './http/present.js';
import { isTrue, serveWatch } from './http/watch.js';
import {
  createObject,
  deleteObject,
  deleteOptions,
  patchObject,
  replaceObject,
  serveScale,
  type WriteCall,
  type Written,
} from './http/write.js';
import type { Dict, KubeObject } from './json.js';
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

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
  readonly user: User;
  readonly form: Form;
  readonly signal: AbortSignal;
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
    this.#controllers = startControllers({ registry: this.#registry, store: this.store, runtime, clock, log });
    if (options.seed === true) seedCluster({ registry: this.#registry, now: clock.now(), name, version });
  }

  compact(): void {
    this.store.compact();
  }

  async close(): Promise<void> {
    this.#controllers.close();
    await this.#o.runtime.close();
  }

  handle(request: IncomingMessage, response: ServerResponse, context: CallContext): void {
    this.#answer(request, response, context).catch((error: unknown) => {
      if (!(error instanceof ApiError)) this.#o.log.warn({}, `built-in cluster: ${String(error)}`);
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
      const form = negotiate(request.headers.accept);
      const user = userOf(request, context.caller);
      await this.#resource({ request, response, path, query, user, form, signal: context.signal });
      return;
    }
    if (request.method !== 'GET') throw methodNotAllowed();
    this.#document(segments, request, response);
  }

  /** What is no resource: versions, health, discovery, OpenAPI. */
  #document(segments: readonly string[], request: IncomingMessage, response: ServerResponse): void {
    const [root = '', second, third] = segments;
    if (root === 'version') {
      const [, major = '1', minor = '0'] = /^v(\d+)\.(\d+)/.exec(this.version) ?? [];
      const build = { gitCommit: 'emulator', gitTreeState: 'clean', buildDate: '2026-01-01T00:00:00Z' };
      const built = { goVersion: 'none', compiler: 'none', platform: `${process.platform}/emulated` };
      sendJson(response, { major, minor, gitVersion: this.version, ...build, ...built });
    } else if (['healthz', 'livez', 'readyz'].includes(root)) {
      sendJson(response, 'ok', { contentType: 'text/plain; charset=utf-8' });
    } else if (root === 'openapi') {
      this.#openApi(segments, request, response);
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

  #openApi(segments: readonly string[], request: IncomingMessage, response: ServerResponse): void {
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
    response.setHeader('ETag', `"${document.hash}"`);
    if (request.headers['if-none-match'] === `"${document.hash}"`) {
      response.writeHead(304).end();
      return;
    }
    sendJson(response, document.json);
  }

  async #resource(call: Call): Promise<void> {
    const { request, response, path, query, user } = call;
    const { type, name, namespace, subresource } = path;
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
    const watch = method === 'GET' && (path.watch || isTrue(query.get('watch')));
    const verb = verbOf(method, { name, watch, stream: isStream(subresource) });
    assertMayDo(user, { verb, group: type.group, resource: type.plural, subresource, namespace, name });
    const reviewed = method === 'POST' ? review(type.kind, {}, user) : undefined;
    if (reviewed !== undefined) {
      const body = await readObject(request);
      sendJson(response, { apiVersion: body['apiVersion'], ...review(type.kind, body, user) }, { status: 201 });
      return;
    }
    const now = this.#o.clock.now();
    if (watch) {
      const matches = nameMatcher(path, matcherOf(type, query));
      const { clock } = this.#o;
      serveWatch({ ...call, store: this.store, type, namespace, matches, clock, now });
      return;
    }
    if (subresource !== undefined && (await this.#subresource(call, now))) return;
    const write: WriteCall = { registry: this.#registry, path, query, request, now, warnings: [] };
    switch (method) {
      case 'GET':
        this.#read(call, now);
        return;
      case 'POST':
        if (name !== undefined) throw methodNotAllowed();
        this.#sendWritten(call, await createObject(write), write.warnings);
        return;
      case 'PUT':
        this.#sendWritten(call, await replaceObject(write), write.warnings);
        return;
      case 'PATCH':
        this.#sendWritten(call, await patchObject(write), write.warnings);
        return;
      case 'DELETE':
        if (name === undefined) await this.#deleteAll(call, write);
        else this.#sendDeleted(call, await deleteObject(write));
        return;
      default:
        throw methodNotAllowed();
    }
  }

  #read(call: Call, now: number): void {
    const { path, response, form, query } = call;
    const { type, name } = path;
    if (name === undefined) {
      const { objects, metadata } = listObjects(this.store, path, query);
      sendJson(response, presentList(type, objects, metadata, { form, query, now }));
    } else {
      const object = this.#registry.find(type, path.namespace ?? '', name);
      sendJson(response, presentObject(type, object, { form, query, now }));
    }
  }

  /** True once it is answered; `status` and `finalize` are ordinary reads and writes. */
  async #subresource(call: Call, now: number): Promise<boolean> {
    const { path, request, response, query, signal } = call;
    const { type, namespace = '', name = '' } = path;
    const write: WriteCall = { registry: this.#registry, path, query, request, now, warnings: [] };
    switch (path.subresource) {
      case 'log':
        serveLog(this.#o.runtime, this.#registry.find(type, namespace, name), { query, response, signal });
        return true;
      case 'scale':
        sendJson(response, await serveScale(write));
        return true;
      case 'eviction': {
        const options = await deleteOptions(write);
        this.#registry.delete(type, this.#registry.find(type, namespace, name), options);
        sendJson(
          response,
          { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 },
          { status: 201 },
        );
        return true;
      }
      case 'exec':
      case 'attach':
      case 'portforward':
        throw new ApiError(400, 'BadRequest', 'Upgrade request required');
      case 'token':
      case 'ephemeralcontainers':
        throw new ApiError(501, 'NotImplemented', `the built-in cluster of the emulator has no ${path.subresource}`);
      default:
        return false;
    }
  }

  #sendWritten(call: Call, written: Written, warnings: readonly string[]): void {
    const { path, form, query, response } = call;
    const text = presentObject(path.type, written.object, { form, query, now: this.#o.clock.now() });
    sendJson(response, text, { status: written.created ? 201 : 200, warnings });
  }

  #sendDeleted(call: Call, { object, gone }: { object: KubeObject; gone: boolean }): void {
    const { path, form, query, response } = call;
    if (!gone || path.type.id === 'pods') {
      sendJson(response, presentObject(path.type, object, { form, query, now: this.#o.clock.now() }));
      return;
    }
    const { name, uid } = object.metadata;
    const details = {
      name,
      ...(path.type.group === '' ? {} : { group: path.type.group }),
      kind: path.type.plural,
      uid,
    };
    sendJson(response, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details });
  }

  async #deleteAll(call: Call, write: WriteCall): Promise<void> {
    const { path, query, response, form } = call;
    const options = await deleteOptions(write);
    const { objects, metadata } = listObjects(this.store, path, query);
    for (const object of objects) this.#registry.delete(path.type, object, options);
    sendJson(response, presentList(path.type, objects, metadata, { form, query, now: this.#o.clock.now() }));
  }
}

function isStream(subresource: string | undefined): subresource is StreamSubresource {
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
}

function splitTarget(target: string): { segments: string[]; query: URLSearchParams } {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
  return {
    segments: path
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent),
    query,
  };
}

/** A watch of one object by its path. */
function nameMatcher(path: ResourcePath, matches: (object: KubeObject) => boolean): (object: KubeObject) => boolean {
  const { name } = path;
  return name === undefined ? matches : (object) => object.metadata.name === name && matches(object);
}
