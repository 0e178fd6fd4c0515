import { WebSocket } from 'ws';
import { type CodedError, describeError } from '../../base/errors.js';
import { Redial } from '../../gateway/redial.js';
import type { ApiRequest } from '../../kubernetes/api-request.js';
import type { RemoteProtocol, RemoteStatus } from '../../kubernetes/remote-command.js';
import {
  CHANNEL,
  channelMessage,
  closeMessage,
  exitStatus,
  formatRemoteStatus,
  fromBinaryMessage,
  tellsOfTrouble,
  toBinaryMessage,
  translateRemoteStatus,
} from '../../kubernetes/remote-command.js';
import type { CutPlan, GapFacts, RemoteSession } from '../../kubernetes/remote-session.js';
import {
  attachNotice,
  cutMessage,
  cutoffWarning,
  endedNotice,
  lostSessionStatus,
  noticeText,
  parseRemoteSession,
  planAfterCut,
  shellNotice,
  waitingNotice,
} from '../../kubernetes/remote-session.js';
import { sendMessage } from '../binary-message.js';
import type { UpgradeCall } from '../relay-upgrade.js';
import type { Dialled } from '../remote-command-upstream.js';
import type { RelayTools } from '../served-membership.js';
import { requestHeaders } from '../upstream-headers.js';
import { askForCause, causeInWords, statusOfCut, withinMessage } from './cause.js';
import { isSendable, protocolOf, type RemoteCommandClient } from './client.js';
import { CutoffWarning } from './cutoff-warning.js';
import { HeldInput, HIGH_WATER_BYTES } from './held-input.js';
import { Pulse } from './pulse.js';
import type { Recovery } from './recover.js';
import { Recoverer } from './recover.js';

/** An upstream that has stayed for this long without a word is taken for well. */
const QUIET_PROOF_MS = 1000;
/** After this long somebody at a terminal is told what they wait for. */
const WAITING_NOTICE_MS = 5000;
const CTRL_C = 0x03;
const CTRL_D = 0x04;

export interface SessionParts {
  readonly tools: RelayTools;
  readonly call: UpgradeCall;
  readonly api: ApiRequest;
  readonly client: RemoteCommandClient;
  /** Open, and paused until the session listens. */
  readonly upstream: WebSocket;
  /** Another upstream for the same request, with the same subprotocol. */
  readonly redial: (signal: AbortSignal) => Promise<Dialled>;
}

/** From a cut until the session is known to go on. */
interface Gap {
  readonly cutAt: number;
  readonly ageMs: number;
  readonly detail: string;
  /** Known where Google has said it. */
  cause?: CodedError | undefined;
  /** Set as soon as another upstream is open. */
  notice?: string;
  /** A person has been told that they may give up. */
  mayGiveUp: boolean;
  discardedBytes: number;
  cancelTimer: () => void;
}

