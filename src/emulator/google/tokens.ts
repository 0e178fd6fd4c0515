import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import type { Caller } from '../cluster-backend.js';

export interface IssuedToken {
  readonly accessToken: string;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

/** Google's own lifetime of an access token. */
export const TOKEN_SECONDS = 3600;
const DAY_SECONDS = 24 * 3600;
/** How wrong the clock of a signer may be. */
const SKEW_SECONDS = 300;

/** Every credential of the emulator: random, so that only who was given one gets in, and forgotten at exit. */
export class Tokens {
  readonly #clock: Clock;
  readonly #access = new Map<string, { readonly caller: Caller; readonly expiresAt: number }>();
  readonly #refresh = new Map<string, Caller>();
  readonly #serviceAccounts = new Map<string, string>();
  readonly #subjects = new Map<string, Caller>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  issue(o: { user: string; groups?: readonly string[]; expiresInSeconds?: number }): IssuedToken {
    const accessToken = `ya29.emulator-${randomBytes(24).toString('base64url')}`;
    const expiresAt = this.#clock.now() + (o.expiresInSeconds ?? DAY_SECONDS) * 1000;
    this.#forgetOld();
    this.#access.set(accessToken, { caller: { user: o.user, groups: o.groups ?? [] }, expiresAt });
    return { accessToken, expiresAt };
  }

  /** An access token that nobody is admitted with from now on. */
  revoke(accessToken: string): void {
    this.#access.delete(accessToken);
  }

  issueRefreshToken(caller: { user: string; groups?: readonly string[] }): string {
    const token = `1//emulator-${randomBytes(24).toString('base64url')}`;
    this.#refresh.set(token, { user: caller.user, groups: caller.groups ?? [] });
    return token;
  }

  /** A token of a workload's own provider, for the exchange at `/v1/token`. */
  issueSubjectToken(caller: { user: string; groups?: readonly string[] }): string {
    const token = `workload-${randomBytes(24).toString('base64url')}`;
    this.#subjects.set(token, { user: caller.user, groups: caller.groups ?? [] });
    return token;
  }

  callerOfSubjectToken(token: string): Caller | undefined {
    return this.#subjects.get(token);
  }

  /** Whose bearer token it is, if it is one of ours and still good. */
  callerOf(authorization: string | undefined): Caller | undefined {
    const bearer = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (bearer === undefined) return undefined;
    const known = this.#access.get(bearer);
    if (known === undefined || known.expiresAt <= this.#clock.now()) return undefined;
    return known.caller;
  }

  expiresAt(accessToken: string): number | undefined {
    return this.#access.get(accessToken)?.expiresAt;
  }

  callerOfRefreshToken(token: string): Caller | undefined {
    return this.#refresh.get(token);
  }

  /** A key file as `gcloud iam service-accounts keys create` writes it. Its assertions are checked against the key. */
  createServiceAccountKey(o: { email: string; projectId: string; tokenUri: string }): Record<string, string> {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const keyId = randomBytes(20).toString('hex');
    this.#serviceAccounts.set(o.email, publicKey);
    return {
      type: 'service_account',
      project_id: o.projectId,
      private_key_id: keyId,
      private_key: privateKey,
      client_email: o.email,
      client_id: '1',
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: o.tokenUri,
    };
  }

  /** Whose signed JWT it is (RS256, by a key of ours), or what is wrong with it. */
  callerOfAssertion(assertion: string): Caller | 'bad signature' | 'bad time' {
    const [head = '', claims = '', signature = ''] = assertion.split('.');
    const { iss, iat, exp } = decodePart(claims);
    if (decodePart(head)['alg'] !== 'RS256' || typeof iss !== 'string') return 'bad signature';
    const key = this.#serviceAccounts.get(iss);
    if (key === undefined) return 'bad signature';
    const signed = Buffer.from(`${head}.${claims}`);
    const good = verify('RSA-SHA256', signed, createPublicKey(key), Buffer.from(signature, 'base64url'));
    if (!good) return 'bad signature';
    const now = this.#clock.now() / 1000;
    const timely =
      typeof iat === 'number' &&
      typeof exp === 'number' &&
      iat <= now + SKEW_SECONDS &&
      exp > now - SKEW_SECONDS &&
      exp - iat <= TOKEN_SECONDS + SKEW_SECONDS;
    return timely ? { user: iss, groups: [] } : 'bad time';
  }

  #forgetOld(): void {
    const now = this.#clock.now();
    for (const [token, { expiresAt }] of this.#access) if (expiresAt <= now) this.#access.delete(token);
  }
}

function decodePart(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
