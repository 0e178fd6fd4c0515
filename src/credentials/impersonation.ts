import { type Dispatcher, request } from 'undici';
import { CodedError, describeError } from '../base/errors.js';
import type { AccessToken, TokenSource } from './token-source.js';

const SCOPES = [
  'https://www.googleapis.com/auth/cloud-platform',
  // The gateway tells the cluster who is calling by the token's e-mail address.
  'https://www.googleapis.com/auth/userinfo.email',
];
/** The longest that Google grants without an organisation policy. */
const LIFETIME = '3600s';
const MAX_ANSWER_BYTES = 256 * 1024;

export interface ImpersonationOptions {
  /** Who begins; its tokens never leave for the gateway. */
  readonly base: TokenSource;
  /** Service accounts: each is asked for by the one before it, and the last is who we become. */
  readonly chain: readonly string[];
  /** Of the IAM Credentials API. */
  readonly endpoint: string;
  readonly dispatcher: Dispatcher;
}

/** Tokens of a service account that is reached through others, by iamcredentials' generateAccessToken. */
export function impersonatedCredentials(options: ImpersonationOptions): {
  readonly description: string;
  readonly fetch: (signal: AbortSignal, why: { readonly refused: boolean }) => Promise<AccessToken>;
} {
  const { base, chain } = options;
  const target = chain.at(-1) ?? '';
  const through = [base.description, ...chain.slice(0, -1)];
  return {
    description: `${target} (through ${through.join(', ')})`,
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

type Minted =
  | { readonly kind: 'token'; readonly token: AccessToken }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string };

async function mint(
  { endpoint, dispatcher }: ImpersonationOptions,
  { token, hops, signal }: { token: AccessToken; hops: readonly string[]; signal: AbortSignal },
): Promise<Minted> {
  const target = encodeURIComponent(hops.at(-1) ?? '');
  const delegates = hops.slice(0, -1).map((account) => `projects/-/serviceAccounts/${account}`);
  try {
    const { statusCode, body } = await request(
      `${endpoint}/v1/projects/-/serviceAccounts/${target}:generateAccessToken`,
      {
        method: 'POST',
        dispatcher,
        signal,
        headers: { Authorization: `Bearer ${token.value}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ delegates, scope: SCOPES, lifetime: LIFETIME }),
      },
    );
    let text = '';
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > MAX_ANSWER_BYTES) break;
    }
    return parseAnswer(statusCode, text);
  } catch (error) {
    signal.throwIfAborted();
    throw unavailable(`no answer from ${new URL(endpoint).host}: ${describeError(error)}`);
  }
}

function parseAnswer(status: number, text: string): Minted {
  let json: { accessToken?: unknown; expireTime?: unknown; error?: { message?: unknown } } = {};
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    // Told by its status.
  }
  if (status === 200 && typeof json.accessToken === 'string' && json.accessToken !== '') {
    const expiresAt = typeof json.expireTime === 'string' ? Date.parse(json.expireTime) : Number.NaN;
    const value = json.accessToken;
    return { kind: 'token', token: Number.isNaN(expiresAt) ? { value } : { value, expiresAt } };
  }
  const said = typeof json.error?.message === 'string' ? json.error.message.replace(/\s+/g, ' ').slice(0, 300) : '';
  return { kind: 'refused', status, message: said === '' ? `HTTP ${status}` : `HTTP ${status}: ${said}` };
}

/** Google does not say which hop it is that is not allowed: shorter and shorter chains do. */
async function explain(
  options: ImpersonationOptions,
  o: { token: AccessToken; answer: Extract<Minted, { kind: 'refused' }>; signal: AbortSignal },
): Promise<CodedError> {
  const { base, chain } = options;
  const { answer, token, signal } = o;
  if (answer.status !== 403 && answer.status !== 404) {
    return unavailable(`${chain.at(-1)} cannot be impersonated: ${answer.message}`);
  }
  let hop = chain.length - 1;
  let told = answer;
  for (let length = 1; length < chain.length; length++) {
    const shorter = await mint(options, { token, hops: chain.slice(0, length), signal });
    if (shorter.kind === 'token') continue;
    hop = length - 1;
    told = shorter;
    break;
  }
  const target = chain[hop] ?? '';
  const asker = hop === 0 ? base.description : (chain[hop - 1] ?? '');
  const member = asker.includes('@') && !asker.includes(' ') ? memberOf(asker) : 'MEMBER';
  return new CodedError({
    code: 'impersonation-denied',
    message:
      `hop ${hop + 1} of ${chain.length} of the impersonation fails: ${asker} may not become ${target} (${told.message}); run: ` +
      `gcloud iam service-accounts add-iam-policy-binding ${target} --member=${member} --role=roles/iam.serviceAccountTokenCreator`,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
}

function memberOf(principal: string): string {
  return `${principal.endsWith('.gserviceaccount.com') ? 'serviceAccount' : 'user'}:${principal}`;
}

function unavailable(message: string): CodedError {
  return new CodedError({
    code: 'token-unavailable',
    message,
    retry: 'later',
    answer: { status: 503, reason: 'ServiceUnavailable' },
  });
}
