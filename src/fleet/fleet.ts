import type { Clock } from '../base/clock.js';
import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { mapLimited } from '../base/map-limited.js';
import { DEFAULT_UNIVERSE } from '../credentials/principal.js';
import type { FleetCache, KnownMembership } from './fleet-cache.js';
import { FleetTable, isPinOf, type PinnedMembership } from './fleet-table.js';
import type { HubClient, HubListing, HubMembership } from './hub-client.js';
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
/** Then what has been found so far is served: one slow project or gateway host must not hold up the others. */
const PATIENCE_MS = 5000;

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
  /** Pins hold at once; memberships of new projects come with the refresh, whose report this answers. */
  reconfigure(next: Pick<FleetOptions, 'projects' | 'pinned'>): Promise<RefreshReport>;
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
  /** Of the gateway's hosts. */
  readonly universe: string;
  readonly hub: HubClient;
  readonly cache: FleetCache;
  readonly clock: Clock;
  readonly log: Logger;
}

interface ProjectIds {
  readonly number: string;
  readonly id?: string;
}

class GoogleFleet implements Fleet {
  readonly table: FleetTable;
  #o: FleetOptions;
  readonly #stopping = new AbortController();
  readonly #ids = new Map<string, ProjectIds>();
  /** By the project as configured; under '' what only the configuration names. */
  readonly #found = new Map<string, readonly KnownMembership[]>();
  /** Pins of listed projects that gkehub does not know (any more). */
  readonly #absent = new Set<string>();
  #refreshing: Promise<RefreshReport> | undefined;
  #failuresInARow = 0;
  #cancelNext = (): void => {};

