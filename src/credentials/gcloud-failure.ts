import type { CodedError } from '../base/errors.js';
import { type CredentialsErrorCode, credentialsError, oneLine } from './credentials-error.js';
import { iamMember } from './principal.js';

export interface GcloudFailed {
  /** Exit code. */
  readonly code: number;
  readonly stderr: string;
  /** Who was asked for, as far as known. */
  readonly account: string;
  /** What a person does about a login, ending in a command. */
  readonly renewal: string;
}

interface Row {
  readonly words: RegExp;
  readonly code: CredentialsErrorCode;
  message(failed: GcloudFailed & { readonly said: string; readonly found: RegExpExecArray }): string;
}

/**
 * What gcloud 528 prints, the first that matches. It says "problem refreshing your current auth tokens" and "gcloud auth
 * login" for everything that goes wrong, a network that is down included.
 */
const ROWS: readonly Row[] = [
  {
    words: /Reauthentication|reauth related|rapt_required/i,
    code: 'reauthentication-required',
    message: ({ account, renewal }) => `Google asks ${account} for a new login (reauthentication); ${renewal}`,
  },
  {
    words: /Context.?Aware Access|Account restricted/i,
    code: 'access-blocked',
    message: ({ account }) =>
      `your organisation's context-aware access does not let ${account} in from this machine; see why in the browser of a managed device; run: gcloud auth login`,
  },
  {
    words: /Failed to impersonate \[([^\]]+)\]/,
    code: 'impersonation-denied',
    message: ({ account, found: [, target] }) =>
      `gcloud may not impersonate ${target} as ${account}; run: gcloud iam service-accounts add-iam-policy-binding ${target} --member=${iamMember(account) ?? 'MEMBER'} --role=roles/iam.serviceAccountTokenCreator`,
  },
  {
    words: /Invalid JWT[^\n]*(?:reasonable timeframe|short-lived)/,
    code: 'clock-skewed',
    message: ({ account }) =>
      `Google refused what the key of ${account} has signed because of its time; set the clock of this machine; run: sudo timedatectl set-ntp true`,
  },
  {
    words: /active account selected|not have any (?:valid|credentialed)|Could not open the configuration file/,
    code: 'credentials-missing',
    message: ({ renewal }) => `gcloud has no login; ${renewal}`,
  },
  {
    words: /Unable to read file \[([^\]]+)\]/,
    code: 'credentials-unreadable',
    message: ({ found: [, file] }) =>
      `gcloud cannot read the file ${file} that auth/access_token_file or auth/credential_file_override names; see where it is named; run: gcloud config list`,
  },
  {
    words: /invalid_grant|expired or revoked/,
    code: 'credentials-revoked',
    message: ({ account, renewal, said }) => `Google refused gcloud's login of ${account} (${said}); ${renewal}`,
  },
  {
    words: /invalid_client|unauthorized_client/,
    code: 'credentials-revoked',
    message: ({ account, renewal, said }) =>
      `Google does not know the client of gcloud's login of ${account} any more (${said}); ${renewal}`,
  },
];

/** gcloud's refusal as an error that says who must do what. */
export function explainGcloud(failed: GcloudFailed): CodedError {
  const said = saidBy(failed.stderr);
  for (const { words, code, message } of ROWS) {
    const found = words.exec(failed.stderr);
    if (found !== null) return credentialsError(code, message({ ...failed, said, found }));
  }
  return credentialsError(
    'token-unavailable',
    `gcloud got no token for ${failed.account} (exit code ${failed.code}): ${said}`,
  );
}

/** The one line that matters, without what gcloud says of every trouble, and without the answer's dump behind it. */
function saidBy(stderr: string): string {
  const line = /ERROR:\s*(?:\([\w.-]+\)\s*)?([^\n]*)/.exec(stderr)?.[1] ?? stderr.trim().split('\n')[0] ?? '';
  const bare = line.replace(/^There was a problem refreshing [^:]*: /, '').replace(/^\('([^']*)', \{.*$/, '$1');
  return oneLine(withoutTokens(bare));
}

/** gcloud names no tokens in its errors; should it ever, they end here. */
function withoutTokens(text: string): string {
  return text.replace(/ya29\.[\w.-]+/g, '[token]').replace(/[\w-]{60,}/g, '[...]');
}
