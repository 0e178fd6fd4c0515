import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { CertificatePair } from '../base/certificates.js';
import { CodedError, describeError } from '../base/errors.js';
import { headerTokens, headerValue } from '../base/flat-headers.js';
import { type Logger, withFields } from '../base/log.js';
import { shortId } from '../base/short-id.js';
import { closestNames } from '../fleet/names.js';
import { assertPolicyAllows } from '../kubernetes/access-policy.js';
import { type ApiRequestKind, parseApiRequest } from '../kubernetes/api-request.js';
import { statusOfError } from '../kubernetes/status.js';
import { answerRequest, answerUpgrade, ownAnswer, writeRefusal } from '../relays/failure-answer.js';
import { relayPortForward } from '../relays/relay-port-forward.js';
import { relayRemoteCommand } from '../relays/relay-remote-command.js';
import { relayRequest } from '../relays/relay-request.js';
import { relayUpgrade, type UpgradeCall } from '../relays/relay-upgrade.js';
import { RememberedRefusals } from '../relays/remembered-refusals.js';
import type { RelayTools, ServedMembership } from '../relays/served-membership.js';
import { InheritedListeners } from './inherited-listeners.js';
import { type Listener, type ListenerHandlers, listen } from './listener.js';
import { assertLocalCaller, assertLocalCredential } from './local-access.js';
import { accessTo, type OwnApiSource, serveOwnApi } from './own-api.js';
import { assertBodilessUpgrade, assertSafeMethod, assertSafeTarget } from './request-shape.js';
import { hubRoute } from './routes.js';

/** Local bearer tokens. */
export interface LocalTokens {
  readonly hub: string;
  ofMembership(name: string): string;
}

