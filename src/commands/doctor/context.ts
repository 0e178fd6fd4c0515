import { deadline } from '../../base/deadline.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { mapLimited } from '../../base/map-limited.js';
import {
  type ClusterAnswer,
  type ClusterWay,
  type LocalSide,
  openLocalSide,
  wayThroughDaemon,
  wayToGateway,
} from '../../daemon/cluster-way.js';
import { type AccessToken, type EndpointProbe, type GoogleSide, openGoogleSide } from '../../daemon/google-side.js';
import type { Settings } from '../../daemon/settings.js';
import { State } from '../../daemon/state.js';
import { createFleet } from '../../fleet/fleet.js';
import { createFleetCache } from '../../fleet/fleet-cache.js';
import type { HubListing } from '../../fleet/hub-client.js';
import type { CommandIo } from '../io.js';
import { readRecord, type ServiceRecord } from '../service/record.js';
import { endpointUrls } from './endpoint-urls.js';
import { askDaemon, askJson, type DaemonFacts, type Subject } from './facts.js';
import { chooseInForce, type InForce } from './in-force.js';
import { kubeconfigFiles, readKubeconfigs, type SeenKubeconfig } from './kubeconfigs.js';

const PROBE_MS = 6000;
const GOOGLE_MS = 10_000;
const ASK_MS = 10_000;
export const TOKEN_MS = 12_000;
/** Clusters that are asked at a time. */
const AT_ONCE = 16;
/** Of the fleet's requests a minute, what one run may take: others live on it too. */
const QUOTA_PART = 0.25;
/** Questions that all checks together ask a cluster: a round trip, seven reviews, an upgrade. */
export const ASKS_PER_CLUSTER = 9;

/** What gatewayAdmin holds, and what finds the fleet. */
export const PERMISSIONS = [
  ...['get', 'post', 'put', 'patch', 'delete', 'stream', 'generateCredentials'].map((verb) => `gkehub.gateway.${verb}`),
  'gkehub.memberships.list',
] as const;

export interface ContextOptions {
  readonly io: CommandIo;
  /** Throws a UsageError. */
  readonly loadSettings: () => Settings;
  /** The one membership that is meant, by alias, id or full name. */
  readonly wanted?: string;
  /** Where streams are to be opened; that of kubectl's context when absent. */
  readonly namespace?: string;
}

/** What the checks share. Each fact is found out once, when it is first asked for; it rejects for all that ask. */
export class Context {
  readonly io: CommandIo;
  readonly wanted: string | undefined;
  readonly namespace: string | undefined;
  readonly #o: ContextOptions;
  readonly #facts = new Map<string, unknown>();
  readonly #open: { close(): Promise<void> }[] = [];
  /** Titles of the checks that found fault with a membership, by its name. */
  readonly troubled = new Map<string, string>();

  constructor(options: ContextOptions) {
    this.io = options.io;
    this.wanted = options.wanted;
    this.namespace = options.namespace;
    this.#o = options;
  }

  /** Given here: flags, environment and config file. Throws a UsageError. */
  own(): Settings {
    return this.#once('own', () => this.#o.loadSettings());
  }

  /** Throws a UsageError for one that is damaged. */
  state(): State | undefined {
    return this.#once('state', () => State.read(this.own().stateDir));
  }

  daemon(): Promise<DaemonFacts> {
    return this.#once('daemon', () => askDaemon(this.state()));
  }

  /** Throws a CodedError for one that is damaged. */
  service(): ServiceRecord | undefined {
    return this.#once('service', () => readRecord(this.io));
  }

  /** The service that can be started; one that is damaged is as good as none. */
  usableService(): ServiceRecord | undefined {
    try {
      return this.service();
    } catch {
      return undefined;
    }
  }

