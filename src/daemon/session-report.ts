import type { Membership } from '../fleet/membership.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { parseRemoteSession } from '../kubernetes/remote-session.js';
import type { EndedSessionView, SessionRegistry, SessionView } from '../relays/sessions.js';
import type { HeldSessions } from '../relays/survive/held-sessions.js';
import type { CutoffBook } from './cutoff-book.js';

/** A command that nobody listens to, and that waits in its container. Times are ms since the epoch. */
export interface HeldSessionView {
  readonly id: string;
  /** The membership's alias. */
  readonly membership: string;
  /** `default/box`. */
  readonly target: string;
  readonly container?: string;
  /** Its program's name, without arguments. */
  readonly program: string;
  readonly tty: boolean;
  readonly startedAt: number;
  /** By then somebody must have rejoined it, or it is ended. */
  readonly endsAt?: number;
}

/** JSON of `/-/sessions`. */
export interface SessionReport {
  readonly live: readonly (SessionView & {
    /** Until the gateway is expected to cut the session's present connection; negative when that is due. */
    readonly cutoffInMs: number;
  })[];
  readonly held: readonly HeldSessionView[];
  readonly ended: readonly EndedSessionView[];
}

export function sessionReport(o: {
  sessions: SessionRegistry;
  held: HeldSessions;
  cutoffs: CutoffBook;
  memberships: readonly Membership[];
}): SessionReport {
  const projects = new Map(o.memberships.map(({ alias, project }) => [alias, project]));
  const aliases = new Map(o.memberships.map(({ name, alias }) => [name, alias]));
  const live = o.sessions.live().map((session) => ({
    ...session,
    cutoffInMs: o.cutoffs.expectedMs(projects.get(session.membership) ?? '') - session.connectionAgeMs,
  }));
  const held = o.held.waiting().map(({ id, membership, target, program, startedAt, endsAt }): HeldSessionView => {
    const { namespace = '', name = '' } = parseApiRequest(target);
    const { container, tty } = parseRemoteSession(target);
    return {
      ...{ id, membership: aliases.get(membership) ?? membership, target: `${namespace}/${name}`, program, tty },
      ...(container === undefined ? {} : { container }),
      startedAt,
      ...(endsAt === undefined ? {} : { endsAt }),
    };
  });
  return { live, held, ended: o.sessions.ended() };
}
