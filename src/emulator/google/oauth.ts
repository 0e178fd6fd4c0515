import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../base/clock.js';
import type { Caller } from '../cluster-backend.js';
import { type Answer, jsonAnswer } from './answers.js';
import { pause } from './data-path.js';
import { errorAnswer } from './error-catalogue.js';
import type { Faults } from './faults.js';
import { readText } from './http-body.js';
import { TOKEN_SECONDS, type Tokens } from './tokens.js';

const TOKEN_PATHS: ReadonlySet<string> = new Set(['/token', '/oauth2/v4/token', '/v1/token']);
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** The token endpoint knows of no project and no membership. */
const NOWHERE = { projectNumber: '', projectId: '', location: '', membership: '', user: '', target: '' };
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const SCOPES = [
  'openid',
  'https://www.googleapis.com/auth/userinfo.email',
  'https://www.googleapis.com/auth/cloud-platform',
  'https://www.googleapis.com/auth/appengine.admin',
  'https://www.googleapis.com/auth/sqlservice.login',
  'https://www.googleapis.com/auth/compute',
  'https://www.googleapis.com/auth/accounts.reauth',
];

/**
 * The OAuth token endpoint, the exchange of federated tokens, and tokeninfo, which take no bearer token; undefined for
 * every other path.
 */
export async function answerOAuth(
  request: IncomingMessage,
  path: string,
  o: { tokens: Tokens; faults: Faults; clock: Clock; signal: AbortSignal },
): Promise<Answer | undefined> {
  const isToken = TOKEN_PATHS.has(path) && request.method === 'POST';
  const isInfo = path === '/tokeninfo' || path === '/oauth2/v3/tokeninfo';
  if (!isToken && !isInfo) return undefined;
  const form = new URLSearchParams(isToken || request.method === 'POST' ? await readText(request) : '');
  if (isInfo) {
    const query = new URLSearchParams(request.url?.split('?')[1] ?? '');
    return tokenInfo(form.get('access_token') ?? query.get('access_token') ?? '', o);
  }
  const plan = o.faults.plan({ kind: 'token', streams: false });
  await pause(o.clock, plan, o.signal);
  if (plan.answer !== undefined) return errorAnswer(plan.answer, NOWHERE);
  const grant = form.get('grant_type');
  if (grant === 'refresh_token') {
    const caller = o.tokens.callerOfRefreshToken(form.get('refresh_token') ?? '');
    if (caller === undefined) return refused('invalid_grant', 'Token has been expired or revoked.');
    // gcloud wants every scope back that it had before.
    return granted(caller, { scope: form.get('scope') ?? SCOPES.join(' '), id_token: idToken(caller) }, o.tokens);
  }
  if (grant === JWT_BEARER) {
    const caller = o.tokens.callerOfAssertion(form.get('assertion') ?? '');
    if (caller === 'bad signature') return refused('invalid_grant', 'Invalid JWT Signature.');
    if (caller === 'bad time') return errorAnswer('token-clock-skewed', NOWHERE);
    return granted(caller, {}, o.tokens);
  }
  if (grant === TOKEN_EXCHANGE) {
    const caller = o.tokens.callerOfSubjectToken(form.get('subject_token') ?? '');
    if (caller === undefined)
      return refused('invalid_grant', 'The given credential is rejected by the attribute condition.');
    return granted(caller, { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }, o.tokens);
  }
  return refused('unsupported_grant_type', `Invalid grant_type: ${grant ?? ''}`);
}

function granted(caller: Caller, more: Readonly<Record<string, string>>, tokens: Tokens): Answer {
  const { accessToken } = tokens.issue({ user: caller.user, groups: caller.groups, expiresInSeconds: TOKEN_SECONDS });
  return jsonAnswer({
    access_token: accessToken,
    // Google hands out one second less than it means.
    expires_in: TOKEN_SECONDS - 1,
    ...more,
    token_type: 'Bearer',
  });
}

/** Says who it is, as Google's does. Nobody checks its signature, which is none. */
function idToken({ user }: Caller): string {
  const parts = [{ alg: 'RS256' }, { email: user, email_verified: true }, {}];
  return parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
}

function tokenInfo(accessToken: string, o: { tokens: Tokens; clock: Clock }): Answer {
  const caller = o.tokens.callerOf(`Bearer ${accessToken}`);
  const expiresAt = o.tokens.expiresAt(accessToken);
  if (caller === undefined || expiresAt === undefined) return refused('invalid_token', 'Invalid Value');
  const seconds = Math.floor((expiresAt - o.clock.now()) / 1000);
  return jsonAnswer({
    email: caller.user,
    email_verified: 'true',
    scope: SCOPES.join(' '),
    expires_in: String(seconds),
  });
}

function refused(error: string, description: string): Answer {
  return jsonAnswer({ error, error_description: description }, 400);
}
