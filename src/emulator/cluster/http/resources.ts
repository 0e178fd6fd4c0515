import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../../base/clock.js';
import { isTrue } from '../../../kubernetes/query-boolean.js';
import type { Caller } from '../../cluster-backend.js';
import type { PodRuntime } from '../../pods/pod-runtime.js';
import { ApiError, methodNotAllowed } from '../api-error.js';
import type { KubeObject } from '../json.js';
import type { Registry } from '../registry.js';
import { apiVersionOf } from '../resource-table.js';
import { assertMayDo, review, type User, userOf, verbOf } from './access.js';
import type { ResourcePath } from './api-path.js';
import { type Form, negotiate, readObject, sendJson } from './exchange.js';
import { listObjects, matcherOf } from './list.js';
import { isStream, serveLog } from './pod-streams.js';
import { presentList, presentObject } from './present.js';
import { storedType } from './stored-forms.js';
import { tokenRequest } from './token-request.js';
import { serveWatch } from './watch.js';
import type { WriteCall, Written } from './write.js';
import { createObject, deleteObject, deleteOptions, evict, patchObject, replaceObject, serveScale } from './write.js';

export interface ResourceCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

interface Call extends ResourceCall {
  readonly user: User;
  readonly form: Form;
  /** What a HEAD asks is answered as a GET. */
  readonly method: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The part of the API that is about objects. Throws ApiErrors for what is refused. */
export class ResourceApi {
  readonly #registry: Registry;
  readonly #runtime: PodRuntime;
  readonly #clock: Clock;
  readonly #watches = new Set<() => void>();

  constructor(options: { registry: Registry; runtime: PodRuntime; clock: Clock }) {
    this.#registry = options.registry;
    this.#runtime = options.runtime;
    this.#clock = options.clock;
  }

