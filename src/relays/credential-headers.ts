import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import type { AccessToken } from '../credentials/token-source.js';
import type { ServedMembership } from './served-membership.js';

/** What Google is told of who asks, and who is charged where that is configured; a client's own word on it stands. */
export function credentialHeaders(served: ServedMembership, token: AccessToken, sent: FlatHeaders): string[] {
  const headers = ['Authorization', `Bearer ${token.value}`];
  const { quotaProject } = served;
  if (quotaProject === undefined || headerValue(sent, 'x-goog-user-project') !== undefined) return headers;
  return [...headers, 'X-Goog-User-Project', quotaProject];
}
