import { CodedError, describeError } from '../../base/errors.js';
import type { FlatHeaders } from '../../base/flat-headers.js';
import type { Logger } from '../../base/log.js';
import { sleepUntilWake } from '../../base/wake.js';
import { Redial } from '../../gateway/redial.js';
import type { ApiRequest } from '../../kubernetes/api-request.js';
import { askCluster } from '../ask-cluster.js';
import { readRefusal } from '../read-refusal.js';
import type { Dialled } from '../remote-command-upstream.js';
import { dialRemoteCommand } from '../remote-command-upstream.js';
import type { RelayTools, ServedMembership } from '../served-membership.js';
import type { Session } from '../sessions.js';
import { PodTunnel, type TunnelPair } from './pod-tunnel.js';

export const TUNNEL_PROTOCOL = 'SPDY/3.1+portforward.k8s.io';
/** How long a new connection waits for a tunnel that is being dialled. */
export const OPEN_WAIT_MS = 30_000;
/** Each may hold one of the fleet's few streams; beyond it a full or stalled tunnel is not replaced any more. */
const MAX_DRAINING = 3;
/** What is refused for good may be refused for a moment only: an API server that has just started knows no roles yet. */
const FINAL_REFUSALS = 3;

/** One client of a tunnel. */
export interface TunnelClient {
  readonly served: ServedMembership;
  /** Raw, below the membership; the same for all that share. */
  readonly target: string;
  readonly headers: FlatHeaders;
  readonly session: Session;
  readonly log: Logger;
}

/** A client's share of a tunnel. */
export interface TunnelLease {
  /** Opens a connection now, or waits for the tunnel at most `OPEN_WAIT_MS`. Rejects with a CodedError or the signal's reason. */
  open(port: number, signal: AbortSignal): Promise<TunnelPair>;
  /** Called once when there will be no tunnel any more, with the reason. */
  onGone(listener: (reason: string) => void): void;
  release(): void;
}

interface Member extends TunnelClient {
  onGone: (reason: string) => void;
}

/** The tunnel to one pod as one identity: replaced before the gateway's cutoff, and after a cut. */
export class SharedTunnel {
  readonly #tools: RelayTools;
  readonly #api: ApiRequest;
  readonly #onOver: () => void;
  readonly #redial: Redial;
  readonly #members = new Set<Member>();
  readonly #draining = new Set<PodTunnel>();
  readonly #waiting = new Set<() => void>();
  readonly #leave = new AbortController();
  #current: PodTunnel | undefined;
  #cancelRotation: () => void = () => {};
  #dialling = false;
  #finalRefusals = 0;
  /** Since the last cut, until another tunnel is open. */
  #gap: { readonly since: number; readonly ageMs: number } | undefined;
  #over = false;