  /** Ends the open watches cleanly: their clients come again. */
  close(): void {
    for (const end of [...this.#watches]) end();
  }

  async serve(given: ResourceCall): Promise<void> {
    const { request, path, query } = given;
    const { type, name, namespace, subresource } = path;
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
    // The real server, too, takes `?watch` with a name as a plain get; kubectl watches one object by a field selector.
    const watch = method === 'GET' && (path.watch || (name === undefined && isTrue(query.get('watch'))));
    const verb = verbOf(method, { name, watch, stream: isStream(subresource) });
    const user = userOf(request, given.caller);
    assertMayDo(user, { verb, group: type.group, resource: type.plural, subresource, namespace, name });
    assertServed(path, verb);
    // A log is text, whatever is accepted.
    const form: Form = subresource === 'log' ? { kind: 'object' } : negotiate(request.headers.accept);
    const call: Call = { ...given, user, form, method, now: this.#clock.now() };
    if (watch) this.#watch(call);
    else if (type.kind.endsWith('Review')) await this.#review(call);
    else if (subresource === undefined || !(await this.#subresource(call))) await this.#object(call);
  }

  #watch(call: Call): void {
    const { path, query } = call;
    const { type, name, namespace } = path;
    const selected = matcherOf(type, query);
    const matches = (object: KubeObject): boolean => (name ?? object.metadata.name) === object.metadata.name;
    serveWatch({
      ...call,
      store: this.#registry.store,
      type,
      namespace,
      matches: (object) => matches(object) && selected(object),
      clock: this.#clock,
      open: this.#watches,
    });
  }

  /** Is answered, never stored. */
  async #review({ request, response, path, user }: Call): Promise<void> {
    const body = await readObject(request);
    const answer = review(path.type.kind, body, user);
    sendJson(response, { ...answer, apiVersion: apiVersionOf(path.type) }, { status: 201 });
  }

  async #object(call: Call): Promise<void> {
    const { path } = call;
    const write = this.#writeCall(call);
    switch (call.method) {
      case 'GET':
        this.#read(call);
        return;
      case 'POST':
        this.#sendWritten(call, await createObject(write), write.warnings);
        return;
      case 'PUT':
        this.#sendWritten(call, await replaceObject(write), write.warnings);
        return;
      case 'PATCH':
        this.#sendWritten(call, await patchObject(write), write.warnings);
        return;
      default:
        if (path.name === undefined) await this.#deleteAll(call, write);
        else this.#sendDeleted(call, await deleteObject(write));
    }
  }

  #read(call: Call): void {
    const { path, response, query } = call;
    const { type, name, namespace = '' } = path;
    if (name !== undefined) {
      sendJson(response, presentObject(type, this.#registry.find(type, namespace, name), call));
      return;
    }
    const { objects, metadata } = listObjects(this.#registry.store, path, query);
    sendJson(response, presentList(type, objects, metadata, call));
  }

  /** True once it is answered; `status`, `finalize` and `ephemeralcontainers` are ordinary reads and writes. */
  async #subresource(call: Call): Promise<boolean> {
    const { path, response } = call;
    const { type, namespace = '', name = '' } = path;
    const write = this.#writeCall(call);
    switch (path.subresource) {
      case 'log':
        serveLog(this.#runtime, this.#registry.find(type, namespace, name), call);
        return true;
      case 'scale':
        sendJson(response, await serveScale(write), { warnings: write.warnings });
        return true;
      case 'eviction':
        await evict(write);
        sendJson(response, { ...SUCCESS, code: 201 }, { status: 201 });
        return true;
      case 'exec':
      case 'attach':
      case 'portforward':
        this.#registry.find(type, namespace, name);
        throw new ApiError(400, 'BadRequest', 'Upgrade request required');
      case 'token': {
        const account = this.#registry.find(type, namespace, name);
        const asked = await readObject(call.request);
        sendJson(response, tokenRequest(account, asked, call.now), { status: 201 });
        return true;
      }
      default:
        return false;
    }
  }

  #writeCall({ path, query, request, now }: Call): WriteCall {
    return { registry: this.#registry, path, query, request, now, warnings: [] };
  }

  #sendWritten(call: Call, { object, created }: Written, warnings: readonly string[]): void {
    sendJson(call.response, presentObject(call.path.type, object, call), { status: created ? 201 : 200, warnings });
  }

  #sendDeleted(call: Call, { object, gone }: { object: KubeObject; gone: boolean }): void {
    const { path, response } = call;
    const { id, group, plural } = path.type;
    if (!gone || RETURNED.includes(id)) {
      sendJson(response, presentObject(path.type, object, call));
      return;
    }
    const { name, uid } = object.metadata;
    sendJson(response, { ...SUCCESS, details: { name, ...(group === '' ? {} : { group }), kind: plural, uid } });
  }

  async #deleteAll(call: Call, write: WriteCall): Promise<void> {
    const { path, query, response } = call;
    const options = await deleteOptions(write);
    const { objects, metadata } = listObjects(this.#registry.store, path, query);
    for (const object of objects) this.#registry.delete(storedType(path.type), object, options);
    sendJson(response, presentList(path.type, objects, metadata, call));
  }
}

const SUCCESS = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' } as const;
/** Of these the deletion answers with the last state, even when nothing of them remains. */
const RETURNED = ['pods', 'serviceaccounts', 'services', 'persistentvolumeclaims', 'persistentvolumes'];

/** Throws the 405 for a verb that discovery does not tell of, or that is missing what it is about. */
function assertServed(path: ResourcePath, verb: string): void {
  const { type, name, namespace, subresource } = path;
  const verbs =
    subresource === undefined ? type.verbs : type.subresources.find((sub) => sub.name === subresource)?.verbs;
  const whole = name === undefined;
  const needsName = verb === 'update' || verb === 'patch';
  const needsNamespace = verb === 'create' || verb === 'deletecollection';
  if (
    verbs?.includes(verb) !== true ||
    (whole && needsName) ||
    (!whole && verb === 'create' && subresource === undefined) ||
    (type.namespaced && namespace === undefined && needsNamespace)
  ) {
    throw methodNotAllowed();
  }
}
