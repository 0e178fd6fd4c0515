import { type Clock, sleep } from '../base/clock.js';
import { type CodedError, describeError } from '../base/errors.js';
import { shellQuoted } from '../base/shell-quoted.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import { credentialsError, oneLine } from './credentials-error.js';
import { SCOPES } from './google.js';
import { iamMember } from './principal.js';
import type { AccessToken, Credentials, TokenSource } from './token-source.js';

/** The longest that Google grants without an organisation policy. */
const DEFAULT_LIFETIME_SECONDS = 3600;
const MAX_ANSWER_BYTES = 256 * 1024;
/** Date headers are in whole seconds, and on their way for a while. */
const NO_SKEW_MS = 10_000;
/** IAM's own short troubles: a first request must not fail of them. */
const RETRIES = 3;
const FIRST_PAUSE_MS = 200;

export interface ImpersonationOptions {
  /** Who begins; its tokens never leave for the gateway. */
  readonly base: TokenSource;
  /** Service accounts: each is asked for by the one before it, and the last is who we become. */
  readonly chain: readonly string[];
  readonly quotaProject?: string;
  readonly lifetimeSeconds?: number;
  /** Of the IAM Credentials API. */
  readonly endpoint: string;
  readonly dispatcher: DispatcherSource;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
}

/** Tokens of a service account that is reached through others, by iamcredentials' generateAccessToken. */
export function impersonatedCredentials(options: ImpersonationOptions): Credentials {
  const { base, chain, quotaProject } = options;
  return {
    principal: {
      ...base.principal,
      chain: [...base.principal.chain, ...chain],
      ...(quotaProject === undefined ? {} : { quotaProject }),
    },
    origin: base.origin,
    renewal: base.renewal,
    async fetch(signal) {
      let token = await base.get(signal);
      let answer = await mint(options, { token, hops: chain, signal });
      if (answer.kind === 'refused' && answer.status === 401) {
        base.invalidate(token);
        token = await base.get(signal);
        answer = await mint(options, { token, hops: chain, signal });
      }
      if (answer.kind === 'token') return answer.token;
      throw await explain(options, { token, answer, signal });
    },
  };
}

interface Refused {
  readonly kind: 'refused';
  /** HTTP status. */
  readonly status: number;
  /** With the status, for people. */
  readonly message: string;
}

type Minted = { readonly kind: 'token'; readonly token: AccessToken } | Refused;

interface Hops {
  readonly token: AccessToken;
  readonly hops: readonly string[];
  readonly signal: AbortSignal;
}

/** Asks again where IAM itself has failed. */
async function mint(options: ImpersonationOptions, call: Hops): Promise<Minted> {
  const { clock, random = Math.random } = options;
  for (let retries = 0; ; retries++) {
    const minted = await mintOnce(options, call);
    const passing = minted.kind === 'refused' && (minted.status === 429 || minted.status >= 500);
    if (!passing || retries === RETRIES) return minted;
    await sleep(clock, FIRST_PAUSE_MS * 2 ** retries * (0.5 + random() / 2), call.signal);
  }
}

async function mintOnce(options: ImpersonationOptions, { token, hops, signal }: Hops): Promise<Minted> {
  const { endpoint, dispatcher, clock, lifetimeSeconds = DEFAULT_LIFETIME_SECONDS } = options;
  const quotaProject = options.quotaProject ?? options.base.principal.quotaProject;
  const target = encodeURIComponent(hops.at(-1) ?? '');
  const delegates = hops.slice(0, -1).map((account) => `projects/-/serviceAccounts/${account}`);
  try {
    const { request } = await loadUndici();
    const { statusCode, headers, body } = await request(
      `${endpoint}/v1/projects/-/serviceAccounts/${target}:generateAccessToken`,
      {
        method: 'POST',
        dispatcher: await dispatcher(),
        signal,
        headers: {
          Authorization: `Bearer ${token.value}`,
          'Content-Type': 'application/json',
          ...(quotaProject === undefined ? {} : { 'X-Goog-User-Project': quotaProject }),
        },
        body: JSON.stringify({ delegates, scope: SCOPES, lifetime: `${lifetimeSeconds}s` }),
      },
    );
    let text = '';
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > MAX_ANSWER_BYTES) break;
    }
    // The answer names a time of Google's clock, and this machine's may be another.
    const ahead = clock.now() - Date.parse(String(headers['date']));
    return parseAnswer(statusCode, text, Math.abs(ahead) > NO_SKEW_MS ? ahead : 0);
  } catch (error) {
    signal.throwIfAborted();
    throw unavailable(`no answer from ${new URL(endpoint).host}: ${describeError(error)}`);
  }
}

