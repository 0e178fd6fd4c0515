import type { WebSocket } from 'ws';
import { type CodedError, describeError } from '../../base/errors.js';
import { Redial } from '../../gateway/redial.js';
import type { ApiRequest } from '../../kubernetes/api-request.js';
import type { RemoteStatus } from '../../kubernetes/remote-command.js';
import { CHANNEL, exitStatus, formatRemoteStatus, parseResize } from '../../kubernetes/remote-command.js';
import type { RemoteSession } from '../../kubernetes/remote-session.js';
import { formatAge, heldMessage, lostHolderMessage, lostSessionStatus } from '../../kubernetes/remote-session.js';
import type { UpgradeCall } from '../relay-upgrade.js';
import { statusOfCut, withinMessage } from '../remote-command/cause.js';
import type { RemoteCommandClient } from '../remote-command/client.js';
import { HIGH_WATER_BYTES } from '../remote-command/held-input.js';
import { Pulse } from '../remote-command/pulse.js';
import { Recoverer, WAIT_LIMIT_MS } from '../remote-command/recover.js';
import type { Dialled } from '../remote-command-upstream.js';
import type { RelayTools } from '../served-membership.js';
import { requestHeaders } from '../upstream-headers.js';
import { type ExchangeEvent, HolderExchange } from './exchange.js';
import type { HeldSession } from './held-sessions.js';
import { type HolderFrame, type HolderOpening, holderWords } from './holder-frames.js';
import type { HolderLink, LinkEnd } from './holder-link.js';
import { type Hold, type Meeting, meetHolder } from './meet-holder.js';

/** Output that is not acknowledged for want of more is acknowledged after this long. */
const ACKNOWLEDGE_AFTER_MS = 200;
/** A holder that has nothing to say answers this often; it waits for a word of ours for a minute at least. */
const BEAT_MS = 20_000;
/** After this many beats without an answer the connection is taken for dead. */
const SILENT_BEATS = 2;
/** The last word is carried over cuts for so long; after that the holder's own patience ends it. */
const FAREWELL_MS = 60_000;
/** For the answer to it. */
const BYE_MS = 5000;

export interface SurvivingParts {
  readonly tools: RelayTools;
  readonly call: UpgradeCall;
  readonly api: ApiRequest;
  readonly remote: RemoteSession;
  readonly client: RemoteCommandClient;
  readonly link: HolderLink;
  readonly hold: Hold;
  readonly held: HeldSession;
  /** True where the command has been running for others before. */
  readonly joins: boolean;
  /** A call to start it was cut, and may still reach the container. */
  readonly startMayBeLate?: boolean;
  /** Another exec call to the same container, to join. */
  readonly dial: (signal: AbortSignal) => Promise<Dialled>;
  /** How long the command may go on when its client has left. */
  readonly lingerSeconds: number;
}

interface Gap {
  readonly cutAt: number;
  readonly ageMs: number;
}

/** One exec of one client, whose command is held in the container and joined again after every cut. */
export class SurvivingSession {
  /** Nothing is left to do here, and the connection to the gateway is given back. */
  readonly over: Promise<void>;
  readonly #parts: SurvivingParts;
  readonly #exchange: HolderExchange;
  readonly #redial: Redial;
  readonly #recoverer: Recoverer;
  readonly #pulse: Pulse;
  readonly #leave = new AbortController();
  readonly #startedAt: number;
  #resolve: (lastWords: Promise<void>) => void = () => {};
  #link: HolderLink | undefined;
  #openedAt: number;
  #gap: Gap | undefined;
  #outputHeld = false;
  #clientTold = false;
  /** What the holder is told at last: nobody listens to the command any more. */
  #lastWord: Buffer | undefined;
  #cancelAcknowledgement: (() => void) | undefined;
  #cancelBeat: () => void = () => {};
  #cancelFarewell: () => void = () => {};
  #silentBeats = 0;
  #resumes = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  #over = false;

