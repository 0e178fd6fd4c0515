import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { CertificatePair } from '../base/certificates.js';
import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { shortId } from '../base/short-id.js';
import { closestNames } from '../fleet/names.js';
import { assertPolicyAllows } from '../kubernetes/access-policy.js';
import { type ApiRequestKind, parseApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import {
  answerRequest,
  answerUpgrade,
  type OwnAnswer,
  ownAnswer,
  type Refusal,
  writeRefusal,
} from '../relays/failure-answer.js';
import { relayRequest } from '../relays/relay-request.js';
import { RememberedRefusals } from '../relays/remembered-refusals.js';
import type { RelayTools, ServedMembership } from '../relays/served-membership.js';
import { lookAtHeld, relayRejoin } from '../relays/survive/relay-rejoin.js';
import { InheritedListeners } from './inherited-listeners.js';
import { type Listener, type ListenerHandlers, listen } from './listener.js';
import { assertLocalCaller, assertLocalCredential, equalInConstantTime } from './local-access.js';
import { accessTo, noHeldSession, type OwnApiSource, rejoinedSession, serveOwnApi } from './own-api.js';
import { assertBodilessUpgrade, assertSafeMethod, assertSafeTarget } from './request-shape.js';
import { hubRoute, plainRoute } from './routes.js';
import { ServerTls } from './server-tls.js';
import { callLog, type InboundUpgrade, Streams } from './streams.js';

const STOPPING = 'the daemon is stopping';

/** What callers of this machine prove themselves with. */
export interface LocalTokens {
  readonly hub: string;
  ofMembership(name: string): string;
  /** The first part of every path on the plain HTTP listener, where kubectl sends no token. */
  pathSecretOf(name: string): string;
}

type AskForBody = (() => void) | undefined;

interface InboundRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly askForBody: AskForBody;
  /** The URL has proven who asks. */
  readonly proven?: true;
}

interface Endpoint {
  served: ServedMembership;
  listener: Listener | undefined;
}

/** A request that is over, for those who count. */
export interface AnsweredRequest {
  /** The membership's alias. */
  readonly membership: string;
  readonly kind: ApiRequestKind;
  /** Absent where the client left before the answer. */
  readonly status?: number;
  readonly ms: number;
}

/** The local side of the daemon: the hub and one endpoint per membership. */
export class FrontDoor {
  readonly #o: FrontDoorOptions;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #streams: Streams;
  readonly #stopping = new AbortController();
  /** Aborts as soon as a drain begins: what never ends by itself need not be waited for. */
  readonly #leaving = new AbortController();
  readonly #refusals: RememberedRefusals;
  readonly #inherited: InheritedListeners;
  readonly #tls: ServerTls;
  #draining = false;
  #hub: Listener | undefined;
  #plain: Listener | undefined;

