import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { Wakes } from '../base/wake.js';
import type { TokenSource } from '../credentials/token-source.js';
import type { Membership } from '../fleet/membership.js';
import type { UpstreamAddress } from '../gateway/address.js';
import type { Dialer } from '../gateway/dial.js';
import type { HttpUpstream } from '../gateway/http-upstream.js';
import type { QuotaLedger } from '../gateway/quota.js';
import type { OnCutoff } from '../kubernetes/remote-session.js';
import type { SessionRegistry } from './sessions.js';
import type { HeldSessions } from './survive/held-sessions.js';
import type { PlainContainers } from './survive/plain-containers.js';

/** One membership with all that is needed to carry a call to it. */
export interface ServedMembership {
  readonly membership: Membership;
  readonly address: UpstreamAddress;
  readonly tokens: TokenSource;
  /** Charged for the calls to the gateway too, where the identity says so. */
  readonly quotaProject?: string;
  /**
   * What becomes of an exec at a cutoff (a shell is reopened when it is not said), and of a held one without its client;
   * how long before the cutoff terminals are warned (never when it is not said).
   */
  readonly exec?: { readonly onCutoff: OnCutoff; readonly lingerMs?: number; readonly warnBeforeMs?: number };
}

/** What every relay shares. */
export interface RelayTools {
  readonly http: HttpUpstream;
  readonly dialer: Dialer;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly sessions: SessionRegistry;
  /** What the fleet host projects have left; `http` keeps to it by itself, streams are dialled with `dialStream`. */
  readonly quota: QuotaLedger;
  /** Tells of sleep and of a change of the network. */
  readonly wakes: Wakes;
  /** Commands that are held in their containers (`exec.onCutoff: survive`), and containers in which none can be. */
  readonly held: HeldSessions;
  readonly plainContainers: PlainContainers;
  /** Called when the gateway has cut a connection of this age that nobody had asked it to end. */
  readonly onCut: (membership: Membership, ageMs: number) => void;
  /** The age at which the gateway is expected to cut a connection. */
  readonly cutoffMs: (membership: Membership) => number;
  /** At which age a connection that can be replaced should be, so that the gateway's cutoff finds it unused. */
  readonly rotateAfterMs: (membership: Membership) => number;
}

/** One call of one client. */
export interface RelayCall {
  /** Short id, the same in every log line and answer that concerns this call. */
  readonly id: string;
  readonly served: ServedMembership;
  /** Raw request target below the membership: begins with `/`, never normalised. */
  readonly target: string;
  readonly log: Logger;
}