  constructor(parts: SurvivingParts) {
    this.#parts = parts;
    const { tools, client, call } = parts;
    this.#exchange = new HolderExchange({
      joins: parts.joins,
      startMayBeLate: parts.startMayBeLate ?? false,
    });
    this.#startedAt = tools.clock.monotonic();
    this.#openedAt = this.#startedAt;
    this.#redial = new Redial({ random: tools.random });
    this.#recoverer = new Recoverer({ now: tools.clock.now(), monotonic: this.#startedAt });
    this.#pulse = new Pulse({ clock: tools.clock, wakes: tools.wakes, client });
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    call.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#adopt(parts.link, parts.hold);
    client.listen({
      onMessage: (message) => this.#fromClient(message),
      onDrain: () => this.#clientDrained(),
      onClose: (code) => this.#clientClosed(code),
      onError: (error) => call.log.debug({}, `client: ${describeError(error)}`),
    });
    if (call.signal.aborted) this.#onAbort();
  }

  /** The daemon stops, or a person ends the session. */
  readonly #onAbort = (): void => {
    const { call, held } = this.#parts;
    const why = describeError(call.signal.reason);
    const killed = call.session.signal.aborted;
    const message = killed
      ? `connect-gateway-proxy: ${why}`
      : heldMessage({ id: held.id, why, lingerSeconds: held.lostLingerSeconds });
    this.#tellClient(lostSessionStatus(message), why);
    this.#sayFarewell(why, killed ? 0 : held.lostLingerSeconds);
  };

  #adopt(link: HolderLink, hold: Hold): void {
    this.#link = link;
    this.#pulse.follow(link.upstream);
    this.#exchange.opened(hold);
    this.#say();
    if (this.#lastWord !== undefined) this.#sayLastWord(link, this.#lastWord);
    link.listen({
      onHeard: () => {
        this.#pulse.heard();
        this.#silentBeats = 0;
      },
      onFrame: (frame) => this.#fromHolder(link, frame),
      onEnd: (end) => this.#linkEnded(link, end),
    });
    this.#silentBeats = 0;
    this.#beatLater();
    this.#flowIn();
  }

  #fromClient(message: Buffer): void {
    this.#bytesUp += message.length;
    if (this.#lastWord !== undefined) return;
    const payload = message.subarray(1);
    if (message[0] === CHANNEL.stdin && this.#parts.remote.stdin) this.#exchange.input(payload);
    else if (message[0] === CHANNEL.resize) {
      const size = parseResize(payload);
      if (size !== undefined) this.#exchange.resize(size);
    } else if (message[0] === CHANNEL.close && payload[0] === CHANNEL.stdin && this.#parts.client.canHalfClose) {
      this.#exchange.endInput();
    }
    this.#say();
    this.#flowIn();
  }

  #say(): void {
    for (const words of this.#exchange.words()) this.#link?.send(words);
  }

  #flowIn(): void {
    const { client } = this.#parts;
    const full = this.#exchange.isFull || (this.#link?.bufferedAmount ?? 0) >= HIGH_WATER_BYTES;
    if (full && !client.isPaused) client.pause();
    else if (!full && client.isPaused) client.resume();
  }

  #fromHolder(link: HolderLink, frame: HolderFrame): void {
    if (link !== this.#link) return;
    if (frame.kind === 'bye') {
      this.#end();
      return;
    }
    if (frame.kind === 'taken') {
      this.#fail('another connection has taken it over');
      this.#end();
      return;
    }
    let event: ExchangeEvent | undefined;
    try {
      event = this.#exchange.receive(frame);
    } catch (error) {
      this.#fail(describeError(error));
      this.#sayFarewell('lost bytes', this.#parts.lingerSeconds);
      return;
    }
    if (frame.kind === 'written') {
      this.#say();
      this.#flowIn();
    }
    if (event?.kind === 'output') this.#output(event);
    if (event?.kind === 'exit') this.#exited(event.code);
  }

  #output({ stream, bytes }: Extract<ExchangeEvent, { kind: 'output' }>): void {
    const { client, remote } = this.#parts;
    this.#bytesDown += bytes.length;
    if (stream === 'out' ? remote.stdout : remote.stderr) {
      this.#toClient(stream === 'out' ? CHANNEL.stdout : CHANNEL.stderr, bytes);
    }
    // What the client has not taken is not acknowledged: the command is stopped in time.
    if (client.isOpen && client.bufferedAmount >= HIGH_WATER_BYTES) this.#outputHeld = true;
    this.#acknowledge();
  }

  #acknowledge(): void {
    if (this.#outputHeld) return;
    if (this.#exchange.acknowledgementIsDue) {
      this.#acknowledgeNow();
      return;
    }
    this.#cancelAcknowledgement ??= this.#parts.tools.clock.after(ACKNOWLEDGE_AFTER_MS, () => {
      this.#cancelAcknowledgement = undefined;
      if (!this.#outputHeld) this.#acknowledgeNow();
    });
  }

  #acknowledgeNow(): void {
    this.#cancelAcknowledgement?.();
    this.#cancelAcknowledgement = undefined;
    const words = this.#link === undefined ? undefined : this.#exchange.acknowledge();
    if (words !== undefined) this.#link?.send(words);
  }

  #toClient(channel: number, payload: Uint8Array): void {
    const { client } = this.#parts;
    if (client.isOpen) client.send(Buffer.concat([Buffer.of(channel), payload]));
  }

  #clientDrained(): void {
    if (!this.#outputHeld || this.#parts.client.bufferedAmount >= HIGH_WATER_BYTES / 2) return;
    this.#outputHeld = false;
    this.#acknowledgeNow();
  }

  #exited(code: number): void {
    const { client, remote } = this.#parts;
    this.#tellClient(exitStatus(client.protocol, code, remote.command), `exit code ${code}`);
    this.#sayFarewell('the command has ended', 0, holderWords.done);
  }

  #linkEnded(link: HolderLink, end: LinkEnd): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#exchange.cut();
    this.#pulse.follow(undefined);
    this.#cancelBeat();
    this.#cancelAcknowledgement?.();
    this.#cancelAcknowledgement = undefined;
    const { tools, call } = this.#parts;
    const cutAt = tools.clock.monotonic();
    if (this.#gap === undefined && this.#lastWord === undefined) {
      // With a Status it is what ran in the container that has ended.
      if (end.status === undefined) tools.onCut(call.served.membership, call.session.connectionAgeMs());
      call.log.info({ code: end.code }, 'session cut: its command goes on in the container');
    }
    const gap = this.#gap ?? { cutAt, ageMs: cutAt - this.#openedAt };
    this.#gap = gap;
    this.#recover(gap).catch((error: unknown) => {
      if (this.#leave.signal.aborted) return;
      this.#fail(describeError(error));
      if (this.#link === undefined) this.#leaveBehind(gap);
      else this.#sayFarewell('could not go on', this.#parts.lingerSeconds);
    });
  }

  async #recover(gap: Gap): Promise<void> {
    let upstream: WebSocket | undefined = await this.#dialAtOnce();
    for (;;) {
      upstream ??= await this.#dialAfterLook(gap);
      if (upstream === undefined) return;
      const { tools } = this.#parts;
      const meeting = await meetHolder({
        upstream,
        opening: this.#opening(),
        clock: tools.clock,
        signal: this.#leave.signal,
      });
      upstream = undefined;
      if (meeting.kind === 'hold') {
        this.#redial.succeeded();
        this.#recoverer.succeeded();
        this.#openedAt = tools.clock.monotonic();
        this.#goOn(gap);
        this.#adopt(meeting.link, meeting.hold);
        return;
      }
      const why = await this.#whyNot(meeting);
      if (why !== undefined) {
        this.#fail(why);
        if (meeting.kind === 'gone') return this.#forget();
        // Whoever has taken it over looks after it.
        return meeting.kind === 'taken' ? this.#end() : this.#leaveBehind(gap);
      }
      const limitMs = this.#waitLimitMs();
      if (tools.clock.monotonic() - gap.cutAt >= limitMs) {
        this.#fail(`the container could not be reached again within ${formatAge(limitMs)}`);
        return this.#leaveBehind(gap);
      }
    }
  }

  /** Why the command cannot be joined any more; undefined where it is worth another try. */
  async #whyNot(meeting: Meeting): Promise<string | undefined> {
    if (meeting.kind === 'taken') return 'another connection has taken it over';
    if (meeting.kind === 'gone') return this.#whyGone();
    const status = meeting.kind === 'ended' ? meeting.end.status : undefined;
    if (status === undefined || this.#recoverer.mayTryAgain()) return undefined;
    return messageOfStatus(status);
  }

  /** A container that has been started anew, as all are when their node has been, knows nothing of what ran in it before. */
  async #whyGone(): Promise<string> {
    const look = await this.#recoverer.look(this.#whereItRan()).catch(describeError);
    if (typeof look !== 'string') {
      if (look.kind === 'ended') return endedWith(look.exitCode);
      if (look.kind === 'failed') return look.message;
    }
    return 'what held it is gone: it was killed, the container has run out of memory, or it had waited for too long';
  }

  #whereItRan(): Parameters<Recoverer['look']>[0] {
    const { tools, call, remote } = this.#parts;
    const headers = requestHeaders(call.request.rawHeaders);
    return { tools, served: call.served, remote, headers, signal: this.#leave.signal };
  }

  /** Most cuts are nothing but that. A wrong container cannot be joined, so that none has to be looked at first. */
  async #dialAtOnce(): Promise<WebSocket | undefined> {
    try {
      const dialled = await this.#parts.dial(this.#leave.signal);
      if (dialled.kind === 'open') return dialled.upstream;
      dialled.response.destroy();
    } catch (error) {
      if (this.#leave.signal.aborted) throw error;
    }
    return undefined;
  }

  /** As long as whatever holds it waits for us, too. */
  #waitLimitMs(): number {
    return Math.max(WAIT_LIMIT_MS, this.#parts.held.lostLingerSeconds * 1000);
  }

  /** Undefined where there is nothing to join any more; then all has been said. */
  async #dialAfterLook(gap: Gap): Promise<WebSocket | undefined> {
    const { call, api, dial } = this.#parts;
    const recovery = await this.#recoverer.recover({
      ...{ ...this.#whereItRan(), api, dial, log: call.log },
      redial: this.#redial,
      cutAt: gap.cutAt,
      waitLimitMs: this.#waitLimitMs(),
    });
    if (recovery.kind === 'open') return recovery.upstream;
    if (recovery.kind === 'ended') {
      this.#fail(endedWith(recovery.exitCode));
      this.#forget();
    } else {
      this.#fail(recovery.message, recovery.cause);
      if (recovery.gone === true) this.#forget();
      else this.#leaveBehind(gap);
    }
    return undefined;
  }

  #opening(): HolderOpening {
    const { held } = this.#parts;
    return held.opening({ verb: 'join', received: this.#exchange.received });
  }

  #goOn(gap: Gap): void {
    this.#gap = undefined;
    const gapMs = this.#openedAt - gap.cutAt;
    this.#resumes++;
    const { call } = this.#parts;
    call.session.resumed(gapMs);
    call.log.info({ resumes: this.#resumes, gapMs: Math.round(gapMs) }, 'joined the command again after a cut');
  }

  #beatLater(): void {
    this.#cancelBeat();
    this.#cancelBeat = this.#parts.tools.clock.after(BEAT_MS, () => {
      const link = this.#link;
      if (link === undefined) return;
      // A paused connection cannot be heard; and one that is full need not be asked.
      if (link.upstream.isPaused) this.#silentBeats = 0;
      if (this.#silentBeats++ >= SILENT_BEATS) {
        link.terminate();
        return;
      }
      link.send(holderWords.beat);
      this.#beatLater();
    });
  }

  #fail(why: string, cause?: CodedError): void {
    const { tools } = this.#parts;
    const ageMs = this.#gap?.ageMs ?? tools.clock.monotonic() - this.#openedAt;
    const message = lostHolderMessage({ ageMs, detail: withinMessage(why) });
    this.#tellClient(statusOfCut(message, cause), why);
  }

  /** The end for the client: always with a Status, because kubectl takes a close without one for success. */
  #tellClient(status: RemoteStatus, reason: string): void {
    const { client, call } = this.#parts;
    if (this.#clientTold) return;
    this.#clientTold = true;
    const payload = formatRemoteStatus(client.protocol, status);
    if (payload !== undefined) this.#toClient(CHANNEL.error, payload);
    if (client.isOpen) client.close(1000);
    // A paused socket would never see the peer's own close.
    client.resume();
    call.session.end(reason, { bytesMayBeMissing: status.reason === 'InternalError' });
  }

  #clientClosed(code: number): void {
    if (this.#clientTold) return;
    this.#clientTold = true;
    const reason = `client closed (${code})`;
    this.#parts.call.session.end(reason);
    this.#sayFarewell(reason, this.#parts.lingerSeconds);
  }

  /** From here on there is no client: the holder hears the last word, over cuts if need be. */
  #sayFarewell(reason: string, lingerSeconds = 0, word = holderWords.leave(lingerSeconds)): void {
    if (this.#lastWord !== undefined || this.#over) return;
    this.#lastWord = word;
    const { call, tools, held } = this.#parts;
    if (lingerSeconds === 0) held.forget();
    else held.left(lingerSeconds);
    call.log.debug({ reason }, 'the holder is told');
    this.#acknowledgeNow();
    if (this.#link !== undefined) this.#sayLastWord(this.#link, word);
    else this.#cancelFarewell = tools.clock.after(FAREWELL_MS, () => this.#end());
  }

  #sayLastWord(link: HolderLink, word: Buffer): void {
    this.#cancelFarewell();
    link.send(word);
    this.#cancelFarewell = this.#parts.tools.clock.after(BYE_MS, () => this.#end());
  }

  /** Nothing is left of it in its container. */
  #forget(): void {
    this.#parts.held.forget();
    this.#end();
  }

  /** It is listed, and can be joined again, for as long as it waits for a lost daemon. */
  #leaveBehind({ cutAt }: Gap): void {
    const { held, tools } = this.#parts;
    const seconds = held.lostLingerSeconds - Math.round((tools.clock.monotonic() - cutAt) / 1000);
    if (seconds <= 0) held.forget();
    else if (this.#lastWord === undefined) held.left(seconds);
    this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    const { call, api, client, tools } = this.#parts;
    this.#leave.abort(new Error('the session is over'));
    this.#cancelFarewell();
    this.#cancelBeat();
    this.#cancelAcknowledgement?.();
    this.#pulse.stop();
    call.signal.removeEventListener('abort', this.#onAbort);
    const link = this.#link;
    this.#link = undefined;
    link?.close();
    const ms = Math.round(tools.clock.monotonic() - this.#startedAt);
    const counts = { resumes: this.#resumes, bytesUp: this.#bytesUp, bytesDown: this.#bytesDown };
    call.log.info({ kind: api.kind, protocol: client.protocol.name, ms, ...counts }, 'held session ended');
    this.#resolve(client.handedOn());
  }
}

function endedWith(exitCode: number): string {
  return `its container has ended with exit code ${exitCode}`;
}

/** What the error channel has said, in a few words. */
function messageOfStatus(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // Older subprotocols say it as plain text.
  }
  return text.slice(0, 200);
}
