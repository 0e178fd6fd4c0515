import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { FleetCache, KnownMembership } from './fleet-cache.js';
import { FleetTable, isPinOf, type PinnedMembership } from './fleet-table.js';
import type { HubClient, HubMembership } from './hub-client.js';
import type { MembershipTable } from './membership.js';
import { endpointByFormula, formatMembershipName, parseMembershipName } from './names.js';

/** New memberships appear within this time; fleets change rarely, and each refresh costs quota. */
const REFRESH_MS = 5 * 60_000;
/** A refresh that failed is repeated soon: the network may just not be up yet. */
const FIRST_RETRY_MS = 5000;
/** A membership whose endpoint came from the formula is asked about again this often. */
const ASK_ENDPOINT_AGAIN_MS = 60 * 60_000;
/** generateCredentials calls at a time: a large fleet must not burn its quota in one burst. */
const ENDPOINTS_AT_ONCE = 8;

export interface RefreshReport {
  /** How many memberships are served now. */
  readonly memberships: number;
  /** Locations that gkehub could not reach: their last known memberships are served. */
  readonly unreachable: readonly string[];
  /** One line for each project that could not be listed. */
  readonly failures: readonly string[];
}

export interface Fleet {
  readonly table: MembershipTable;
  /** Asks Google once, however many ask at the same time. Never rejects: what failed is in the report. */
  refresh(): Promise<RefreshReport>;
  /** Refreshes now and from time to time. Resolves after the first refresh. */
  start(): Promise<void>;
  close(): void;
}

/** The memberships of the configured projects, and the pinned ones. What was known at the last run is there at once. */
export function createFleet(options: FleetOptions): Fleet {
  return new GoogleFleet(options);
}

export interface FleetOptions {
  readonly projects: readonly string[];
  readonly pinned: readonly PinnedMembership[];
  readonly connectgatewayOverride?: string;
  readonly hub: HubClient;
  readonly cache: FleetCache;
  readonly clock: Clock;
  readonly log: Logger;
}

class GoogleFleet implements Fleet {
  readonly table: FleetTable;
  readonly #o: FleetOptions;
  readonly #stopping = new AbortController();
  readonly #projects = new Map<string, { number: string; id?: string }>();
  #known: readonly KnownMembership[];
  #refreshing: Promise<RefreshReport> | undefined;
  #failuresInARow = 0;
  #cancelNext = (): void => {};

