import type { KnownMembership } from './fleet-cache.js';
import type { Membership, MembershipChange, MembershipTable } from './membership.js';
import { uniqueAliases } from './names.js';

/** One entry of `memberships:` in the configuration. */
export interface PinnedMembership {
  readonly name: string;
  readonly alias?: string | undefined;
  readonly port?: number | undefined;
  readonly policy?: Membership['policy'] | undefined;
  readonly identity?: string | undefined;
  readonly endpoint?: string | undefined;
}

/** The served memberships: what is known, under the names and settings of the configuration. */
export class FleetTable implements MembershipTable {
  #pinned: readonly PinnedMembership[];
  /** Takes the place of scheme and host of every endpoint that the configuration does not name in full. */
  readonly #override: string | undefined;
  readonly #listeners = new Set<(change: MembershipChange) => void>();
  #memberships: ReadonlyMap<string, Membership> = new Map();

  constructor(options: { pinned: readonly PinnedMembership[]; connectgatewayOverride?: string | undefined }) {
    this.#pinned = options.pinned;
    this.#override = options.connectgatewayOverride?.replace(/\/+$/, '');
  }

  list(): readonly Membership[] {
    return [...this.#memberships.values()];
  }

  get(name: string): Membership | undefined {
    return this.#memberships.get(name);
  }

  onChange(listener: (change: MembershipChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For the next `update`. */
  usePins(pinned: readonly PinnedMembership[]): void {
    this.#pinned = pinned;
  }

  /** Takes over what is known now and tells the listeners what that changes. */
  update(known: readonly KnownMembership[]): void {
    const before = this.#memberships;
    const after = this.#build(known);
    this.#memberships = after;
    const change: { added: Membership[]; changed: Membership[]; removed: Membership[] } = {
      added: [],
      changed: [],
      removed: [],
    };
    for (const old of before.values()) if (isGone(old, after.get(old.name))) change.removed.push(old);
    for (const membership of after.values()) {
      const old = before.get(membership.name);
      if (old === undefined || isGone(old, membership)) change.added.push(membership);
      else if (JSON.stringify(old) !== JSON.stringify(membership)) change.changed.push(membership);
    }
    if (change.added.length + change.changed.length + change.removed.length === 0) return;
    for (const listener of [...this.#listeners]) listener(change);
  }

  /** Pinned ones first, in the configuration's order; then by alias. */
  #build(known: readonly KnownMembership[]): Map<string, Membership> {
    const rows = known.map((entry) => ({ entry, pin: this.#pinned.findIndex((pinned) => isPinOf(pinned, entry)) }));
    const taken = new Set(this.#pinned.flatMap(({ alias }) => (alias === undefined ? [] : [alias])));
    const unnamed = rows.filter(({ pin }) => this.#pinned[pin]?.alias === undefined).map(({ entry }) => entry);
    const aliases = uniqueAliases(
      unnamed.map((entry) => ({ ...entry, project: entry.projectId ?? entry.project })),
      taken,
    );
    const memberships = rows.map(({ entry, pin }) => {
      const pinned = this.#pinned[pin];
      const alias = pinned?.alias ?? aliases.get(entry.name) ?? entry.id;
      return { rank: pin === -1 ? this.#pinned.length : pin, membership: this.#membership(entry, alias, pinned) };
    });
    memberships.sort((a, b) => a.rank - b.rank || (a.membership.alias < b.membership.alias ? -1 : 1));
    return new Map(memberships.map(({ membership }) => [membership.name, membership]));
  }

  #membership(entry: KnownMembership, alias: string, pinned: PinnedMembership | undefined): Membership {
    const { projectId, uniqueId, kubernetesVersion } = entry;
    return {
      name: entry.name,
      project: entry.project,
      ...(projectId === undefined ? {} : { projectId }),
      location: entry.location,
      id: entry.id,
      alias,
      kind: entry.kind,
      state: entry.state,
      ...(uniqueId === undefined ? {} : { uniqueId }),
      ...(kubernetesVersion === undefined ? {} : { kubernetesVersion }),
      endpoint: pinned?.endpoint ?? this.#withOverride(entry.endpoint),
      endpointSource: pinned?.endpoint === undefined ? entry.endpointSource : 'config',
      identity: pinned?.identity ?? 'default',
      policy: this.#policy(entry),
      ...(pinned?.port === undefined ? {} : { port: pinned.port }),
      stale: entry.stale,
    };
  }

  /** The strictest that could be meant: a policy must not be lost because the project's other name is not known. */
  #policy(entry: KnownMembership): Membership['policy'] {
    const asked = this.#pinned.filter((pinned) => mayBePinOf(pinned, entry)).map(({ policy }) => policy);
    return (['read-only', 'no-exec'] as const).find((policy) => asked.includes(policy)) ?? 'full';
  }

  /** The path is Google's. */
  #withOverride(endpoint: string): string {
    return this.#override === undefined ? endpoint : this.#override + new URL(endpoint).pathname;
  }
}

/** The configuration may name the project by id or by number. */
export function isPinOf(
  pinned: { readonly name: string },
  entry: Pick<KnownMembership, 'project' | 'projectId' | 'location' | 'id' | 'name'>,
): boolean {
  if (pinned.name === entry.name) return true;
  const tail = `locations/${entry.location}/memberships/${entry.id}`;
  return [entry.project, entry.projectId].some((project) => pinned.name === `projects/${project}/${tail}`);
}

/** As `isPinOf`, and where the one names the project by id, the other by number, and nobody knows whether it is one. */
function mayBePinOf(
  pinned: { readonly name: string },
  entry: Pick<KnownMembership, 'project' | 'projectId' | 'location' | 'id' | 'name'>,
): boolean {
  if (isPinOf(pinned, entry)) return true;
  const [, project = '', ...tail] = pinned.name.split('/');
  const sameTail = tail.join('/') === `locations/${entry.location}/memberships/${entry.id}`;
  const isNumber = (text: string): boolean => /^\d+$/.test(text);
  const known = [entry.project, entry.projectId ?? entry.project];
  return sameTail && known.every((own) => isNumber(own) !== isNumber(project));
}

/** Deleted, or deleted and made again under the same name: another cluster. */
function isGone(old: Membership, now: Membership | undefined): boolean {
  if (now === undefined) return true;
  return old.uniqueId !== undefined && now.uniqueId !== undefined && old.uniqueId !== now.uniqueId;
}
