import { CodedError } from '../base/errors.js';

/** Why there is no token. Each has its own code, because each has another person or command to mend it. */
export type CredentialsErrorCode =
  /** No login, key or metadata server. */
  | 'credentials-missing'
  | 'credentials-unreadable'
  /** What is exchanged for tokens has come to its end by time. */
  | 'credentials-expired'
  /** Somebody has ended the login, or deleted the key or the account. */
  | 'credentials-revoked'
  /** The login is good, and Google wants the person to prove who they are again. */
  | 'reauthentication-required'
  /** An organisation's rule on machines and places. */
  | 'access-blocked'
  | 'clock-skewed'
  /** A program would have to be run that nobody has allowed. */
  | 'executable-refused'
  | 'gcloud-missing'
  | 'identity-invalid'
  | 'iamcredentials-disabled'
  | 'impersonation-denied'
  | 'token-file-unusable'
  | 'universe-mismatch'
  /** Nobody's fault that is known: a network, a 5xx, silence. It may pass by itself. */
  | 'token-unavailable';

/** `message` ends in what to type, where a person can do something. */
export function credentialsError(code: CredentialsErrorCode, message: string, cause?: unknown): CodedError {
  return new CodedError({
    code,
    message,
    retry: 'later',
    // Clients repeat after a 503 by themselves, so that all go on when the trouble is over.
    answer: { status: 503, reason: 'ServiceUnavailable' },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** For messages: one line, not too long. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 300);
}