  constructor(options: FrontDoorOptions) {
    this.#o = options;
    // Every stream listens to these.
    setMaxListeners(0, this.#leaving.signal, this.#stopping.signal);
    this.#streams = new Streams({ tools: options.tools, log: options.log, stopping: this.#stopping.signal });
    this.#refusals = new RememberedRefusals({ clock: options.tools.clock });
    this.#tls = new ServerTls(options.certificate);
    this.#inherited = new InheritedListeners({
      sockets: options.inherited ?? [],
      open: (socket, handlers) => this.#listenAt(socket, handlers),
    });
  }

  /** For connections from now on; those that are open keep theirs. */
  useCertificate(pair: CertificatePair): void {
    this.#tls.useCertificate(pair);
  }

  /** Rejects with a CodedError when the hub's port cannot be had. Answers the port. */
  async openHub(port: number): Promise<number> {
    this.#hub = await this.#listen(port, {
      request: (request, response, askForBody) => this.#hubRequest(request, response, askForBody),
      upgrade: (request, socket, head) => this.#hubUpgrade(request, socket, head),
    });
    return this.#hub.port;
  }

  /** Serves every membership over plain HTTP as well, behind a path that is a secret. Rejects and answers as `openHub`. */
  async openPlain(port: number): Promise<number> {
    this.#plain = await listen({
      address: this.#o.address,
      port,
      handlers: {
        request: (request, response, askForBody) =>
          this.#guard(
            () => {
              const { endpoint, target } = this.#bySecret(request);
              this.#membershipRequest(endpoint, target, { request, response, askForBody, proven: true });
            },
            (answer, id) => answerRequest(response, answer, id),
          ),
        upgrade: (request, socket, head) =>
          this.#guard(
            () => {
              const { endpoint, target } = this.#bySecret(request);
              this.#membershipUpgrade(endpoint, target, { request, socket, head, proven: true });
            },
            (answer, id) => answerUpgrade(socket, answer, id),
          ),
      },
    });
    return this.#plain.port;
  }

  /** Serves a membership on a port of its own and on the hub. Rejects as `listen` does; the hub serves it all the same. */
  async open(served: ServedMembership, port: number): Promise<number> {
    const endpoint: Endpoint = { served, listener: undefined };
    this.#endpoints.set(served.membership.name, endpoint);
    endpoint.listener = await this.#listen(port, {
      request: (request, response, askForBody) =>
        this.#membershipRequest(endpoint, request.url ?? '', { request, response, askForBody }),
      upgrade: (request, socket, head) =>
        this.#membershipUpgrade(endpoint, request.url ?? '', { request, socket, head }),
    });
    return endpoint.listener.port;
  }

  /** For inherited sockets that neither the hub nor a membership has taken. */
  async openRest(): Promise<void> {
    await this.#inherited.openRest();
  }

  /** Calls that begin from now on use the new endpoint and identity; those under way are left alone. */
  update(served: ServedMembership): void {
    const endpoint = this.#endpoints.get(served.membership.name);
    if (endpoint !== undefined) endpoint.served = served;
  }

  /** A membership that left the fleet: no new calls; what is under way ends by itself or with the gateway's answer. */
  close(name: string): void {
    const endpoint = this.#endpoints.get(name);
    this.#endpoints.delete(name);
    endpoint?.listener?.retire().catch((error: unknown) => {
      this.#o.log.warn({ membership: name }, `closing the endpoint: ${describeError(error)}`);
    });
  }

  portOf(name: string): number | undefined {
    return this.#endpoints.get(name)?.listener?.port;
  }

  /**
   * Takes nothing new and waits for what is under way, until `signal` aborts; then ends it. The hub answers probes, and
   * nothing else, until the end.
   */
  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    this.#leaving.abort(new Error(STOPPING));
    // Whoever knocks from now on is our successor's guest.
    if (this.#hub?.inherited === true) void this.#hub.close();
    const memberships = [
      ...this.#listeners().filter((listener) => listener !== this.#hub),
      ...(await this.#inherited.idle()),
    ];
    const closed = Promise.all([...memberships.map((listener) => listener.close()), this.#streams.over()]);
    const gaveUp = new Promise<'gave up'>((resolve) => {
      if (signal.aborted) resolve('gave up');
      signal.addEventListener('abort', () => resolve('gave up'), { once: true });
    });
    if ((await Promise.race([closed, gaveUp])) === 'gave up') {
      this.#stopping.abort(new Error(STOPPING));
      await Promise.race([this.#streams.over(), this.#afterGrace()]);
    }
    for (const listener of memberships) listener.destroy();
    const hubClosed = this.#hub?.close();
    await Promise.race([hubClosed, gaveUp, this.#afterGrace()]);
    this.#hub?.destroy();
  }

  destroy(): void {
    this.#stopping.abort(new Error(STOPPING));
    for (const listener of this.#listeners()) listener.destroy();
    void this.#inherited.idle().then((idle) => {
      for (const listener of idle) listener.destroy();
    });
  }

  /** Time for the streams' last words (a Status, a close frame) to leave. */
  #afterGrace(): Promise<void> {
    return new Promise((resolve) => this.#o.tools.clock.after(1000, resolve));
  }

  async #listen(port: number, handlers: ListenerHandlers): Promise<Listener> {
    return (await this.#inherited.listen(port, handlers)) ?? (await this.#listenAt({ port }, handlers));
  }

  #listenAt(socket: { port: number; fd?: number }, handlers: ListenerHandlers): Promise<Listener> {
    return listen({ ...socket, address: this.#o.address, tls: this.#tls, handlers });
  }

  #listeners(): Listener[] {
    const all = [this.#hub, this.#plain, ...[...this.#endpoints.values()].map((endpoint) => endpoint.listener)];
    return all.filter((listener) => listener !== undefined);
  }

  #hubRequest(request: IncomingMessage, response: ServerResponse, askForBody: AskForBody): void {
    const refuse = (answer: OwnAnswer, id: string): void => answerRequest(response, answer, id);
    this.#guard(() => {
      assertLocalCaller(request.rawHeaders);
      const route = hubRoute(request.url ?? '');
      if (route.kind === 'membership') {
        this.#membershipRequest(this.#find(route), route.target, { request, response, askForBody });
        return;
      }
      this.#assertHubCredential(request, route.path);
      serveOwnApi(this.#o.own, { path: route.path, request, response }).catch((error: unknown) => {
        refuse(ownAnswer(statusOfError(error), { kind: 'other' }), shortId());
      });
    }, refuse);
  }

  #hubUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#guard(
      () => {
        assertLocalCaller(request.rawHeaders);
        const route = hubRoute(request.url ?? '');
        if (route.kind === 'own') {
          this.#rejoin(route.path, { request, socket, head });
          return;
        }
        this.#membershipUpgrade(this.#find(route), route.target, { request, socket, head });
      },
      (answer, id) => answerUpgrade(socket, answer, id),
    );
  }

  /** Does it, or says why not. */
  #guard(act: (id: string) => void, refuse: (answer: OwnAnswer, id: string) => void): void {
    const id = shortId();
    try {
      act(id);
    } catch (error) {
      const code = error instanceof CodedError ? error.code : 'internal';
      this.#o.log.info({ id, code }, 'refused at the front door');
      refuse(ownAnswer(statusOfError(error), { kind: 'other' }), id);
    }
  }

  #membershipRequest({ served }: Endpoint, target: string, call: InboundRequest): void {
    const { request, response, askForBody } = call;
    const api = parseApiRequest(target);
    this.#count(response, served, api.kind);
    this.#guard(
      (id) => {
        this.#assertAllowed(call, served, { target, upgrade: false });
        relayRequest(this.#o.tools, {
          id,
          served,
          target,
          api,
          log: callLog(this.#o.log, id, served),
          request,
          response,
          leaving: this.#leaving.signal,
          askForBody,
        }).catch((error: unknown) => {
          this.#o.log.error({ id }, `request relay: ${describeError(error)}`);
          response.destroy();
        });
      },
      (answer, id) => answerRequest(response, answer, id),
    );
  }

  #membershipUpgrade({ served }: Endpoint, target: string, call: InboundUpgrade): void {
    const { request, socket } = call;
    this.#guard(
      (id) => {
        this.#assertAllowed(call, served, { target, upgrade: true });
        const refusable = { membership: served.membership.name, target, headers: request.rawHeaders };
        const refused = this.#refusals.recall(refusable);
        if (refused !== undefined) {
          this.#o.log.debug({ id }, 'the second try of a refused upgrade: refused with the same words');
          writeRefusal(socket, refused);
          return;
        }
        const onRefusal = (refusal: Refusal): void => this.#refusals.remember(refusable, refusal);
        this.#streams.begin({ id, served, target, onRefusal }, call);
      },
      (answer, id) => answerUpgrade(socket, answer, id),
    );
  }

  /** A command that waits in its container, for whoever has the hub's own token. */
  #rejoin(path: string, call: InboundUpgrade): void {
    const wanted = rejoinedSession(path);
    this.#assertHubCredential(call.request, path);
    const { tools } = this.#o;
    const record = tools.held.find(wanted);
    const served = record === undefined ? undefined : this.#endpoints.get(record.membership)?.served;
    if (record === undefined || served === undefined) throw noHeldSession(wanted);
    const { id, target } = record;
    const headers = call.request.rawHeaders;
    assertPolicyAllows(served.membership, { method: 'GET', target, headers, upgrade: true });
    this.#streams.begin({ id, served, target }, call, (_tools, its) => relayRejoin(tools, its, record));
  }

  /** Asks the containers of commands that wait there whether they still do. */
  lookAtHeld(): Promise<void> {
    return lookAtHeld(this.#o.tools, (name) => this.#endpoints.get(name)?.served);
  }

  #count(response: ServerResponse, served: ServedMembership, kind: ApiRequestKind): void {
    const { onAnswered, tools } = this.#o;
    if (onAnswered === undefined) return;
    const began = tools.clock.monotonic();
    response.on('close', () =>
      onAnswered({
        membership: served.membership.alias,
        kind,
        ...(response.headersSent ? { status: response.statusCode } : {}),
        ms: tools.clock.monotonic() - began,
      }),
    );
  }

  /** A membership's token, which a person may hand on, reads the daemon's state; acting on it takes the hub's. */
  #assertHubCredential(request: IncomingMessage, path: string): void {
    const access = accessTo(path);
    if (access === 'open') return;
    assertLocalCredential(request.rawHeaders, access === 'hub' ? [this.#o.tokens.hub] : this.#allTokens());
  }

  #assertAllowed(
    { request, proven }: Pick<InboundRequest, 'request' | 'proven'>,
    { membership }: ServedMembership,
    { target, upgrade }: { target: string; upgrade: boolean },
  ): void {
    assertLocalCaller(request.rawHeaders);
    if (proven === undefined) {
      assertLocalCredential(request.rawHeaders, [this.#o.tokens.ofMembership(membership.name)]);
    }
    assertSafeTarget(target);
    assertSafeMethod(request);
    if (upgrade) assertBodilessUpgrade(request);
    const { method = '', rawHeaders } = request;
    assertPolicyAllows(membership, { method, target, headers: rawHeaders, upgrade });
  }

  #bySecret(request: IncomingMessage): { endpoint: Endpoint; target: string } {
    assertLocalCaller(request.rawHeaders);
    const { secret, target } = plainRoute(request.url ?? '');
    // As with tokens, every one is compared.
    const [endpoint] = [...this.#endpoints].flatMap(([name, candidate]) =>
      equalInConstantTime(secret, this.#o.tokens.pathSecretOf(name)) ? [candidate] : [],
    );
    if (endpoint !== undefined) return { endpoint, target };
    throw new CodedError({
      code: 'path-secret-wrong',
      message:
        'connect-gateway-proxy: over plain HTTP the path begins with the secret of a membership; connect-gateway-proxy memberships --http shows the URLs',
      answer: { status: 401, reason: 'Unauthorized' },
    });
  }

  #find(route: { project: string; location: string; id: string }): Endpoint {
    if (this.#draining && this.#hub?.inherited !== true) {
      throw new CodedError({
        code: 'draining',
        message: 'connect-gateway-proxy: the daemon is stopping; try again when it is back',
        retry: 'later',
        answer: { status: 503, reason: 'ServiceUnavailable' },
      });
    }
    const endpoints = [...this.#endpoints.values()];
    const found = endpoints.find(({ served: { membership } }) => {
      const project = membership.project === route.project || membership.projectId === route.project;
      return project && membership.location === route.location && membership.id === route.id;
    });
    if (found !== undefined) return found;
    const names = endpoints.map(({ served }) => served.membership.name);
    const wanted = `projects/${route.project}/locations/${route.location}/memberships/${route.id}`;
    const close = closestNames(wanted, names);
    const hint = close.length === 0 ? 'none is served' : `did you mean ${close.join(' or ')}?`;
    throw new CodedError({
      code: 'membership-unknown',
      message: `connect-gateway-proxy: there is no membership ${wanted}: ${hint} (connect-gateway-proxy memberships lists all)`,
      answer: { status: 404, reason: 'NotFound' },
    });
  }

  #allTokens(): string[] {
    return [this.#o.tokens.hub, ...[...this.#endpoints.keys()].map((name) => this.#o.tokens.ofMembership(name))];
  }
}

export interface FrontDoorOptions {
  readonly address: string;
  /** Listening sockets of the service manager. */
  readonly inherited?: readonly { readonly port: number; readonly fd: number }[];
  readonly certificate: CertificatePair;
  readonly tokens: LocalTokens;
  readonly tools: RelayTools;
  readonly own: OwnApiSource;
  /** Called for every request of a membership, refused ones too, when its answer is over. Not for upgrades. */
  readonly onAnswered?: (request: AnsweredRequest) => void;
  readonly log: Logger;
}
