import type { Clock } from '../base/clock.js';
import { systemCode } from '../base/errors.js';
import type { Wakes } from '../base/wake.js';
import type { Dialer } from '../gateway/dial.js';

const LOOK_EVERY_MS = 5000;
/** Clocks are corrected by less than this; a sleep that is shorter harms no connection. */
const JUMP_MS = 10_000;
/** So many lost connections within so long are not single accidents. */
const BURST = 4;
const BURST_MS = 3000;
/** What the burst was a sign of is dealt with once. */
const QUIET_MS = 30_000;

/** Ways in which a connection ends, or cannot be made, when the network has gone. */
const NETWORK_LOST = new Set([
  'ECONNABORTED',
  'ECONNRESET',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/** Notices that the machine has slept, or that the network is another, and tells `wakes`. */
export class WakeWatch {
  readonly #clock: Clock;
  readonly #wakes: Wakes;
  readonly #cpuMs: () => number;
  #cancel = (): void => {};
  #troubles: number[] = [];
  #toldAt = Number.NEGATIVE_INFINITY;

  /** `cpuMs` is the time that this process has computed for, in ms: it tells a busy process from one that slept. */
  constructor(options: { clock: Clock; wakes: Wakes; cpuMs: () => number }) {
    this.#clock = options.clock;
    this.#wakes = options.wakes;
    this.#cpuMs = options.cpuMs;
  }

  start(): void {
    const wall = this.#clock.now();
    const steady = this.#clock.monotonic();
    const cpu = this.#cpuMs();
    this.#cancel = this.#clock.after(LOOK_EVERY_MS, () => {
      const steadyPassed = this.#clock.monotonic() - steady;
      // Where the monotonic clock stands still in sleep, the wall clock knows.
      const jump = this.#clock.now() - wall - steadyPassed;
      // Where it goes on, the timer is late, and this process has not been busy.
      const late = steadyPassed - LOOK_EVERY_MS;
      const slept = late > JUMP_MS && this.#cpuMs() - cpu < late / 2;
      this.start();
      if (Math.abs(jump) > JUMP_MS) this.#tell(`the wall clock has jumped by ${Math.round(jump / 1000)} s`);
      else if (slept) this.#tell(`the machine has slept for ${Math.round(late / 1000)} s`);
    });
  }

  stop(): void {
    this.#cancel();
  }

  /** A connection to the gateway was lost, or could not be made. */
  trouble(error: unknown): void {
    if (!NETWORK_LOST.has(systemCode(error) ?? '')) return;
    const now = this.#clock.monotonic();
    this.#troubles = [...this.#troubles.filter((at) => now - at < BURST_MS), now];
    if (this.#troubles.length < BURST || now - this.#toldAt < QUIET_MS) return;
    // What was opened since the first of them is of the new network.
    this.#tell('many connections were lost at once', this.#troubles[0]);
  }

  #tell(reason: string, doubtfulBefore = this.#clock.monotonic()): void {
    this.#toldAt = this.#clock.monotonic();
    this.#troubles = [];
    this.#wakes.tell({ reason, doubtfulBefore });
  }
}

/** The dialer, with its failures and the errors of its connections told. */
export function watchedDialer(dialer: Dialer, onTrouble: (error: unknown) => void): Dialer {
  return {
    dial: async (address, signal) => {
      try {
        const socket = await dialer.dial(address, signal);
        socket.on('error', onTrouble);
        return socket;
      } catch (error) {
        if (!signal.aborted) onTrouble(error);
        throw error;
      }
    },
  };
}