/** One exec or attach of one client, over as many upstreams as it takes. */
export class RemoteCommandSession {
  readonly ended: Promise<void>;
  readonly #parts: SessionParts;
  readonly #remote: RemoteSession;
  readonly #redial: Redial;
  readonly #recoverer: Recoverer;
  readonly #pulse: Pulse;
  readonly #warning: CutoffWarning;
  readonly #held: HeldInput;
  /** Aborts when nobody waits for another upstream any more. */
  readonly #leave = new AbortController();
  readonly #startedAt: number;
  #resolve: (lastWords: Promise<void>) => void = () => {};
  #upstream: WebSocket | undefined;
  /** Of the present upstream, or of the last one; it may be another than the client's. */
  #protocol: RemoteProtocol;
  /** When this upstream was opened. */
  #openedAt: number;
  #gap: Gap | undefined;
  /** What Google has said on the error channel: the upstream that said it is being ended. */
  #saidCause: CodedError | undefined;
  #lastResize: Buffer | undefined;
  #stdinEnded = false;
  #halfCloseTold = false;
  #statusSeen = false;
  #over = false;
  #resumes = 0;
  #bytesUp = 0;
  #bytesDown = 0;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { client, call, tools } = parts;
    this.#remote = parseRemoteSession(call.target);
    this.#protocol = protocolOf(parts.upstream.protocol);
    this.#startedAt = tools.clock.monotonic();
    this.#openedAt = this.#startedAt;
    this.#redial = new Redial({ random: tools.random });
    this.#recoverer = new Recoverer({ now: tools.clock.now(), monotonic: this.#startedAt });
    this.#pulse = new Pulse({ clock: tools.clock, wakes: tools.wakes, client });
    this.#held = new HeldInput(client);
    const { membership, exec } = call.served;
    this.#warning = new CutoffWarning({
      clock: tools.clock,
      warnBeforeMs: this.#remote.tty ? (exec?.warnBeforeMs ?? 0) : 0,
      cutoffMs: () => tools.cutoffMs(membership),
      tell: (leftMs) => this.#notice(cutoffWarning({ leftMs, plan: this.#plan() })),
    });
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    call.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#adopt(parts.upstream);
    client.listen({
      onMessage: (message) => this.#fromClient(message),
      onDrain: () => this.#clientDrained(),
      onClose: (code, reason) => this.#clientClosed(code, reason),
      onError: (error) => call.log.debug({}, `client: ${describeError(error)}`),
    });
  }

  readonly #onAbort = (): void => {
    const upstream = this.#upstream;
    const why = describeError(this.#parts.call.signal.reason);
    this.#endClient(lostSessionStatus(`connect-gateway-proxy: ${why}`), why);
    upstream?.close(1001);
    // The last words are still on their way: the session ends with the client's close.
    this.#leave.abort(new Error(why));
  };

  #adopt(upstream: WebSocket): void {
    this.#upstream = upstream;
    this.#protocol = protocolOf(upstream.protocol);
    this.#pulse.follow(upstream);
    this.#warning.begin();
    upstream.on('message', (data) => this.#receive(upstream, data as Buffer));
    upstream.on('close', (code, reason) => this.#upstreamClosed(upstream, code, reason));
    upstream.on('error', (error) => this.#parts.call.log.debug({}, `gateway: ${describeError(error)}`));
    upstream.resume();
  }

  #fromClient(message: Buffer): void {
    const { client } = this.#parts;
    this.#bytesUp += message.length;
    const channel = message[0];
    if (channel === CHANNEL.resize) this.#lastResize = message;
    if (client.canHalfClose && channel === CHANNEL.close && message[1] === CHANNEL.stdin) this.#stdinEnded = true;
    const upstream = this.#upstream;
    // Input waits until the new upstream is known to be well; a size may be said again at any time.
    const ready = this.#gap === undefined || channel === CHANNEL.resize;
    if (ready && upstream?.readyState === WebSocket.OPEN) {
      this.#toUpstream(upstream, message);
      return;
    }
    if (channel === CHANNEL.resize) return;
    const plan = this.#plan();
    if (plan === 'reattach') this.#held.hold(message);
    // The end of a line begun in one shell must not become a command of another.
    else if (plan === 'reopen') this.#discard(message);
  }

  #toUpstream(upstream: WebSocket, message: Buffer): void {
    const { client } = this.#parts;
    if (message[0] === CHANNEL.close && !(client.canHalfClose && this.#protocol.halfClose)) {
      if (client.canHalfClose) this.#tellOfHalfClose();
      return;
    }
    this.#pulse.sent(message.length);
    sendMessage(upstream, fromBinaryMessage(this.#protocol, message), () => {
      const writable = this.#upstream === upstream && upstream.bufferedAmount < HIGH_WATER_BYTES;
      if (client.isPaused && writable) client.resume();
    });
    if (upstream.bufferedAmount >= HIGH_WATER_BYTES) client.pause();
  }

  #tellOfHalfClose(): void {
    if (this.#halfCloseTold) return;
    this.#halfCloseTold = true;
    this.#parts.call.log.warn(
      { protocol: this.#protocol.name },
      'the cluster has no way to be told the end of stdin: a command that reads to the end goes on until the client leaves',
    );
  }

  #discard(message: Buffer): void {
    const gap = this.#gap;
    if (gap === undefined || message[0] !== CHANNEL.stdin) return;
    const payload = message.subarray(1);
    gap.discardedBytes += payload.length;
    if (gap.mayGiveUp && (payload.includes(CTRL_C) || payload.includes(CTRL_D))) {
      this.#fail(gap, 'given up at the terminal');
      this.#end('given up');
    }
  }

  #receive(upstream: WebSocket, data: Buffer): void {
    if (upstream !== this.#upstream) return;
    this.#pulse.heard();
    try {
      this.#fromUpstream(upstream, toBinaryMessage(this.#protocol, data));
    } catch (error) {
      this.#parts.call.log.warn({}, `gateway: ${describeError(error)}`);
      upstream.terminate();
    }
  }

  #fromUpstream(upstream: WebSocket, message: Buffer): void {
    const empty = message.length <= 1;
    const status = !empty && message[0] === CHANNEL.error;
    if (status && tellsOfTrouble(message)) {
      // Not how the command ended but that the gateway lost it: a cut like any other.
      this.#saidCause = causeInWords(message.toString('utf8', 1), this.#parts.call.served, this.#ageMs());
      if (this.#saidCause !== undefined) {
        upstream.terminate();
        return;
      }
    }
    if (this.#gap !== undefined) {
      // Servers greet with an empty message; that says nothing about the container yet.
      if (empty) return;
      if (status && tellsOfTrouble(message) && this.#recoverer.mayTryAgain()) {
        upstream.terminate();
        return;
      }
      this.#goOn(status);
    }
    this.#bytesDown += message.length;
    if (!status) {
      this.#toClient(message, upstream);
      return;
    }
    this.#statusSeen = true;
    const told = translateRemoteStatus(this.#protocol, this.#parts.client.protocol, message.subarray(1));
    if (told !== undefined) this.#toClient(channelMessage(CHANNEL.error, told), upstream);
  }

  #toClient(message: Buffer, from?: WebSocket): void {
    const { client } = this.#parts;
    if (!client.isOpen) return;
    client.send(message);
    if (client.bufferedAmount >= HIGH_WATER_BYTES) from?.pause();
  }

  #clientDrained(): void {
    const upstream = this.#upstream;
    if (upstream?.isPaused && this.#parts.client.bufferedAmount < HIGH_WATER_BYTES) upstream.resume();
  }

  #upstreamClosed(upstream: WebSocket, code: number, reason: Buffer): void {
    if (upstream !== this.#upstream || this.#over) return;
    // The oldest subprotocols tell success by a close without a word; they are asked for only where nothing else is spoken.
    const silentSuccess = !this.#protocol.statusAsJson && code === 1000 && this.#gap === undefined;
    if (this.#statusSeen || silentSuccess) {
      // The end is known; with another code kubectl would print that instead.
      this.#parts.client.close(1000, code === 1000 ? reason : undefined);
      this.#end(`gateway closed (${code})`);
      return;
    }
    this.#upstream = undefined;
    this.#pulse.follow(undefined);
    this.#warning.stop();
    const { clock } = this.#parts.tools;
    const cutAt = clock.monotonic();
    const said = reason.length > 0 ? `: ${reason.toString('utf8')}` : '';
    if (this.#gap === undefined) {
      const { tools, call } = this.#parts;
      tools.onCut(call.served.membership, call.session.connectionAgeMs());
    }
    // A cut before the session was known to go on belongs to the same gap.
    this.#gap?.cancelTimer();
    this.#gap ??= {
      cutAt,
      ageMs: cutAt - this.#openedAt,
      detail: `close ${code}${said}`,
      mayGiveUp: false,
      discardedBytes: 0,
      cancelTimer: () => {},
    };
    const gap = this.#gap;
    gap.cause = this.#saidCause ?? causeInWords(reason.toString('utf8'), this.#parts.call.served, gap.ageMs);
    this.#saidCause = undefined;
    delete gap.notice;
    const isFinal = gap.cause?.retry === 'never' && !this.#recoverer.mayTryAgain();
    const plan = isFinal ? 'end' : this.#plan();
    if (plan === 'end') {
      void this.#failWithCause(gap).then(() => this.#end(`gateway closed (${code})`));
      return;
    }
    this.#parts.call.log.info({ code, plan }, 'session cut');
    if (plan === 'reopen') gap.cancelTimer = clock.after(WAITING_NOTICE_MS, () => this.#tellToWait(gap));
    // It was held back for the upstream that is gone.
    if (!this.#held.full) this.#parts.client.resume();
    this.#recover(gap).catch((error: unknown) => {
      if (this.#leave.signal.aborted) return;
      this.#fail(gap, describeError(error));
      this.#end('could not go on');
    });
  }

  #tellToWait(gap: Gap): void {
    if (gap.mayGiveUp) return;
    gap.mayGiveUp = true;
    this.#notice(waitingNotice(gap.ageMs));
  }

  async #recover(gap: Gap): Promise<void> {
    const { tools, call, api, redial } = this.#parts;
    const recovery = await this.#recoverer.recover({
      tools,
      served: call.served,
      api,
      remote: this.#remote,
      log: call.log,
      headers: requestHeaders(call.request.rawHeaders),
      redial: this.#redial,
      dial: redial,
      cutAt: gap.cutAt,
      signal: this.#leave.signal,
    });
    if (this.#leave.signal.aborted) {
      if (recovery.kind === 'open') recovery.upstream.terminate();
      return;
    }
    gap.cancelTimer();
    if (recovery.kind === 'open') this.#resume(gap, recovery);
    else if (recovery.kind === 'ended') this.#containerEnded(gap, recovery);
    else {
      gap.cause = recovery.cause ?? gap.cause;
      this.#fail(gap, recovery.message);
      this.#end('could not go on');
    }
  }

  #resume(gap: Gap, { upstream, stdinOnce }: Extract<Recovery, { kind: 'open' }>): void {
    const { clock } = this.#parts.tools;
    this.#openedAt = clock.monotonic();
    const facts: GapFacts = { ageMs: gap.ageMs, gapMs: this.#openedAt - gap.cutAt };
    gap.notice =
      this.#remote.verb === 'attach'
        ? attachNotice({ ...facts, stdinClosed: stdinOnce && this.#remote.stdin })
        : shellNotice({ ...facts, discardedBytes: gap.discardedBytes });
    gap.cancelTimer = clock.after(QUIET_PROOF_MS, () => {
      // One that is about to close would swallow what the client has sent meanwhile.
      if (upstream.readyState === WebSocket.OPEN) this.#goOn(false);
    });
    const size = this.#lastResize;
    this.#adopt(upstream);
    if (size !== undefined) this.#toUpstream(upstream, size);
  }

  /** Passes on what the client has sent during the gap. */
  #release(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const held = this.#held.take();
    for (const message of held) this.#toUpstream(upstream, message);
    // A new attach has a stdin of its own, which the client has ended before the cut.
    const endHeld = held.some((message) => message[0] === CHANNEL.close);
    if (this.#stdinEnded && !endHeld) this.#toUpstream(upstream, closeMessage(CHANNEL.stdin));
    if (upstream.bufferedAmount < HIGH_WATER_BYTES) this.#parts.client.resume();
  }

  /** The new upstream has spoken, or has stayed: tell of the gap before anything that comes after it. */
  #goOn(atOnceEnded: boolean): void {
    const gap = this.#gap;
    if (gap === undefined) return;
    this.#gap = undefined;
    gap.cancelTimer();
    const gapMs = this.#openedAt - gap.cutAt;
    if (!atOnceEnded) {
      if (gap.notice !== undefined) this.#notice(gap.notice);
    } else if (this.#remote.verb === 'attach') {
      this.#notice(endedNotice({ ageMs: gap.ageMs, gapMs }));
    }
    this.#release();
    this.#redial.succeeded();
    this.#recoverer.succeeded();
    this.#resumes++;
    this.#parts.call.session.resumed(gapMs);
    this.#parts.call.log.info({ resumes: this.#resumes, gapMs: Math.round(gapMs) }, 'stream resumed after a cut');
  }

  #containerEnded(gap: Gap, { exitCode, stdinOnce }: Extract<Recovery, { kind: 'ended' }>): void {
    const gapMs = this.#parts.tools.clock.monotonic() - gap.cutAt;
    if (this.#remote.verb === 'exec') {
      this.#fail(gap, `its container has ended with exit code ${exitCode}`);
    } else if (exitCode === 0 && stdinOnce && this.#remote.stdin && !this.#stdinEnded) {
      // It has read an end of file that nobody sent: its success may be that of half its input.
      this.#fail(
        gap,
        'which closed the stdin of its container (stdinOnce), and the container has ended with exit code 0',
      );
    } else {
      this.#notice(endedNotice({ ageMs: gap.ageMs, gapMs }));
      const status = exitStatus(this.#parts.client.protocol, exitCode, []);
      this.#endClient(status, 'the container has ended');
    }
    this.#end('container ended');
  }

  /** A line of the product's own, where the client shows what is not the command's output. */
  #notice(line: string): void {
    const { tty, stdout, stderr } = this.#remote;
    if (tty ? !stdout : !stderr) return;
    const payload = noticeText(this.#remote, line);
    this.#toClient(channelMessage(tty ? CHANNEL.stdout : CHANNEL.stderr, payload));
  }

  /** Whoever must end their command is told why, as far as that can be learned. */
  async #failWithCause(gap: Gap): Promise<void> {
    const { tools, call } = this.#parts;
    gap.cause ??= await askForCause({
      tools,
      served: call.served,
      remote: this.#remote,
      headers: requestHeaders(call.request.rawHeaders),
      signal: this.#leave.signal,
    });
    this.#fail(gap);
  }

  #fail(gap: Gap, why = gap.cause?.message ?? gap.detail): void {
    const message = cutMessage(this.#remote, { ageMs: gap.ageMs, detail: withinMessage(why) });
    this.#endClient(statusOfCut(message, gap.cause), 'the gateway cut the session');
  }

  #ageMs(): number {
    return this.#parts.tools.clock.monotonic() - this.#openedAt;
  }

  /**
   * A close without a Status makes kubectl exit 0 as if the command had succeeded. After one it is 1000, as servers do:
   * kubectl would print any other code instead of the Status.
   */
  #endClient(status: RemoteStatus, reason: string): void {
    const { client } = this.#parts;
    if (!client.isOpen) return;
    if (!this.#statusSeen) {
      this.#statusSeen = true;
      const payload = formatRemoteStatus(client.protocol, status);
      if (payload !== undefined) this.#toClient(channelMessage(CHANNEL.error, payload));
    }
    client.close(1000, reason);
  }

  #clientClosed(code: number, reason: Buffer): void {
    const upstream = this.#upstream;
    if (isSendable(code)) upstream?.close(code, reason);
    else if (code === 1005) upstream?.close();
    else upstream?.terminate();
    this.#end(`client closed (${code})`);
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#leave.abort(new Error(reason));
    this.#gap?.cancelTimer();
    this.#pulse.stop();
    this.#warning.stop();
    this.#held.take();
    const { call, api, tools, client } = this.#parts;
    call.signal.removeEventListener('abort', this.#onAbort);
    // A paused socket would never see the peer's close frame.
    client.resume();
    this.#upstream?.resume();
    const ms = Math.round(tools.clock.monotonic() - this.#startedAt);
    const bytesMayBeMissing = this.#resumes > 0 || this.#gap !== undefined;
    call.session.end(reason, { bytesMayBeMissing });
    const bytes = { bytesUp: this.#bytesUp, bytesDown: this.#bytesDown };
    const told = { kind: api.kind, protocol: client.protocol.name, reason, ms, resumes: this.#resumes, ...bytes };
    call.log.info(told, 'stream ended');
    this.#resolve(client.handedOn());
  }

  #plan(): CutPlan {
    const onCutoff = this.#parts.call.served.exec?.onCutoff ?? 'reopen';
    return planAfterCut(this.#remote, { onCutoff, stdinEnded: this.#stdinEnded });
  }
}