  inForce(): Promise<InForce> {
    return this.#once('in force', async () =>
      chooseInForce({ own: this.own(), io: this.io, daemon: await this.daemon(), service: this.usableService() }),
    );
  }

  google(): Promise<GoogleSide> {
    return this.#once('google', async () => {
      const { settings, env } = await this.inForce();
      const options = { settings, env, clock: this.io.clock, log: silentLogger, deadlineMs: GOOGLE_MS };
      const google = openGoogleSide(options);
      this.#open.push(google);
      return google;
    });
  }

  /** A token of an identity, where one has been asked for: nobody is asked here. */
  async heldToken(name: string): Promise<string | undefined> {
    const known = this.#facts.get(`token ${name}`) as { value: Promise<AccessToken> } | undefined;
    return await known?.value.then(
      ({ value }) => value,
      () => undefined,
    );
  }

  /** Rejects with a CodedError that says what to type. */
  token(name: string): Promise<AccessToken> {
    return this.#once(`token ${name}`, async () => {
      return await (await this.google()).identity(name).get(deadline(this.io.clock, TOKEN_MS));
    });
  }

  /** Of each endpoint that these settings make the daemon ask. */
  probes(): Promise<EndpointProbe[]> {
    return this.#once('probes', async () => {
      const { settings, env } = await this.inForce();
      const google = await this.google();
      const known = await this.#knownEndpoints();
      const urls = endpointUrls({ settings, env, memberships: known });
      return await Promise.all(urls.map((url) => google.probe(url, deadline(this.io.clock, PROBE_MS))));
    });
  }

  /** As gkehub lists it now. */
  listing(project: string): Promise<HubListing> {
    return this.#once(`listing ${project}`, async () => {
      return await (await this.google()).hub.list(project, deadline(this.io.clock, GOOGLE_MS));
    });
  }

  /** Those of PERMISSIONS that the identity `default` has. */
  permissions(project: string): Promise<readonly string[]> {
    return this.#once(`permissions ${project}`, async () => {
      return await (await this.google()).permissions(project, PERMISSIONS, deadline(this.io.clock, GOOGLE_MS));
    });
  }

  /** Fleet host projects that the settings name, by themselves or in a membership's name. */
  async projects(): Promise<string[]> {
    const { settings } = await this.inForce();
    const pinned = settings.memberships.map(({ name }) => name.split('/')[1] ?? '');
    return [...new Set([...settings.projects, ...(settings.projects.length > 0 ? [] : pinned)])];
  }

  /** Those of the memberships that this run is about. */
  async projectsInQuestion(): Promise<string[]> {
    const every = await this.projects();
    if (this.wanted === undefined) return every;
    const subjects = await this.memberships();
    const named = await Promise.all(subjects.map((subject) => this.projectOf(subject)));
    return named.length === 0 ? every : [...new Set(named)];
  }

  /** As the settings name it, so that each is asked about once. */
  async projectOf({ project, projectId }: Pick<Subject, 'project' | 'projectId'>): Promise<string> {
    const named = await this.projects();
    return named.find((name) => name === project || name === projectId) ?? projectId ?? project;
  }

  /** All that are served, or would be. */
  everyMembership(): Promise<readonly Subject[]> {
    return this.#once('every membership', async () => {
      const daemon = await this.daemon();
      return daemon.kind === 'up' ? daemon.memberships : await this.#fleet();
    });
  }

  /** Those that this run is about: the one that was named, or all. */
  async memberships(): Promise<readonly Subject[]> {
    const every = await this.everyMembership();
    const { wanted } = this;
    if (wanted === undefined) return every;
    const found = every.filter(({ alias, name }) => alias === wanted || name === wanted);
    return found.length > 0 ? found : every.filter(({ id }) => id === wanted);
  }

  /** What kubectl reads, and the file that the daemon keeps. */
  kubeconfigs(): Promise<{ persons: SeenKubeconfig; own: SeenKubeconfig }> {
    return this.#once('kubeconfigs', async () => {
      const { kubeconfigFile } = (await this.inForce()).settings;
      const files = kubeconfigFiles(this.io.env);
      const own = readKubeconfigs([kubeconfigFile]);
      const same = files.length === 1 && files[0] === kubeconfigFile;
      return { own, persons: same ? own : readKubeconfigs(files) };
    });
  }

  /** Whether all checks may ask every cluster that this run is about. */
  async affordable(): Promise<boolean> {
    const { settings } = await this.inForce();
    const count = (await this.memberships()).length;
    return count <= 1 || count * ASKS_PER_CLUSTER <= settings.requests.perMinute * QUOTA_PART;
  }

  /** What each of them answers to a question that everybody may ask, by name. */
  reaches(): Promise<ReadonlyMap<string, ClusterAnswer>> {
    return this.#once('reaches', async () => {
      const subjects = await this.memberships();
      // One for all: dozens that do not answer must not each wait for their own.
      const signal = deadline(this.io.clock, ASK_MS);
      const answers = await mapLimited(subjects, AT_ONCE, async (subject) => {
        return [subject.name, await (await this.way(subject)).ask('/version', { signal })] as const;
      });
      return new Map(answers);
    });
  }

  /** Through the daemon where there is one, since that is the way of every client; else straight to the gateway. */
  way(subject: Subject): Promise<ClusterWay> {
    return this.#once(`way ${subject.name}`, async () => {
      const { clock } = this.io;
      const daemon = await this.daemon();
      const token = this.state()?.tokens.ofMembership(subject.name);
      const local = this.#local();
      if (daemon.kind === 'up' && local !== undefined && token !== undefined) {
        const url = subject.url ?? `${daemon.record.hubUrl}/v1/${subject.name}`;
        return wayThroughDaemon({ url, token, local, clock });
      }
      const google = await this.google();
      const { dialer, dispatcher } = google;
      return wayToGateway({
        membership: subject,
        tokens: google.identity(subject.identity),
        dialer,
        dispatcher,
        clock,
      });
    });
  }

  /** JSON of the daemon's own API; undefined without a daemon. */
  async askDaemon<T>(path: string): Promise<T | undefined> {
    const daemon = await this.daemon();
    const state = this.state();
    if (daemon.kind !== 'up' || state === undefined) return undefined;
    return await askJson<T>(state, daemon.record, path);
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((one) => one.close()));
  }

  #local(): LocalSide | undefined {
    return this.#once('local', () => {
      const authority = this.state()?.authorityCertificate();
      if (authority === undefined) return undefined;
      const local = openLocalSide(authority, this.io.clock);
      this.#open.push(local);
      return local;
    });
  }

  /** Without asking Google: which hosts it will be. */
  async #knownEndpoints(): Promise<readonly Pick<Subject, 'endpoint'>[]> {
    const daemon = await this.daemon();
    if (daemon.kind === 'up') return await this.memberships();
    return createFleetCache(this.#cache()).load();
  }

  async #fleet(): Promise<Subject[]> {
    const { settings } = await this.inForce();
    const google = await this.google();
    const { connectgateway, universeDomain } = settings.endpoints;
    const fleet = createFleet({
      projects: settings.projects,
      pinned: settings.memberships,
      universe: universeDomain,
      ...(connectgateway === undefined ? {} : { connectgatewayOverride: connectgateway }),
      hub: { ...google.hub, list: (project) => this.listing(project) },
      cache: createFleetCache(this.#cache()),
      clock: this.io.clock,
      log: silentLogger,
    });
    try {
      await fleet.refresh();
      return fleet.table.list().map((membership) => {
        return { ...membership, principal: google.identity(membership.identity).description };
      });
    } finally {
      fleet.close();
    }
  }

  /** Read, and never written: a doctor changes nothing. */
  #cache(): { read: () => unknown; write: () => void; log: Logger } {
    return { read: () => this.state()?.readJson('fleet.json'), write: () => {}, log: silentLogger };
  }

  #once<T>(name: string, find: () => T): T {
    const known = this.#facts.get(name) as { value: T } | undefined;
    if (known !== undefined) return known.value;
    const value = find();
    this.#facts.set(name, { value });
    // Whoever asks sees the rejection; that nobody has asked yet is no crash.
    if (value instanceof Promise) value.catch(() => {});
    return value;
  }
}
