import { CodedError } from '../base/errors.js';

/** Where a membership's Kubernetes API lives behind the gateway. */
export interface UpstreamAddress {
  /** `https://host[:port]`, the key of a connection pool. */
  readonly origin: string;
  readonly secure: boolean;
  readonly hostname: string;
  readonly port: number;
  /** As the Host header carries it. */
  readonly host: string;
  /** Put in front of every request target; no slash at its end. */
  readonly pathPrefix: string;
}

/** Reads an endpoint such as `https://connectgateway.googleapis.com/v1/projects/1/locations/global/memberships/m`. */
export function upstreamAddress(endpoint: string): UpstreamAddress {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (
    url === undefined ||
    (url.protocol !== 'https:' && url.protocol !== 'http:') ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    throw new CodedError({
      code: 'endpoint-malformed',
      message: `the endpoint ${JSON.stringify(endpoint)} is not an http(s) URL without query; set memberships[].endpoint to one`,
      answer: { status: 502, reason: 'BadGateway' },
    });
  }
  const secure = url.protocol === 'https:';
  return {
    origin: url.origin,
    secure,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    host: url.host,
    pathPrefix: url.pathname.replace(/\/+$/, ''),
  };
}
