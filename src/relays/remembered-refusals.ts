import type { Clock } from '../base/clock.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { headerTokens, headerValue } from '../base/flat-headers.js';
import type { Refusal } from './failure-answer.js';

/** kubectl tries again within a tenth of a second. */
const KEPT_MS = 5000;
const MOST_KEPT = 100;

/** One upgrade of one client. */
export interface RefusableCall {
  readonly membership: string;
  readonly target: string;
  readonly headers: FlatHeaders;
}

/**
 * What WebSocket upgrades were refused with, for a moment: kubectl tries every refused one again over SPDY and prints
 * the second answer only, which must be the first.
 */
export class RememberedRefusals {
  readonly #clock: Clock;
  /** The oldest first. */
  readonly #kept = new Map<string, { readonly refusal: Refusal; readonly until: number }>();

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  remember(call: RefusableCall, refusal: Refusal): void {
    const key = keyOf(call);
    if (key === undefined || !upgradesTo(call, 'websocket')) return;
    this.#kept.delete(key);
    this.#kept.set(key, { refusal, until: this.#clock.monotonic() + KEPT_MS });
    for (const [oldest, { until }] of this.#kept) {
      if (this.#kept.size <= MOST_KEPT && until > this.#clock.monotonic()) break;
      this.#kept.delete(oldest);
    }
  }

  /** The refusal of which this call is the second try; told once. */
  recall(call: RefusableCall): Refusal | undefined {
    if (this.#kept.size === 0 || !upgradesTo(call, 'spdy/3.1')) return undefined;
    const key = keyOf(call);
    const found = key === undefined ? undefined : this.#kept.get(key);
    if (key === undefined || found === undefined) return undefined;
    this.#kept.delete(key);
    return found.until > this.#clock.monotonic() ? found.refusal : undefined;
  }
}

/** Undefined for clients that do not say which process they are: then a second try cannot be known. */
function keyOf({ membership, target, headers }: RefusableCall): string | undefined {
  const session = headerValue(headers, 'kubectl-session');
  return session === undefined ? undefined : JSON.stringify([membership, session, target]);
}

function upgradesTo({ headers }: RefusableCall, protocol: string): boolean {
  return headerTokens(headers, 'upgrade').some((token) => token.toLowerCase() === protocol);
}
