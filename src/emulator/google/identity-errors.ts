import { type Answer, googleError, jsonAnswer } from './answers.js';

interface IdentityError {
  /** One line for people who choose a fault. */
  readonly about: string;
  answer(): Answer;
}

/** How the token endpoint (`match: token`) and the IAM Credentials API (`match: control`) refuse. Texts are as reported. */
export const IDENTITY_ERRORS = {
  'iamcredentials-disabled': {
    about: 'the IAM Credentials API is not enabled in the project',
    answer: () =>
      googleError(
        403,
        'PERMISSION_DENIED',
        'IAM Service Account Credentials API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123456789012 then retry.',
      ),
  },
  'service-account-missing': {
    about: 'iamcredentials knows no such service account',
    answer: () => googleError(404, 'NOT_FOUND', 'Not found; Gaia id not found for email'),
  },
  'token-access-blocked': {
    about: "token endpoint: the organisation's context-aware access refuses the machine",
    answer: () => oauthError({ error: 'access_denied', error_description: 'Account restricted' }),
  },
  'token-clock-skewed': {
    about: 'token endpoint: an assertion whose times are not of now',
    answer: () =>
      oauthError({
        error: 'invalid_grant',
        error_description:
          'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
      }),
  },
  'token-key-deleted': {
    about: 'token endpoint: an assertion by a key that was deleted',
    answer: () => oauthError({ error: 'invalid_grant', error_description: 'Invalid JWT Signature.' }),
  },
  'token-reauthentication': {
    about: 'token endpoint: the person has to prove who they are again (invalid_rapt)',
    answer: () =>
      oauthError({
        error: 'invalid_grant',
        error_description: 'reauth related error (invalid_rapt)',
        error_uri: 'https://support.google.com/a/answer/9368756',
        error_subtype: 'invalid_rapt',
      }),
  },
  'token-revoked': {
    about: 'token endpoint: the login was revoked, or has expired',
    answer: () => oauthError({ error: 'invalid_grant', error_description: 'Token has been expired or revoked.' }),
  },
  'token-subject-expired': {
    about: 'token endpoint: the token of a workload that is to be exchanged has expired',
    answer: () =>
      oauthError({ error: 'invalid_grant', error_description: 'ID Token issued at 1 is stale to sign-in.' }),
  },
  'token-unavailable': {
    about: 'token endpoint: it fails by itself, with a 503',
    answer: () => oauthError({ error: 'internal_failure' }, 503),
  },
} as const satisfies Readonly<Record<string, IdentityError>>;

export type IdentityErrorName = keyof typeof IDENTITY_ERRORS;

function oauthError(error: Readonly<Record<string, string>>, status = 400): Answer {
  return jsonAnswer(error, status);
}
