import { CodedError, describeError, systemCode } from '../base/errors.js';
import { type CredentialsErrorCode, credentialsError, oneLine } from './credentials-error.js';
import type { CredentialsJson } from './credentials-file.js';

/** What Google's answers have told besides what they were asked. */
export interface HeardOfGoogle {
  /** How far this machine's clock is ahead of Google's; negative when behind. */
  clockAheadMs?: number;
  /** HTTP status of the last answer. */
  status?: number;
}

/** Google itself allows a signed assertion about this much. */
const SKEW_MS = 5 * 60_000;

export interface Failed {
  readonly json: CredentialsJson;
  readonly path: string;
  readonly heard: HeardOfGoogle;
  readonly renewal: string;
}

/** The library's error as one that says who must do what. */
export function explainGoogle(error: unknown, { json, path, heard, renewal }: Failed): CodedError {
  if (error instanceof CodedError) return error;
  const { code, subtype, text } = toldBy(error);
  const skew = heard.clockAheadMs ?? 0;
  const refuse = (why: CredentialsErrorCode, message: string): CodedError =>
    credentialsError(why, message, withoutPayload(error));
  if (subtype === 'invalid_rapt' || /\b(?:invalid_rapt|reauth)/i.test(text)) {
    return refuse('reauthentication-required', `Google asks for a new login of ${path}; ${renewal}`);
  }
  if (code === 'access_denied' && /account restricted/i.test(text)) {
    return refuse(
      'access-blocked',
      `your organisation's context-aware access does not let the login of ${path} in from this machine; see why in the browser of a managed device; run: gcloud auth application-default login`,
    );
  }
  if (code !== 'invalid_grant' && !/invalid_grant/.test(text)) {
    const network = systemCode(error);
    const reason = network === undefined || text.includes(network) ? text : `${text} (${network})`;
    const status = heard.status !== undefined && heard.status >= 400 ? `HTTP ${heard.status}: ` : '';
    return refuse('token-unavailable', `no token for the credentials file ${path}: ${status}${reason}`);
  }
  const signed = json.type === 'service_account';
  if (signed && (Math.abs(skew) > SKEW_MS || /reasonable timeframe|short-lived|\biat\b|\bexp\b/i.test(text))) {
    return refuse('clock-skewed', `Google refused what ${path} has signed because of its time; ${skewText(skew)}`);
  }
  // Google says of the refresh tokens of people one thing for both: "expired or revoked".
  if (!/revoked/i.test(text) && /expired|\bstale\b/i.test(text)) {
    return refuse('credentials-expired', `what ${path} is exchanged for has expired (${text}); ${renewal}`);
  }
  return refuse('credentials-revoked', `Google refused ${path} as expired or revoked (${text}); ${renewal}`);
}

function skewText(aheadMs: number): string {
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  const off =
    minutes === 0 ? '' : `this machine's clock is ${minutes} minutes ${aheadMs > 0 ? 'ahead of' : 'behind'} Google's: `;
  return `${off}set it; run: sudo timedatectl set-ntp true`;
}

function toldBy(error: unknown): { code: string; subtype: string; text: string } {
  const data = (error as { response?: { data?: Record<string, unknown> } } | undefined)?.response?.data;
  const field = (name: string): string => {
    const value = data?.[name];
    return typeof value === 'string' ? value : '';
  };
  const [code, description] = [field('error'), field('error_description')];
  const text = code === '' ? describeError(error) : description === '' ? code : `${code}: ${description}`;
  return { code, subtype: field('error_subtype'), text: oneLine(text) };
}

/** The library's errors hold the whole request, with refresh tokens in it; a crash report would print that. */
function withoutPayload(error: unknown): Error {
  const code = systemCode(error);
  const bare = new Error(oneLine(describeError(error)));
  return code === undefined ? bare : Object.assign(bare, { code });
}
