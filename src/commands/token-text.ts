import { formatDuration } from '../daemon/duration.js';
import type { MembershipView } from '../daemon/served-fleet.js';

type TokenFacts = Pick<
  MembershipView,
  'identity' | 'hasToken' | 'tokenExpiresAt' | 'tokenRefreshedAt' | 'tokenFailure'
>;

/** `expires in 41m`: how it stands with an identity's token. */
export function tokenText({ hasToken, tokenExpiresAt }: TokenFacts, now: number): string {
  if (tokenExpiresAt !== undefined && tokenExpiresAt <= now)
    return `expired ${formatDuration(now - tokenExpiresAt)} ago`;
  if (tokenExpiresAt !== undefined) return `expires in ${formatDuration(tokenExpiresAt - now)}`;
  return hasToken ? 'held, expiry unknown' : 'none yet';
}

/** `, refreshed 3m ago`; empty where there was none. */
export function refreshedText({ tokenRefreshedAt }: TokenFacts, now: number): string {
  return tokenRefreshedAt === undefined ? '' : `, refreshed ${formatDuration(now - tokenRefreshedAt)} ago`;
}

/** Why there is no newer token, and what to do; undefined where all is well. */
export function tokenFailureText({ identity, tokenFailure }: TokenFacts, now: number): string | undefined {
  if (tokenFailure === undefined) return undefined;
  return `${identity} failed ${formatDuration(now - tokenFailure.at)} ago: ${tokenFailure.message}`;
}