  constructor(options: FleetOptions) {
    this.#o = options;
    this.table = new FleetTable(options.pinned);
    // What the configuration no longer names is not served, whatever the cache says.
    const remembered = options.cache.load().filter((entry) => this.#isConfigured(entry));
    for (const { listedUnder, project, projectId } of remembered) {
      this.#projects.set(listedUnder, { number: project, ...(projectId === undefined ? {} : { id: projectId }) });
    }
    this.#known = [...remembered, ...this.#pinnedWithout(remembered)];
    this.table.update(this.#known);
  }

  refresh(): Promise<RefreshReport> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async start(): Promise<void> {
    const { failures } = await this.refresh();
    if (this.#stopping.signal.aborted) return;
    this.#failuresInARow = failures.length > 0 ? this.#failuresInARow + 1 : 0;
    const retry = Math.min(REFRESH_MS, FIRST_RETRY_MS * 2 ** (this.#failuresInARow - 1));
    this.#cancelNext = this.#o.clock.after(failures.length > 0 ? retry : REFRESH_MS, () => {
      this.start().catch((error: unknown) => this.#o.log.error({}, `refreshing the fleet: ${describeError(error)}`));
    });
  }

  close(): void {
    this.#stopping.abort(new Error('the daemon is stopping'));
    this.#cancelNext();
  }

  async #refresh(): Promise<RefreshReport> {
    const { projects } = this.#o;
    const listings = await Promise.all(projects.map((project) => this.#list(project)));
    const listed = listings.flatMap(({ memberships }) => memberships);
    const found = [...listed, ...this.#pinnedWithout(listed, this.#known)];
    const located = await mapLimited(found, ENDPOINTS_AT_ONCE, (entry) => this.#withEndpoint(entry));
    const failures = listings.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));
    const unreachable = [...new Set(listings.flatMap((listing) => listing.unreachable))];
    if (!this.#stopping.signal.aborted) {
      this.#known = located;
      this.table.update(located);
      this.#o.cache.save(located);
    }
    return { memberships: located.length, unreachable, failures };
  }

  async #list(project: string): Promise<Listing> {
    const { hub, log } = this.#o;
    const old = this.#known.filter((entry) => entry.listedUnder === project);
    try {
      const [ids, listing] = await Promise.all([
        this.#resolveProject(project),
        hub.list(project, this.#stopping.signal),
      ]);
      if (listing.unreachable.length > 0) {
        log.warn(
          { project, locations: listing.unreachable.join(',') },
          'locations are unreachable: serving what is known',
        );
      }
      const lost = old
        .filter((entry) => listing.unreachable.includes(entry.location))
        .filter(
          (entry) => !listing.memberships.some(({ location, id }) => location === entry.location && id === entry.id),
        )
        .map((entry) => ({ ...entry, stale: true }));
      const fresh = listing.memberships.map((membership) => this.#merge(project, ids, membership));
      return { memberships: [...fresh, ...lost], unreachable: listing.unreachable };
    } catch (error) {
      const failure = `project ${project}: ${describeError(error)}`;
      if (!this.#stopping.signal.aborted)
        log.warn({ project }, `the fleet could not be listed: ${describeError(error)}`);
      return { memberships: old.map((entry) => ({ ...entry, stale: true })), unreachable: [], failure };
    }
  }

  #merge(project: string, ids: { number: string; id?: string }, membership: HubMembership): KnownMembership {
    const { location, id, kind, state, uniqueId, kubernetesVersion } = membership;
    // One key, however the project was named in the call.
    const name = formatMembershipName({ project: ids.number, location, id });
    const before = this.#known.find((entry) => entry.name === name && entry.uniqueId === uniqueId);
    const { connectgatewayOverride: override } = this.#o;
    const formula = endpointByFormula(
      { project: ids.number, location, id },
      { gke: kind === 'gke', ...(override === undefined ? {} : { override }) },
    );
    const known = before?.endpointSource === 'generateCredentials' ? before : undefined;
    return {
      ...{ name, listedUnder: project, project: ids.number, location, id, kind, state },
      ...(ids.id === undefined ? {} : { projectId: ids.id }),
      ...(uniqueId === undefined ? {} : { uniqueId }),
      ...(kubernetesVersion === undefined ? {} : { kubernetesVersion }),
      endpoint: known === undefined ? formula : withOrigin(known.endpoint, override),
      endpointSource: known === undefined ? 'formula' : 'generateCredentials',
      ...(before?.endpointAskedAt === undefined ? {} : { endpointAskedAt: before.endpointAskedAt }),
      stale: false,
    };
  }

  /** Fleet URLs want the number. Where nobody may look it up, the id has to do. */
  async #resolveProject(project: string): Promise<{ number: string; id?: string }> {
    const known = this.#projects.get(project);
    if (known !== undefined && /^\d+$/.test(known.number)) return known;
    try {
      const ids = await this.#o.hub.project(project, this.#stopping.signal);
      this.#projects.set(project, ids);
      return ids;
    } catch (error) {
      this.#o.log.warn({ project }, `the project's number could not be looked up: ${describeError(error)}`);
      return /^\d+$/.test(project) ? { number: project } : { number: project, id: project };
    }
  }

  /** The formula's endpoint stays where Google cannot be asked: one bad membership never stops the others. */
  async #withEndpoint(entry: KnownMembership): Promise<KnownMembership> {
    const { clock, hub, pinned, log, connectgatewayOverride } = this.#o;
    const now = clock.now();
    const settled =
      entry.endpointSource !== 'formula' || pinned.some((pin) => pin.endpoint !== undefined && isPinOf(pin, entry));
    const askedLately = entry.endpointAskedAt !== undefined && now - entry.endpointAskedAt < ASK_ENDPOINT_AGAIN_MS;
    if (settled || askedLately || entry.stale) return entry;
    try {
      const endpoint = await hub.endpoint(entry, this.#stopping.signal);
      return {
        ...entry,
        endpoint: withOrigin(endpoint, connectgatewayOverride),
        endpointSource: 'generateCredentials',
        endpointAskedAt: now,
      };
    } catch (error) {
      log.info({ membership: entry.id }, `generateCredentials: ${describeError(error)}; using the URL formula`);
      return { ...entry, endpointAskedAt: now };
    }
  }

  /** Pinned memberships that `listed` lacks: added by hand, or of a project that is not listed. */
  #pinnedWithout(listed: readonly KnownMembership[], before: readonly KnownMembership[] = []): KnownMembership[] {
    const missing = this.#o.pinned.filter((pin) => !listed.some((entry) => isPinOf(pin, entry)));
    return missing.flatMap((pin) => {
      const path = parseMembershipName(pin.name);
      if (path === undefined || this.#o.projects.includes(path.project)) return [];
      const known = before.find((entry) => entry.name === pin.name);
      if (known !== undefined) return [known];
      const { connectgatewayOverride: override } = this.#o;
      // Nobody has said what it is: only GKE clusters register in regions.
      const gke = path.location !== 'global';
      return [
        {
          ...path,
          name: pin.name,
          listedUnder: '',
          kind: gke ? ('gke' as const) : ('attached' as const),
          state: 'UNKNOWN',
          endpoint: endpointByFormula(path, { gke, ...(override === undefined ? {} : { override }) }),
          endpointSource: 'formula' as const,
          stale: false,
        },
      ];
    });
  }

  #isConfigured(entry: KnownMembership): boolean {
    const { projects, pinned } = this.#o;
    return entry.listedUnder === '' ? pinned.some((pin) => isPinOf(pin, entry)) : projects.includes(entry.listedUnder);
  }
}

interface Listing {
  readonly memberships: readonly KnownMembership[];
  readonly unreachable: readonly string[];
  readonly failure?: string;
}

/** An override takes the place of scheme and host; the path is Google's. */
function withOrigin(endpoint: string, override: string | undefined): string {
  return override === undefined ? endpoint : override + new URL(endpoint).pathname;
}

async function mapLimited<T, R>(items: readonly T[], limit: number, act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await act(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}