function parseAnswer(status: number, text: string, clockAheadMs: number): Minted {
  let json: { accessToken?: unknown; expireTime?: unknown; error?: { message?: unknown } } = {};
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    // Told by its status.
  }
  if (status === 200 && typeof json.accessToken === 'string' && json.accessToken !== '') {
    const value = json.accessToken;
    const expiresAt = typeof json.expireTime === 'string' ? Date.parse(json.expireTime) + clockAheadMs : Number.NaN;
    return { kind: 'token', token: Number.isNaN(expiresAt) ? { value } : { value, expiresAt } };
  }
  const said = typeof json.error?.message === 'string' ? oneLine(json.error.message) : '';
  return { kind: 'refused', status, message: said === '' ? `HTTP ${status}` : `HTTP ${status}: ${said}` };
}

/** Google does not say which hop it is that is not allowed: shorter and shorter chains do. */
async function explain(
  options: ImpersonationOptions,
  o: { token: AccessToken; answer: Refused; signal: AbortSignal },
): Promise<CodedError> {
  const { base, chain } = options;
  const { answer, token, signal } = o;
  if (answer.status === 401) {
    return credentialsError(
      'credentials-revoked',
      `Google does not accept the token of ${askerOf(options, 0)} for the impersonation of ${chain.at(-1)} (${answer.message}); ${base.renewal}`,
    );
  }
  if (answer.status !== 403 && answer.status !== 404) {
    return unavailable(`${chain.at(-1)} cannot be impersonated: ${answer.message}`);
  }
  const project = /IAM Service Account Credentials API has not been used in project (\S+)/.exec(answer.message)?.[1];
  if (project !== undefined) {
    return credentialsError(
      'iamcredentials-disabled',
      `the IAM Credentials API, which impersonation needs, is not enabled in project ${project}; run: gcloud services enable iamcredentials.googleapis.com --project=${project}`,
    );
  }
  const { hop, told } = await failingHop(options, { token, answer, signal });
  const target = chain[hop] ?? '';
  const asker = askerOf(options, hop);
  const place = `hop ${hop + 1} of ${chain.length} of the impersonation fails`;
  if (told.status === 404) {
    return credentialsError(
      'impersonation-denied',
      `${place}: there is no service account ${target} (${told.message}); correct identities.*.impersonate, and to see which there are, run: gcloud iam service-accounts list`,
    );
  }
  const member = iamMember(asker) ?? 'MEMBER';
  const role = member.startsWith('principal')
    ? 'roles/iam.workloadIdentityUser'
    : 'roles/iam.serviceAccountTokenCreator';
  return credentialsError(
    'impersonation-denied',
    `${place}: ${asker} may not become ${target} (${told.message}); run: ` +
      `gcloud iam service-accounts add-iam-policy-binding ${target} --member=${shellQuoted(member)} --role=${role}`,
  );
}

/** The shortest beginning of the chain that is refused ends in the hop that fails. */
async function failingHop(
  options: ImpersonationOptions,
  { token, answer, signal }: { token: AccessToken; answer: Refused; signal: AbortSignal },
): Promise<{ hop: number; told: Refused }> {
  const { chain } = options;
  for (let length = 1; length < chain.length; length++) {
    const shorter = await mint(options, { token, hops: chain.slice(0, length), signal });
    if (shorter.kind === 'refused' && (shorter.status === 403 || shorter.status === 404)) {
      return { hop: length - 1, told: shorter };
    }
  }
  return { hop: chain.length - 1, told: answer };
}

/** Who asks for the service account at this place of the chain. */
function askerOf({ base, chain }: ImpersonationOptions, hop: number): string {
  if (hop > 0) return chain[hop - 1] ?? '';
  return base.principal.chain.at(-1) ?? base.snapshot().account ?? base.principal.account;
}

function unavailable(message: string): CodedError {
  return credentialsError('token-unavailable', message);
}