type AskForBody = (() => void) | undefined;

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
  readonly #streams = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #refusals: RememberedRefusals;
  readonly #inherited: InheritedListeners;
  #certificate: CertificatePair;
  #draining = false;
  #hub: Listener | undefined;

  constructor(options: FrontDoorOptions) {
    this.#o = options;
    this.#refusals = new RememberedRefusals({ clock: options.tools.clock });
    this.#certificate = options.certificate;
    this.#inherited = new InheritedListeners({
      sockets: options.inherited ?? [],
      open: (socket, handlers) => this.#listenAt(socket, handlers),
    });
  }

  /** For connections from now on; those that are open keep theirs. */
  useCertificate(pair: CertificatePair): void {
    this.#certificate = pair;
    for (const listener of this.#listeners()) listener.useCertificate(pair);
    void this.#inherited.idle().then((idle) => {
      for (const listener of idle) listener.useCertificate(pair);
    });
  }

  /** Rejects with a CodedError when the hub's port cannot be had. Answers the port. */
  async openHub(port: number): Promise<number> {
    this.#hub = await this.#listen(port, {
      request: (request, response, askForBody) => this.#hubRequest(request, response, askForBody),
      upgrade: (request, socket, head) => this.#hubUpgrade(request, socket, head),
    });
    return this.#hub.port;
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
    // Whoever knocks from now on is our successor's guest.
    if (this.#hub?.inherited === true) void this.#hub.close();
    const memberships = [
      ...this.#listeners().filter((listener) => listener !== this.#hub),
      ...(await this.#inherited.idle()),
    ];
    const closed = Promise.all([...memberships.map((listener) => listener.close()), ...this.#streams]);
    const gaveUp = new Promise<'gave up'>((resolve) => {
      if (signal.aborted) resolve('gave up');
      signal.addEventListener('abort', () => resolve('gave up'), { once: true });
    });
    if ((await Promise.race([closed, gaveUp])) === 'gave up') {
      this.#stopping.abort(new Error('the daemon is stopping'));
      await Promise.race([Promise.all(this.#streams), this.#afterGrace()]);
    }
    for (const listener of memberships) listener.destroy();
    const hubClosed = this.#hub?.close();
    await Promise.race([hubClosed, gaveUp, this.#afterGrace()]);
    this.#hub?.destroy();
  }

  destroy(): void {
    this.#stopping.abort(new Error('the daemon is stopping'));
    this.#hub?.destroy();
    for (const { listener } of this.#endpoints.values()) listener?.destroy();
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
    return listen({ ...socket, address: this.#o.address, certificate: this.#certificate, handlers });
  }

  #listeners(): Listener[] {
    const all = [this.#hub, ...[...this.#endpoints.values()].map((endpoint) => endpoint.listener)];
    return all.filter((listener) => listener !== undefined);
  }

  #hubRequest(request: IncomingMessage, response: ServerResponse, askForBody: AskForBody): void {
    const id = shortId();
    try {
      assertLocalCaller(request.rawHeaders);
      const route = hubRoute(request.url ?? '');
      if (route.kind === 'membership') {
        const endpoint = this.#find(route);
        this.#membershipRequest(endpoint, route.target, { request, response, askForBody });
        return;
      }
      this.#assertHubCredential(request, route.path);
      serveOwnApi(this.#o.own, { path: route.path, request, response }).catch((error: unknown) => {
        answerRequest(response, ownAnswer(statusOfError(error), { kind: 'other' }), id);
      });
    } catch (error) {
      this.#refuse(error, id);
      answerRequest(response, ownAnswer(statusOfError(error), { kind: 'other' }), id);
    }
  }

  #hubUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const id = shortId();
    try {
      assertLocalCaller(request.rawHeaders);
      const route = hubRoute(request.url ?? '');
      if (route.kind === 'own') {
        throw new CodedError({
          code: 'upgrade-unsupported',
          message: 'connect-gateway-proxy: its own API has nothing to upgrade to',
          answer: { status: 400, reason: 'BadRequest' },
        });
      }
      this.#membershipUpgrade(this.#find(route), route.target, { request, socket, head });
    } catch (error) {
      this.#refuse(error, id);
      answerUpgrade(socket, ownAnswer(statusOfError(error), { kind: 'other' }), id);
    }
  }

  #membershipRequest(
    endpoint: Endpoint,
    target: string,
    call: { request: IncomingMessage; response: ServerResponse; askForBody: AskForBody },
  ): void {
    const { request, response, askForBody } = call;
    const id = shortId();
    const { served } = endpoint;
    this.#count(response, served, target);
    try {
      this.#assertAllowed(request, served, { target, upgrade: false });
      relayRequest(this.#o.tools, {
        id,
        served,
        target,
        log: this.#callLog(id, served),
        request,
        response,
        ...(askForBody === undefined ? {} : { askForBody }),
      }).catch((error: unknown) => {
        this.#o.log.error({ id }, `request relay: ${describeError(error)}`);
        response.destroy();
      });
    } catch (error) {
      this.#refuse(error, id);
      answerRequest(response, ownAnswer(statusOfError(error), { kind: 'other' }), id);
    }
  }

  #membershipUpgrade(
    endpoint: Endpoint,
    target: string,
    call: { request: IncomingMessage; socket: Duplex; head: Buffer },
  ): void {
    const id = shortId();
    const { served } = endpoint;
    try {
      this.#assertAllowed(call.request, served, { target, upgrade: true });
      const refusable = { membership: served.membership.name, target, headers: call.request.rawHeaders };
      const refused = this.#refusals.recall(refusable);
      if (refused !== undefined) {
        this.#o.log.debug({ id }, 'the second try of a refused upgrade: refused with the same words');
        writeRefusal(call.socket, refused);
        return;
      }
      const session = this.#o.tools.sessions.open({
        id,
        api: parseApiRequest(target),
        membership: served.membership.alias,
        identity: served.membership.identity,
        userAgent: headerValue(call.request.rawHeaders, 'user-agent') ?? '',
        bytes: () => transferred(call.socket),
      });
      const upgradeCall: UpgradeCall = {
        ...call,
        id,
        session,
        served,
        target,
        log: this.#callLog(id, served),
        signal: AbortSignal.any([this.#stopping.signal, session.signal]),
        onRefusal: (refusal) => this.#refusals.remember(refusable, refusal),
      };
      const stream = chooseRelay(upgradeCall)(this.#o.tools, upgradeCall).catch((error: unknown) => {
        this.#o.log.error({ id }, `upgrade relay: ${describeError(error)}`);
        call.socket.destroy();
      });
      this.#streams.add(stream);
      void stream.finally(() => {
        session.end('ended');
        this.#streams.delete(stream);
      });
    } catch (error) {
      this.#refuse(error, id);
      answerUpgrade(call.socket, ownAnswer(statusOfError(error), { kind: 'other' }), id);
    }
  }

  #count(response: ServerResponse, served: ServedMembership, target: string): void {
    const { onAnswered, tools } = this.#o;
    if (onAnswered === undefined) return;
    const began = tools.clock.monotonic();
    response.once('close', () =>
      onAnswered({
        membership: served.membership.alias,
        kind: parseApiRequest(target).kind,
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
    request: IncomingMessage,
    served: ServedMembership,
    { target, upgrade }: { target: string; upgrade: boolean },
  ): void {
    assertLocalCaller(request.rawHeaders);
    assertLocalCredential(request.rawHeaders, [this.#o.tokens.ofMembership(served.membership.name)]);
    assertSafeTarget(target);
    assertSafeMethod(request);
    if (upgrade) assertBodilessUpgrade(request);
    const { method = '', rawHeaders } = request;
    assertPolicyAllows(served.membership, { method, target, headers: rawHeaders, upgrade });
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

  #callLog(id: string, served: ServedMembership): Logger {
    return withFields(this.#o.log, { id, membership: served.membership.alias });
  }

  #refuse(error: unknown, id: string): void {
    this.#o.log.info({ id, code: error instanceof CodedError ? error.code : 'internal' }, 'refused at the front door');
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

/** The relay for an upgrade: by what it asks for and by the protocol it names. */
function chooseRelay(call: UpgradeCall): (tools: RelayTools, call: UpgradeCall) => Promise<void> {
  const understood = headerTokens(call.request.rawHeaders, 'upgrade').some((token) =>
    ['websocket', 'spdy/3.1'].includes(token.toLowerCase()),
  );
  const { kind } = parseApiRequest(call.target);
  if (kind === 'port-forward') return relayPortForward;
  if (understood && (kind === 'exec' || kind === 'attach')) return relayRemoteCommand;
  return relayUpgrade;
}

/** By the client's own connection, TLS and framing not counted. */
function transferred(socket: Duplex): { up: number; down: number } {
  const { bytesRead = 0, bytesWritten = 0 } = socket as Partial<{ bytesRead: number; bytesWritten: number }>;
  return { up: bytesRead, down: bytesWritten };
}
