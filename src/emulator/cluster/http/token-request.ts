import { randomBytes } from 'node:crypto';
import { invalid } from '../api-error.js';
import type { Dict, KubeObject } from '../json.js';
import { clone, dict, strings, timestamp } from '../json.js';

const DEFAULT_SECONDS = 3600;
const LEAST_SECONDS = 600;
const ISSUER = 'https://emulator.invalid';

/**
 * The answer to a TokenRequest: a token of the form that API servers issue. Its signature is nobody's, for the gateway
 * before this cluster takes Google's tokens alone.
 */
export function tokenRequest(account: KubeObject, asked: Dict, now: number): Dict {
  const { name, namespace = '', uid = '' } = account.metadata;
  const spec = dict(asked['spec']);
  const wanted = spec['expirationSeconds'];
  const seconds = typeof wanted === 'number' ? wanted : DEFAULT_SECONDS;
  if (seconds < LEAST_SECONDS) {
    const message = `Invalid value: ${seconds}: may not specify a duration less than 10 minutes`;
    const about = { group: 'authentication.k8s.io', kind: 'TokenRequest', plural: 'tokenrequests' };
    throw invalid(about, '', [{ reason: 'FieldValueInvalid', field: 'spec.expirationSeconds', message }]);
  }
  const audiences = strings(spec['audiences']).length === 0 ? [ISSUER] : strings(spec['audiences']);
  const issuedAt = Math.floor(now / 1000);
  const claims = {
    ...{ aud: audiences, exp: issuedAt + seconds, iat: issuedAt, iss: ISSUER, nbf: issuedAt },
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
    sub: `system:serviceaccount:${namespace}:${name}`,
  };
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = [part({ alg: 'RS256', kid: 'emulator' }), part(claims), randomBytes(32).toString('base64url')].join(
    '.',
  );
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: timestamp(now) },
    spec: { ...clone(spec), audiences, expirationSeconds: seconds },
    status: { token, expirationTimestamp: timestamp((issuedAt + seconds) * 1000) },
  };
}
