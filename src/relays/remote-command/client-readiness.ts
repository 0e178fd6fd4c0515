import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';

/** The loop that reads waits after each of its answers, so that what makes the streams beside it goes on meanwhile. */
const QUESTIONS = 2;
/** A client that answers no ping in this time never will. */
const PONG_DEADLINE_MS = 500;
/** Who has been silent for so long since the 101 has its streams. */
const READY_AFTER_MS = 1000;

/**
 * client-go, at least up to 1.33, begins to read the connection before it has made the streams, and throws away what it
 * reads for one that is not there ("Unknown stream id 1, discarding message"): with output that comes together with the 101 some
 * three execs in a thousand lose the beginning of it. So what is for the client waits until the client has said something,
 * or has answered pings, which it does in the loop that reads.
 */
export class ClientReadiness {
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #acceptedAt: number;
  #waiting: (() => void)[] | undefined = [];
  #waitingBytes = 0;
  #unanswered = QUESTIONS;
  #cancelTimer = (): void => {};
  readonly #over: Promise<void>;
  #resolveOver = (): void => {};

  constructor({ socket, clock }: { socket: WebSocket; clock: Clock }) {
    this.#socket = socket;
    this.#clock = clock;
    this.#acceptedAt = clock.monotonic();
    this.#over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    socket.once('message', this.#onReady);
    socket.once('close', this.#onClose);
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Resolves when nothing waits, be it that the client has left. */
  async nothingWaits(): Promise<void> {
    if (this.#waiting !== undefined && this.#waiting.length > 0) await this.#over;
  }

  /** Does it at once, or when the client is ready, in the order of the calls. What waits for a client that leaves is dropped. */
  whenReady(act: () => void, bytes = 0): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      act();
      return;
    }
    waiting.push(act);
    this.#waitingBytes += bytes;
    if (waiting.length > 1) return;
    if (this.#clock.monotonic() - this.#acceptedAt >= READY_AFTER_MS) this.#onReady();
    else this.#ask();
  }

  #ask(): void {
    this.#cancelTimer = this.#clock.after(PONG_DEADLINE_MS, this.#onReady);
    this.#socket.on('pong', this.#onPong);
    this.#socket.ping();
  }

  readonly #onPong = (): void => {
    this.#unanswered--;
    if (this.#unanswered > 0) this.#socket.ping();
    else this.#onReady();
  };

  readonly #onReady = (): void => {
    for (const act of this.#end()) act();
  };

  readonly #onClose = (): void => void this.#end();

  #end(): readonly (() => void)[] {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#waitingBytes = 0;
    this.#cancelTimer();
    this.#resolveOver();
    this.#socket.off('message', this.#onReady).off('pong', this.#onPong).off('close', this.#onClose);
    return waiting;
  }
}