  constructor(options: FleetOptions) {
    this.#o = options;
    this.table = new FleetTable(options);
    for (const entry of options.cache.load()) this.#remember(entry);
    this.#found.set('', this.#byHand());
    this.table.update(this.#known());
  }

  refresh(): Promise<RefreshReport> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async start(): Promise<void> {
    const failed = await this.refresh().then(
      ({ failures }) => failures.length > 0,
      (error: unknown) => {
        this.#o.log.error({}, `refreshing the fleet: ${describeError(error)}`);
        return true;
      },
    );
    if (this.#stopping.signal.aborted) return;
    this.#failuresInARow = failed ? this.#failuresInARow + 1 : 0;
    const pause = failed ? Math.min(REFRESH_MS, FIRST_RETRY_MS * 2 ** (this.#failuresInARow - 1)) : REFRESH_MS;
    this.#cancelNext = this.#o.clock.after(pause, () => void this.start());
  }

  async reconfigure({ projects, pinned }: Pick<FleetOptions, 'projects' | 'pinned'>): Promise<RefreshReport> {
    this.#o = { ...this.#o, projects, pinned };
    for (const project of this.#found.keys()) if (!projects.includes(project)) this.#found.delete(project);
    for (const name of this.#absent) {
      if (!pinned.some((pin) => pin.name === name && pin.endpoint === undefined)) this.#absent.delete(name);
    }
    this.#found.set('', this.#byHand());
    this.table.usePins(pinned);
    this.#publish();
    // One that is under way has not asked for the new projects.
    await this.#refreshing;
    return await this.refresh();
  }

  close(): void {
    this.#stopping.abort(new Error('the daemon is stopping'));
    this.#cancelNext();
  }

  async #refresh(): Promise<RefreshReport> {
    let patient = true;
    const cancel = this.#o.clock.after(PATIENCE_MS, () => {
      patient = false;
      this.#found.set('', this.#byHand({ waitForListings: false }));
      this.#publish();
    });
    const done = (): void => {
      if (!patient) this.#publish();
    };
    try {
      const outcomes = await Promise.all(
        this.#o.projects.map((project) => this.#refreshProject(project).finally(done)),
      );
      this.#found.set('', this.#byHand());
      await this.#locate('');
      this.#publish();
      const known = this.#known();
      if (!this.#stopping.signal.aborted) this.#o.cache.save(known);
      return {
        memberships: known.length,
        unreachable: [...new Set(outcomes.flatMap(({ unreachable }) => unreachable))],
        failures: outcomes.flatMap(({ failure }) => (failure === undefined ? [] : [failure])),
      };
    } finally {
      cancel();
    }
  }

  #publish(): void {
    if (!this.#stopping.signal.aborted) this.table.update(this.#known());
  }

  /** Each once, though a project may be configured by its id and by its number. */
  #known(): readonly KnownMembership[] {
    const byName = new Map<string, KnownMembership>();
    for (const entry of [...this.#o.projects, ''].flatMap((project) => this.#found.get(project) ?? [])) {
      if (!byName.has(entry.name)) byName.set(entry.name, entry);
    }
    return [...byName.values()];
  }

  async #refreshProject(project: string): Promise<{ unreachable: readonly string[]; failure?: string }> {
    const { hub, log, universe } = this.#o;
    const before = this.#found.get(project) ?? [];
    try {
      const [lookUp, listing] = await Promise.all([this.#lookUp(project), hub.list(project, this.#stopping.signal)]);
      const ids = lookUp instanceof Error ? idsWithoutLookUp(project, listing, lookUp) : lookUp;
      if (listing.unreachable.length > 0) {
        const locations = listing.unreachable.join(',');
        log.warn({ project, locations }, 'locations are unreachable: serving what is known');
      }
      const known = new Map([...this.#found.values()].flat().map((entry) => [entry.name, entry]));
      const fresh = listing.memberships.map((membership) => merge(membership, { project, ids, known, universe }));
      const names = new Set(fresh.map(({ name }) => name));
      const lost = before.filter(({ location, name }) => listing.unreachable.includes(location) && !names.has(name));
      const entries = [...fresh, ...lost.map((entry) => ({ ...entry, stale: true }))];
      this.#found.set(project, entries);
      this.#noteAbsentPins({ project, ids, entries, unreachable: listing.unreachable });
      await this.#locate(project);
      return { unreachable: listing.unreachable };
    } catch (error) {
      if (!this.#stopping.signal.aborted) {
        log.warn({ project }, `the fleet could not be listed: ${describeError(error)}`);
      }
      this.#found.set(
        project,
        before.map((entry) => ({ ...entry, stale: true })),
      );
      return { unreachable: [], failure: `project ${project}: ${describeError(error)}` };
    }
  }

  /** Fleet URLs want the number. */
  async #lookUp(project: string): Promise<ProjectIds | Error> {
    const known = this.#ids.get(project);
    if (known !== undefined) return known;
    try {
      const ids = await this.#o.hub.project(project, this.#stopping.signal);
      this.#ids.set(project, ids);
      return ids;
    } catch (error) {
      this.#o.log.warn({ project }, `the project's number could not be looked up: ${describeError(error)}`);
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Asks Google for the endpoints that nobody has told yet. One that fails keeps the formula's. */
  async #locate(project: string): Promise<void> {
    const entries = this.#found.get(project) ?? [];
    const silent = new Set<string>();
    const located = await mapLimited(entries, ENDPOINTS_AT_ONCE, (entry) => this.#withEndpoint(entry, silent));
    this.#found.set(project, located);
  }

  /** `silent` are the locations whose gateway does not answer: a thousand calls would each wait for their deadline. */
  async #withEndpoint(entry: KnownMembership, silent: Set<string>): Promise<KnownMembership> {
    const { clock, hub, pinned, log } = this.#o;
    const teller = tellerOf(this.#o);
    const now = clock.now();
    const settled =
      entry.endpointSource !== 'formula' || pinned.some((pin) => pin.endpoint !== undefined && isPinOf(pin, entry));
    const askedLately = entry.endpointAskedAt !== undefined && now - entry.endpointAskedAt < ASK_ENDPOINT_AGAIN_MS;
    if (settled || askedLately || entry.stale || silent.has(entry.location)) return entry;
    try {
      const endpoint = await hub.endpoint(entry, this.#stopping.signal);
      return {
        ...entry,
        // Of a pin that is listed nowhere this is the only sign of its kind.
        kind: entry.listedUnder === '' ? kindByEndpoint(endpoint) : entry.kind,
        endpoint,
        endpointSource: 'generateCredentials',
        ...(teller === undefined ? {} : { endpointToldBy: teller }),
        endpointAskedAt: now,
      };
    } catch (error) {
      if (this.#stopping.signal.aborted) return entry;
      log.info({ membership: entry.id }, `generateCredentials: ${describeError(error)}; using the URL formula`);
      if (!(error instanceof CodedError) || error.retry === 'never') return { ...entry, endpointAskedAt: now };
      // It may be over in a moment: the next refresh asks again.
      if (error.code === 'google-unreachable' || error.code === 'google-429') silent.add(entry.location);
      return entry;
    }
  }

  /** The pins that no project has brought: added by hand, or not asked for yet because there was no network so far. */
  #byHand({ waitForListings }: { waitForListings: boolean } = { waitForListings: true }): KnownMembership[] {
    const { projects } = this.#o;
    const listed = projects.flatMap((project) => this.#found.get(project) ?? []);
    // A listing brings its pins in a moment, under names, and so with ports and tokens, that they keep.
    const awaited = waitForListings ? projects.filter((project) => !this.#found.has(project)) : [];
    const before = this.#found.get('') ?? [];
    const missing = this.#o.pinned.filter(
      (pin) => !this.#absent.has(pin.name) && !listed.some((entry) => isPinOf(pin, entry)),
    );
    return missing.flatMap((pin) => {
      const path = parseMembershipName(pin.name);
      if (path === undefined || awaited.includes(path.project)) return [];
      const known = before.find((entry) => entry.name === pin.name);
      if (known !== undefined) return [known];
      const gke = path.location !== 'global';
      return [
        {
          ...path,
          name: pin.name,
          listedUnder: '',
          // Nobody has said what it is: only GKE clusters register in regions.
          kind: gke ? ('gke' as const) : ('attached' as const),
          state: 'UNKNOWN',
          endpoint: endpointByFormula(path, { gke, universe: this.#o.universe }),
          endpointSource: 'formula' as const,
          stale: false,
        },
      ];
    });
  }

  /** A pin whose location has answered without it is deleted, unless the configuration says where it is. */
  #noteAbsentPins(heard: {
    project: string;
    ids: ProjectIds;
    entries: readonly KnownMembership[];
    unreachable: readonly string[];
  }): void {
    const ownNames = [heard.project, heard.ids.number, heard.ids.id];
    for (const pin of this.#o.pinned) {
      const path = parseMembershipName(pin.name);
      if (path === undefined || !ownNames.includes(path.project)) continue;
      if (heard.entries.some((entry) => isPinOf(pin, entry))) this.#absent.delete(pin.name);
      else if (pin.endpoint === undefined && !heard.unreachable.includes(path.location)) this.#absent.add(pin.name);
    }
  }

  /** What the configuration no longer names is not served, whatever the cache says. */
  #remember(entry: KnownMembership): void {
    const { projects, pinned, universe } = this.#o;
    const { listedUnder, project, projectId } = entry;
    const configured = listedUnder === '' ? pinned.some((pin) => isPinOf(pin, entry)) : projects.includes(listedUnder);
    if (!configured) return;
    if (listedUnder !== '' && /^\d+$/.test(project)) {
      this.#ids.set(listedUnder, { number: project, ...(projectId === undefined ? {} : { id: projectId }) });
    }
    const entries = this.#found.get(listedUnder) ?? [];
    const told = entry.endpointSource !== 'formula' && entry.endpointToldBy === tellerOf(this.#o);
    this.#found.set(listedUnder, [...entries, told ? entry : byFormula(entry, universe)]);
  }
}

function merge(
  membership: HubMembership,
  {
    project,
    ids,
    known,
    universe,
  }: { project: string; ids: ProjectIds; known: ReadonlyMap<string, KnownMembership>; universe: string },
): KnownMembership {
  const { location, id, kind, state, uniqueId, kubernetesVersion } = membership;
  // One key, however the project was named in the call.
  const name = formatMembershipName({ project: ids.number, location, id });
  const former = known.get(name);
  const before = former?.uniqueId === undefined || former.uniqueId === uniqueId ? former : undefined;
  const told = before?.endpointSource === 'generateCredentials' ? before : undefined;
  return {
    ...{ name, listedUnder: project, project: ids.number, location, id, kind, state },
    ...(ids.id === undefined ? {} : { projectId: ids.id }),
    ...(uniqueId === undefined ? {} : { uniqueId }),
    ...(kubernetesVersion === undefined ? {} : { kubernetesVersion }),
    endpoint:
      told?.endpoint ?? endpointByFormula({ project: ids.number, location, id }, { gke: kind === 'gke', universe }),
    endpointSource: told === undefined ? 'formula' : 'generateCredentials',
    ...(told?.endpointToldBy === undefined ? {} : { endpointToldBy: told.endpointToldBy }),
    ...(before?.endpointAskedAt === undefined ? {} : { endpointAskedAt: before.endpointAskedAt }),
    stale: false,
  };
}

/**
 * Where nobody may look the number up, the listing's names may hold it, or the id has to do. A look-up that only failed
 * for now is waited for: a membership that is renamed later would be another one to everybody.
 */
function idsWithoutLookUp(project: string, listing: HubListing, why: Error): ProjectIds {
  const told = listing.memberships.find((membership) => /^\d+$/.test(membership.project))?.project;
  const number = told ?? (/^\d+$/.test(project) ? project : undefined);
  if (number !== undefined) return number === project ? { number } : { number, id: project };
  if (why instanceof CodedError && why.retry !== 'never') throw why;
  return { number: project, id: project };
}

/** As before anybody told where it is. */
function byFormula(entry: KnownMembership, universe: string): KnownMembership {
  const endpoint = endpointByFormula(entry, { gke: entry.kind === 'gke', universe });
  if (entry.endpointSource === 'formula') return { ...entry, endpoint };
  const { endpointToldBy: _by, endpointAskedAt: _at, ...rest } = entry;
  return { ...rest, endpoint, endpointSource: 'formula' };
}

/** Who is asked for endpoints; undefined for Google itself, where nearly everybody is. */
function tellerOf({ connectgatewayOverride, universe }: FleetOptions): string | undefined {
  return connectgatewayOverride ?? (universe === DEFAULT_UNIVERSE ? undefined : universe);
}

function kindByEndpoint(endpoint: string): KnownMembership['kind'] {
  return endpoint.includes('/gkeMemberships/') ? 'gke' : 'attached';
}