  constructor(options: { tools: RelayTools; api: ApiRequest; onOver: () => void }) {
    this.#tools = options.tools;
    this.#api = options.api;
    this.#onOver = options.onOver;
    this.#redial = new Redial({ random: options.tools.random });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Dials for the first client, which is told of a refusal in upstream's own words. Rejects as the dialling does. */
  async start(client: TunnelClient, signal: AbortSignal): Promise<Dialled> {
    let dialled: Dialled;
    try {
      dialled = await dialRemoteCommand(this.#tools, this.#asked(client, false), [TUNNEL_PROTOCOL], signal);
    } catch (error) {
      this.#end('could not be opened');
      throw error;
    }
    if (dialled.kind === 'open') this.#adopt(dialled, client);
    else this.#end('was refused');
    return dialled;
  }

  /** A client more; it may be told of the end before it has asked for anything. */
  join(client: TunnelClient): TunnelLease {
    const member: Member = { ...client, onGone: () => {} };
    this.#members.add(member);
    client.session.onTunnel({
      ageMs: () => this.#current?.ageMs ?? 0,
      clients: () => this.#members.size,
    });
    return {
      open: (port, signal) => this.#open(member, port, signal),
      onGone: (listener) => {
        member.onGone = listener;
      },
      release: () => {
        this.#members.delete(member);
        if (this.#members.size === 0) this.#end('nobody uses it');
      },
    };
  }

  /** Resolves when there is a tunnel, or will be none. Rejects after `OPEN_WAIT_MS`, or with the signal's reason. */
  async ready(signal: AbortSignal): Promise<void> {
    if (this.#current === undefined && !this.#over) await this.#nextTunnel(OPEN_WAIT_MS, signal);
  }

  async #open(member: Member, port: number, signal: AbortSignal): Promise<TunnelPair> {
    const { clock } = this.#tools;
    const deadline = clock.monotonic() + OPEN_WAIT_MS;
    while (!this.#over) {
      if (this.#current?.fit) return this.#current.open(member, port);
      // One that is there and takes no more is being replaced, or there are too many already.
      if (this.#current !== undefined && !this.#dialling) break;
      await this.#nextTunnel(deadline - clock.monotonic(), signal);
    }
    throw noTunnel();
  }

  #nextTunnel(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const settled = (): void => {
        cancel();
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', onAbort);
      };
      const wake = (): void => {
        settled();
        resolve();
      };
      const onAbort = (): void => {
        settled();
        reject(signal.reason);
      };
      const cancel = this.#tools.clock.after(Math.max(0, ms), () => {
        settled();
        reject(noTunnel());
      });
      this.#waiting.add(wake);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #adopt(dialled: Extract<Dialled, { kind: 'open' }>, { log, served }: TunnelClient): void {
    const { clock, wakes } = this.#tools;
    const old = this.#current;
    const tunnel: PodTunnel = new PodTunnel({
      upstream: dialled.upstream,
      clock,
      wakes,
      log,
      onUnfit: (why) => {
        if (tunnel === this.#current) this.#replaceUnfit(why);
      },
      onEnd: ({ cut, detail }) => this.#tunnelEnded(tunnel, cut, detail),
    });
    this.#current = tunnel;
    this.#finalRefusals = 0;
    this.#cancelRotation();
    this.#scheduleRotation(served);
    if (old !== undefined) {
      this.#draining.add(old);
      old.retire();
    }
    this.#wake();
  }

  #scheduleRotation(served: ServedMembership): void {
    const afterMs = this.#tools.rotateAfterMs(served.membership);
    this.#cancelRotation = this.#tools.clock.after(afterMs, () => this.#rotate('the gateway will cut it soon'));
  }

  #rotate(why: string): void {
    if (this.#over || this.#dialling) return;
    this.#redial.succeeded();
    this.#client()?.log.debug({ why }, 'opening another tunnel to the pod');
    void this.#replace('rotation');
  }

  #replaceUnfit(why: string): void {
    if (this.#draining.size < MAX_DRAINING) this.#rotate(why);
  }

  #tunnelEnded(tunnel: PodTunnel, cut: boolean, detail: string): void {
    this.#draining.delete(tunnel);
    if (this.#over) return;
    const served = this.#client()?.served;
    if (tunnel !== this.#current) {
      // The rest of it was still in use when the gateway's time was up.
      if (cut && served !== undefined) this.#tools.onCut(served.membership, tunnel.ageMs);
      if (this.#current?.fit === false) this.#replaceUnfit('there is room for another one');
      return;
    }
    this.#current = undefined;
    this.#cancelRotation();
    // One that is cut as soon as it is open must not be dialled as fast as it can be.
    if (tunnel.wasWell) this.#redial.succeeded();
    this.#gap = { since: this.#tools.clock.monotonic(), ageMs: tunnel.ageMs };
    this.#client()?.log.info({ detail, ageMs: Math.round(tunnel.ageMs) }, 'the tunnel to the pod was cut');
    if (!this.#dialling) void this.#replace('cut');
  }

  async #replace(reason: 'cut' | 'rotation'): Promise<void> {
    this.#dialling = true;
    try {
      let pause = reason === 'cut';
      while (!this.#over) {
        if (pause) await this.#pause();
        pause = true;
        if (await this.#attempt()) return;
      }
    } catch (error) {
      if (!this.#leave.signal.aborted) this.#fail(describeError(error));
    } finally {
      this.#dialling = false;
    }
  }

  async #pause(): Promise<void> {
    const { clock, wakes } = this.#tools;
    await sleepUntilWake({ clock, wakes, ms: this.#redial.nextPauseMs(), signal: this.#leave.signal });
  }

  /** Whether there is nothing more to do. */
  async #attempt(): Promise<boolean> {
    const client = this.#client();
    if (client === undefined) return true;
    let trouble: string;
    try {
      const dialled = await dialRemoteCommand(
        this.#tools,
        this.#asked(client, true),
        [TUNNEL_PROTOCOL],
        this.#leave.signal,
      );
      if (dialled.kind === 'open') {
        if (this.#over) dialled.upstream.terminate();
        else this.#goOn(dialled, client);
        return true;
      }
      const { clock } = this.#tools;
      const refusal = await readRefusal({ clock, served: client.served, api: this.#api }, dialled.response);
      trouble = refusal.message;
      // While the old tunnel lives, it is the one to say that the pod is gone.
      const verdict = this.#current === undefined ? await this.#judge(client, refusal) : undefined;
      if (verdict !== undefined) {
        this.#fail(verdict);
        return true;
      }
    } catch (error) {
      if (this.#over) return true;
      trouble = describeError(error);
    }
    if (this.#redial.attempts <= 1) client.log.info({}, `the tunnel to the pod cannot be opened yet: ${trouble}`);
    return false;
  }

  #goOn(dialled: Extract<Dialled, { kind: 'open' }>, client: Member): void {
    const gap = this.#gap;
    this.#gap = undefined;
    this.#adopt(dialled, client);
    const gapMs = gap === undefined ? 0 : this.#tools.clock.monotonic() - gap.since;
    // Only now is it known that the pod was not the reason.
    if (gap !== undefined) this.#tools.onCut(client.served.membership, gap.ageMs);
    for (const member of this.#members) member.session.resumed(gapMs);
    client.log.info({ gapMs: Math.round(gapMs), clients: this.#members.size }, 'another tunnel to the pod is open');
  }

  /** Why there will be no tunnel any more, if that is so. */
  async #judge(
    client: Member,
    { kind, message }: { kind: 'gone' | 'forbidden' | 'passing' | 'final'; message: string },
  ): Promise<string | undefined> {
    if (kind === 'gone') return `the pod is gone: ${message}`;
    if (kind === 'forbidden' || kind === 'final') {
      if (++this.#finalRefusals < FINAL_REFUSALS) return undefined;
      return kind === 'final' ? message : `it is forbidden: ${message}`;
    }
    const { namespace = '', name = '' } = this.#api;
    const pod = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const question = {
      tools: this.#tools,
      served: client.served,
      headers: client.headers,
      clientGone: this.#leave.signal,
    };
    const answer = await askCluster(question, pod);
    if (answer.kind === 'gone') return 'the pod is gone';
    if (answer.kind === 'forbidden') return undefined;
    const phase = (answer.value as { status?: { phase?: unknown } } | null)?.status?.phase;
    return phase === 'Succeeded' || phase === 'Failed' ? `the pod has ended (${phase})` : undefined;
  }

  #fail(reason: string): void {
    const members = [...this.#members];
    this.#end(reason);
    for (const member of members) member.onGone(reason);
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelRotation();
    this.#leave.abort(new Error(`the tunnel to the pod is closed: ${reason}`));
    for (const tunnel of this.#draining) tunnel.close();
    this.#current?.close();
    this.#onOver();
    this.#wake();
  }

  /** The one to ask for: the newest knows the membership as it is now. */
  #client(): Member | undefined {
    return [...this.#members].at(-1);
  }

  #asked(client: TunnelClient, resuming: boolean): Parameters<typeof dialRemoteCommand>[1] {
    const { served, target, headers, session } = client;
    const holder = () => ({
      sessions: this.#members.size === 0 ? [session.id] : [...this.#members].map((member) => member.session.id),
      kind: session.kind,
      target: session.target,
    });
    return { served, target, headers, session, holder, resuming };
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function noTunnel(): CodedError {
  return new CodedError({
    code: 'tunnel-unavailable',
    message: `the tunnel to the pod was cut and could not be opened again within ${OPEN_WAIT_MS / 1000} s; connect-gateway-proxy goes on trying`,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
}
