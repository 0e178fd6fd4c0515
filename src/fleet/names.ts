import { distance } from 'fastest-levenshtein';

export interface MembershipPath {
  /** Project id or number, as written. */
  readonly project: string;
  readonly location: string;
  readonly id: string;
}

/** Of `projects/P/locations/L/memberships/M`; undefined for anything else. */
export function parseMembershipName(name: string): MembershipPath | undefined {
  const match = /^projects\/([^/]+)\/locations\/([^/]+)\/memberships\/([^/]+)$/.exec(name);
  if (match === null) return undefined;
  const [, project = '', location = '', id = ''] = match;
  return { project, location, id };
}

export function formatMembershipName({ project, location, id }: MembershipPath): string {
  return `projects/${project}/locations/${location}/memberships/${id}`;
}

/** `https://us-central1-connectgateway.googleapis.com`; the global location has no prefix. */
export function gatewayHost(location: string, universe: string): string {
  return `https://${location === 'global' ? '' : `${location}-`}connectgateway.${universe}`;
}

/** The URL that gcloud writes for a membership (gateway-facts 1.1), for when generateCredentials cannot be asked. */
export function endpointByFormula(path: MembershipPath, options: { gke: boolean; universe: string }): string {
  const collection = options.gke ? 'gkeMemberships' : 'memberships';
  const host = gatewayHost(path.location, options.universe);
  return `${host}/v1/projects/${path.project}/locations/${path.location}/${collection}/${path.id}`;
}

/**
 * The shortest name that is unique: the id, else with the location, else with the project as well. Taken names are
 * never given out.
 */
export function uniqueAliases(
  memberships: readonly (MembershipPath & { readonly name: string })[],
  taken: ReadonlySet<string>,
): Map<string, string> {
  const forms = [
    (path: MembershipPath) => path.id,
    (path: MembershipPath) => `${path.id}-${path.location}`,
    (path: MembershipPath) => `${path.id}-${path.location}-${path.project}`,
  ];
  const aliases = new Map<string, string>();
  const used = new Set(taken);
  let left = memberships;
  for (const form of forms) {
    const count = new Map<string, number>();
    for (const path of left) count.set(form(path), (count.get(form(path)) ?? 0) + 1);
    const next: (typeof memberships)[number][] = [];
    for (const path of left) {
      const alias = form(path);
      if (count.get(alias) === 1 && !used.has(alias)) {
        aliases.set(path.name, alias);
        used.add(alias);
      } else {
        next.push(path);
      }
    }
    left = next;
  }
  for (const path of left) aliases.set(path.name, path.name.replaceAll('/', '-'));
  return aliases;
}

/** At most three of `names` that `wanted` may have meant, the nearest first: a slip of the keys, or a part of a name. */
export function closestNames(wanted: string, names: readonly string[]): string[] {
  const typed = wanted.toLowerCase();
  return names
    .map((name) => ({ name, slips: distance(typed, name.toLowerCase()) }))
    .filter(({ name, slips }) => slips <= Math.max(1, typed.length / 3) || isPart(typed, name.toLowerCase()))
    .sort((a, b) => a.slips - b.slips || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name);
}

/** Two letters are part of nearly everything. */
function isPart(typed: string, name: string): boolean {
  const [shorter, longer] = typed.length < name.length ? [typed, name] : [name, typed];
  return shorter.length > 2 && longer.includes(shorter);
}
