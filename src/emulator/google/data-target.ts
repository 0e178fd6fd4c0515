/** A request target of the data path, taken apart without changing a byte. */
export interface DataTarget {
  /** Project number or id, as written. */
  readonly project: string;
  readonly location: string;
  readonly collection: 'memberships' | 'gkeMemberships';
  readonly membership: string;
  /** What the cluster's API server sees; begins with `/`. */
  readonly target: string;
}

const DATA_PATH =
  /^\/v1(?:beta1|alpha1)?\/projects\/([^/?]+)\/locations\/([^/?]+)\/(memberships|gkeMemberships)\/([^/?:]+)([/?].*)?$/s;

/** Undefined for anything else: `.../memberships/m` with nothing behind it is the hub's own resource. */
export function parseDataTarget(target: string): DataTarget | undefined {
  const [, project = '', location = '', collection = '', membership = '', rest = ''] = DATA_PATH.exec(target) ?? [];
  if (collection !== 'memberships' && collection !== 'gkeMemberships') return undefined;
  if (collection === 'memberships' && !rest.startsWith('/')) return undefined;
  return { project, location, collection, membership, target: rest.startsWith('/') ? rest : `/${rest}` };
}
