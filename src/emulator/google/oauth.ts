import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../base/clock.js';
import type { Caller } from '../cluster-backend.js';
import { type Answer, jsonAnswer } from './answers.js';
import { readText } from './http-body.js';
import { TOKEN_SECONDS, type Tokens } from './tokens.js';

const TOKEN_PATHS: ReadonlySet<string> = new Set(['/token', '/oauth2/v4/token']);
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

/** The OAuth token endpoint and tokeninfo, which take no bearer token; undefined for every other path. */
export async function answerOAuth(
  request: IncomingMessage,
  path: string,
  o: { tokens: Tokens; clock: Clock },
): Promise<Answer | undefined> {
  const isToken = TOKEN_PATHS.has(path) && request.method === 'POST';
  const isInfo = path === '/tokeninfo' || path === '/oauth2/v3/tokeninfo';
  if (!isToken && !isInfo) return undefined;
  const form = new URLSearchParams(isToken || request.method === 'POST' ? await readText(request) : '');
  if (isInfo) {
    const query = new URLSearchParams(request.url?.split('?')[1] ?? '');
    return tokenInfo(form.get('access_token') ?? query.get('access_token') ?? '', o);
  }
  const grant = form.get('grant_type');
  if (grant === 'refresh_token') {
    const caller = o.tokens.callerOfRefreshToken(form.get('refresh_token') ?? '');
    if (caller === undefined) return refused('invalid_grant', 'Token has been expired or revoked.');
    // gcloud wants every scope back that it had before.
    return granted(caller, form.get('scope') ?? SCOPES.join(' '), o.tokens);
  }
  if (grant === JWT_BEARER) {
    const caller = o.tokens.callerOfAssertion(form.get('assertion') ?? '');
    if (caller === undefined) return refused('invalid_grant', 'Invalid JWT Signature.');
    return granted(caller, undefined, o.tokens);
  }
  return refused('unsupported_grant_type', `Invalid grant_type: ${grant ?? ''}`);
}

function granted(caller: Caller, scope: string | undefined, tokens: Tokens): Answer {
  const { accessToken } = tokens.issue({ user: caller.user, groups: caller.groups, expiresInSeconds: TOKEN_SECONDS });
  return jsonAnswer({
    access_token: accessToken,
    // Google hands out one second less than it means.
    expires_in: TOKEN_SECONDS - 1,
    ...(scope === undefined ? {} : { scope }),
    token_type: 'Bearer',
  });
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
