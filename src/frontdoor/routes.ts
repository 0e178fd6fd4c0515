import { CodedError } from '../base/errors.js';
import { assertSafeTarget } from './request-shape.js';

/** Where a request target of the hub leads. */
export type HubRoute =
  | { readonly kind: 'own'; readonly path: string; readonly query: URLSearchParams }
  | {
      readonly kind: 'membership';
      readonly project: string;
      readonly location: string;
      readonly id: string;
      /** What remains below the membership: begins with `/`, raw. */
      readonly target: string;
    };

/** As gcloud writes them: both collections, every API version. Raw, so that what follows stays byte for byte. */
const MEMBERSHIP_PATH =
  /^\/v1(?:alpha1|beta1)?\/projects\/([^/?]+)\/locations\/([^/?]+)\/(?:memberships|gkeMemberships)\/([^/?]+)(\/[^?]*)?(\?.*)?$/;

/** Throws a CodedError: 400 for a target that is refused, 404 for one that leads nowhere. */
export function hubRoute(target: string): HubRoute {
  assertSafeTarget(target);
  if (target.startsWith('/-/')) {
    const url = new URL(target, 'http://hub');
    return { kind: 'own', path: url.pathname, query: url.searchParams };
  }
  const match = MEMBERSHIP_PATH.exec(target);
  if (match === null) {
    throw new CodedError({
      code: 'path-unknown',
      message:
        'connect-gateway-proxy: the hub serves /v1/projects/P/locations/L/memberships/M/... and its own API under /-/; each membership also has a port of its own (connect-gateway-proxy memberships)',
      answer: { status: 404, reason: 'NotFound' },
    });
  }
  const [, project = '', location = '', id = '', path = '/', query = ''] = match;
  const below = `${path}${query}`;
  assertSafeTarget(below);
  return { kind: 'membership', project, location, id, target: below };
}

/** Takes a target of the plain HTTP listener apart. Throws a CodedError (400) for one that is refused. */
export function plainRoute(target: string): { secret: string; target: string } {
  assertSafeTarget(target);
  const [, secret = '', path = '/', query = ''] = /^\/([^/?]*)(\/[^?]*)?(\?.*)?$/.exec(target) ?? [];
  const below = `${path}${query}`;
  assertSafeTarget(below);
  return { secret, target: below };
}
