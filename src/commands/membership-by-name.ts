import { UsageError } from '../base/errors.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import { closestNames } from '../fleet/names.js';

/** By alias or full name. Throws a UsageError with the nearest ones. */
export function membershipByName(memberships: readonly MembershipView[], wanted: string): MembershipView {
  const found = memberships.find(({ alias, name }) => alias === wanted || name === wanted);
  if (found !== undefined) return found;
  const close = closestNames(
    wanted,
    memberships.map(({ alias }) => alias),
  );
  const hint =
    close.length === 0 ? 'connect-gateway-proxy memberships lists them' : `did you mean ${close.join(' or ')}?`;
  throw new UsageError(`there is no membership ${JSON.stringify(wanted)}: ${hint}`);
}
