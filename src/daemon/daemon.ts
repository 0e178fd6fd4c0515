import type { Clock } from '../base/clock.js';
import { describeError, UsageError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { DispatcherSource } from '../base/undici.js';
import { Wakes } from '../base/wake.js';
import type { TokenSource } from '../credentials/token-source.js';
import { createFleet, type Fleet } from '../fleet/fleet.js';
import { createFleetCache } from '../fleet/fleet-cache.js';
import { FrontDoor } from '../frontdoor/front-door.js';
import { assertProxyUsable, forwardProxySettings } from '../gateway/forward-proxy.js';
import { createHttpUpstream, type HttpUpstream } from '../gateway/http-upstream.js';
import { createPacedUpstream } from '../gateway/paced-upstream.js';
import { QuotaLedger, type QuotaUse } from '../gateway/quota.js';
import { SessionRegistry } from '../relays/sessions.js';
import { HeldSessions } from '../relays/survive/held-sessions.js';
import { PlainContainers } from '../relays/survive/plain-containers.js';
import { watchConfigFile } from './config-watch.js';
import { CutoffBook } from './cutoff-book.js';
import { tellEnvironment } from './environment.js';
import { controlApis, googleWay, type IdentityOpener, identityOpener } from './google-side.js';
import { lockInstance } from './instance-lock.js';
import { KubeconfigKeeper } from './kubeconfig-keeper.js';
import { LateMetrics } from './late-metrics.js';
import { ownHubAnswers } from './own-hub.js';
import { namingOwner, PortBook } from './ports.js';
import { Reloader, type ReloadReport } from './reload.js';
import { bracketed, type MembershipView, ServedFleet } from './served-fleet.js';
import { createServiceNotifier, type ServiceNotifier } from './service-notify.js';
import { sessionReport } from './session-report.js';
import type { Settings } from './settings.js';
import { inheritedSockets } from './socket-activation.js';
import { State } from './state.js';
import { WakeWatch, watchedDialer } from './wake-watch.js';

/** How long streams and requests may go on once a drain has begun. */
const DRAIN_MS = 10_000;
/** A fleet that was never seen is waited for this long before the daemon calls itself ready without it. */
const FIRST_REFRESH_MS = 15_000;
/** The certificate is looked at twice a day; it is renewed a month before it ends. */
const CERTIFICATE_CHECK_MS = 12 * 60 * 60 * 1000;

export type { QuotaUse };

/** JSON of `/-/settings`. */
export interface SettingsReport {
  readonly settings: Settings;
  /** Variables that decide how Google is reached, without passwords. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface RunningDaemon {
  readonly hubUrl: string;
  readonly kubeconfigFile: string;
  memberships(): MembershipView[];
  /** Resolves when everything is closed and the state folder is free again. */
  readonly closed: Promise<void>;
  /** readyz first, then nothing new, then what runs gets a bounded time. Repeated calls join the first. */
  drain(reason: string): Promise<void>;
  /** Reads the settings again and asks the fleet. Rejects when they are refused; what was in force stays so. */
  reload(cause: string): Promise<ReloadReport>;
  /** Ends everything at once. */
  kill(): void;
}

/** Puts the parts together. Rejects with a CodedError when the hub cannot be served; a single membership never stops it. */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { settings, env } = options;
  assertSomethingToServe(settings);
  assertProxyUsable(forwardProxySettings(env));
  const state = State.open(settings.stateDir);
  const lock = await lockInstance({
    path: state.path('daemon.lock'),
    pid: process.pid,
    now: options.clock.now(),
    answers: () => ownHubAnswers(state, state.readDaemon()),
  });
  const daemon = new Daemon(options, state, lock);
  try {
    await daemon.start();
    return daemon;
  } catch (error) {
    daemon.kill();
    await daemon.closed;
    throw error;
  }
}

export interface DaemonOptions {
  readonly settings: Settings;
  /** Reads them again, for a reload; without it a reload only asks the fleet. Throws a UsageError. */
  readonly loadSettings?: () => Settings;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the package. */
  readonly version: string;
  /** For proxy variables and the identity's files. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

class Daemon implements RunningDaemon {
  readonly #o: DaemonOptions;
  readonly #state: State;
  readonly #lock: { release(): void };
  #settings: Settings;
  readonly #reloader: Reloader;
  #opener: IdentityOpener | undefined;
  readonly #identities = new Map<string, TokenSource>();
  /** Of settings that were replaced: what began with them goes on with them. */
  readonly #retired: TokenSource[] = [];
  readonly #stopping = new AbortController();
  readonly #phase = { started: false, draining: false };
  readonly #sessions: SessionRegistry;
  readonly #held: HeldSessions;
  readonly #metrics: LateMetrics;
  readonly #quota: QuotaLedger;
  readonly #wakes = new Wakes();
  readonly #wakeWatch: WakeWatch;
  readonly #manager: ServiceNotifier;
  #cutoffs: CutoffBook;
  readonly closed: Promise<void>;
  #resolveClosed = (): void => {};
  #draining: Promise<void> | undefined;
  #upstream: HttpUpstream | undefined;
  #fleet: Fleet | undefined;
  #door: FrontDoor | undefined;
  #served: ServedFleet | undefined;
  #hubPort = 0;
  readonly #kubeconfigs: KubeconfigKeeper;

  constructor(options: DaemonOptions, state: State, lock: { release(): void }) {
    this.#o = options;
    this.#state = state;
    this.#lock = lock;
    this.#settings = options.settings;
    this.#sessions = new SessionRegistry({ clock: options.clock });
    this.#kubeconfigs = new KubeconfigKeeper({
      state,
      ownFile: () => this.kubeconfigFile,
      memberships: () => this.memberships(),
      version: options.version,
      clock: options.clock,
      log: options.log,
    });
    this.#cutoffs = this.#createCutoffs();
    this.#held = new HeldSessions({
      clock: options.clock,
      remembered: state.readJson('held-sessions.json'),
      save: (records) => state.writeJson('held-sessions.json', records),
    });
    const { requests, streams } = options.settings;
    this.#quota = new QuotaLedger({ clock: options.clock, requests, streams });
    this.#wakeWatch = new WakeWatch({ clock: options.clock, wakes: this.#wakes, cpuMs });
    this.#metrics = new LateMetrics({
      clock: options.clock,
      version: options.version,
      sessions: () => this.#sessions.live(),
      memberships: () => this.memberships(),
      cutoffMs: (project) => this.#cutoffs.expectedMs(project),
      tokens: () => new Map([...this.#identities].map(([name, source]) => [name, source.snapshot()])),
      quota: () => this.#quota.use(),
    });
    this.#sessions.onEvent((event) => this.#metrics.session(event));
    this.#reloader = new Reloader({
      load: options.loadSettings ?? ((): Settings => this.#settings),
      current: () => this.#settings,
      check: (settings) => this.#check(settings),
      apply: (settings, changed) => this.#apply(settings, changed),
      log: options.log,
    });
    const { env, clock, log } = options;
    this.#manager = createServiceNotifier({ env, pid: process.pid, clock, log });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get hubUrl(): string {
    return `https://${bracketed(this.#o.settings.listen.address)}:${this.#hubPort}`;
  }

  get kubeconfigFile(): string {
    return this.#settings.kubeconfigFile;
  }

  memberships(): MembershipView[] {
    return this.#served?.views() ?? [];
  }

  async start(): Promise<void> {
    const { settings, clock, log, env } = this.#o;
    const startedAt = clock.now();
    const dialer = watchedDialer(googleWay(settings, env).dialer, (error) => this.#wakeWatch.trouble(error));
    this.#upstream = createPacedUpstream({
      upstream: createHttpUpstream({ dialer, clock }),
      pacer: this.#quota.requests,
    });
    this.#watchForSleep(this.#upstream);
    const certificate = await this.#state.serverCertificate({ address: settings.listen.address, now: startedAt });
    this.#fleet = this.#createFleet(this.#upstream.dispatcher);
    const inherited = inheritedSockets({ env, pid: process.pid });
    this.#door = new FrontDoor({
      address: settings.listen.address,
      inherited,
      certificate,
      tokens: this.#state.tokens,
      tools: {
        http: this.#upstream,
        dialer,
        clock,
        random: Math.random,
        sessions: this.#sessions,
        quota: this.#quota,
        wakes: this.#wakes,
        held: this.#held,
        plainContainers: new PlainContainers({ clock }),
        onCut: (membership, ageMs) => this.#cutoffs.cutAt(membership.project, ageMs),
        cutoffMs: ({ project }) => this.#cutoffs.expectedMs(project),
        rotateAfterMs: ({ project }) => this.#cutoffs.rotateAfterMs(project, settings.cutoff.rotateBefore),
      },
      own: {
        health: {
          live: () => true,
          started: () => this.#phase.started,
          ready: () => this.#phase.started && !this.#phase.draining,
        },
        memberships: () => ({ memberships: this.memberships() }),
        sessions: async () => {
          await this.#door?.lookAtHeld();
          const memberships = this.#fleet?.table.list() ?? [];
          return sessionReport({ sessions: this.#sessions, held: this.#held, cutoffs: this.#cutoffs, memberships });
        },
        killSession: (id) => this.#sessions.kill(id),
        quota: () => this.#quota.use(),
        settings: (): SettingsReport => ({ settings: this.#settings, environment: tellEnvironment(env) }),
        onSessionEvent: (listener) => this.#sessions.onEvent(listener),
        reload: () => this.reload('POST /-/reload'),
        metrics: () => this.#metrics.read(),
        shutdown: () => void this.drain('asked to stop'),
      },
      onAnswered: (request) => this.#metrics.request(request),
      log,
    });
    const door = this.#door;
    const hubSocket = inherited.find(({ name }) => name === 'hub');
    this.#hubPort = await namingOwner(hubSocket?.port ?? settings.listen.port, (port) => door.openHub(port));
    const plainUrl = await this.#openPlain(door);
    this.#served = new ServedFleet({
      door,
      ports: new PortBook({
        range: settings.listen.membershipPorts,
        remembered: this.#state.readJson('ports.json'),
        save: (ports) => this.#state.writeJson('ports.json', ports),
      }),
      table: this.#fleet.table,
      identity: (name) => this.#identity(name),
      identitySource: (name) => this.#settings.identities[name]?.source,
      chargedTo: (name) => {
        const { quotaProject, quotaProjectOnDataPath } = this.#settings.identities[name] ?? {};
        return quotaProject !== undefined && quotaProjectOnDataPath === true ? { quotaProject } : {};
      },
      execOf: (name) => {
        const { memberships, exec } = this.#settings;
        const own = memberships.find((pinned) => pinned.name === name)?.exec;
        return {
          onCutoff: own?.onCutoff ?? exec.onCutoff,
          lingerMs: own?.linger ?? exec.linger,
          warnBeforeMs: own?.warnBefore ?? exec.warnBefore,
        };
      },
      address: settings.listen.address,
      log,
      onServed: () => this.#kubeconfigs.keep(),
      warm: (gateway) => this.#upstream?.warm(gateway),
    });
    await this.#served.start();
    await this.#firstRefresh(this.#fleet, this.#served);
    await door.openRest();
    const { version } = this.#o;
    this.#state.writeDaemon({ pid: process.pid, hubUrl: this.hubUrl, ...plainUrl, startedAt, version });
    this.#renewCertificateLater();
    this.#watchConfig();
    this.#phase.started = true;
    const count = this.#fleet.table.list().length;
    log.info({ hub: this.hubUrl, ...plainUrl, memberships: count, kubeconfig: this.kubeconfigFile }, 'ready');
    this.#manager.ready(`${count} memberships at ${this.hubUrl}`);
  }

  async #openPlain(door: FrontDoor): Promise<{ plainUrl?: string }> {
    const { http, address } = this.#o.settings.listen;
    if (http === 'off') return {};
    const port = await namingOwner(http, (wanted) => door.openPlain(wanted));
    return { plainUrl: `http://${bracketed(address)}:${port}` };
  }

  drain(reason: string): Promise<void> {
    this.#draining ??= this.#drain(reason);
    return this.#draining;
  }

  reload(cause: string): Promise<ReloadReport> {
    return this.#reloader.reload(cause);
  }

  kill(): void {
    this.#door?.destroy();
    this.#close();
  }

  async #drain(reason: string): Promise<void> {
    this.#phase.draining = true;
    this.#o.log.info({ reason }, 'draining');
    this.#manager.stopping();
    const patience = new AbortController();
    const cancel = this.#o.clock.after(DRAIN_MS, () => patience.abort());
    await this.#door?.drain(patience.signal);
    cancel();
    this.#close();
    this.#o.log.info({ reason }, 'stopped');
  }

  #close(): void {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort(new Error('the daemon is stopping'));
    this.#manager.close();
    this.#kubeconfigs.close();
    this.#wakeWatch.stop();
    this.#served?.stop();
    this.#held.close();
    this.#fleet?.close();
    for (const identity of [...this.#identities.values(), ...this.#retired]) identity.close();
    this.#state.removeDaemon(process.pid);
    this.#lock.release();
    const done = this.#resolveClosed;
    Promise.resolve(this.#upstream?.close()).then(done, done);
  }

  #createFleet(dispatcher: DispatcherSource): Fleet {
    const { settings, clock, log } = this.#o;
    const { universeDomain, connectgateway } = settings.endpoints;
    const { hub } = controlApis({ settings, tokens: () => this.#identity('default'), dispatcher, clock });
    return createFleet({
      projects: settings.projects,
      pinned: settings.memberships,
      universe: universeDomain,
      ...(connectgateway === undefined ? {} : { connectgatewayOverride: connectgateway }),
      hub,
      cache: createFleetCache({
        read: () => this.#state.readJson('fleet.json'),
        write: (content) => this.#state.writeJson('fleet.json', content),
        log,
      }),
      clock,
      log,
    });
  }

  /** Made on first use; a source that cannot be made is tried again, because a person may mend it meanwhile. */
  #identity(name: string): TokenSource {
    const existing = this.#identities.get(name);
    if (existing !== undefined) return existing;
    const source = this.#createIdentity(name, this.#settings);
    this.#identities.set(name, source);
    return source;
  }

  #createIdentity(name: string, settings: Settings): TokenSource {
    const { clock, log, env } = this.#o;
    const upstream = this.#upstream;
    if (upstream === undefined) throw new Error('identities are made after the upstream');
    const { dispatcher } = upstream;
    this.#opener ??= identityOpener({ settings: this.#o.settings, env, clock, log, dispatcher });
    return this.#opener(name, settings);
  }

  /** With a cached fleet the network is not waited for. What only the configuration names may yet get another name. */
  async #firstRefresh(fleet: Fleet, served: ServedFleet): Promise<void> {
    const entries = fleet.table.list();
    const guessed = this.#o.settings.projects.length > 0 && entries.some(({ state }) => state === 'UNKNOWN');
    const known = entries.length > 0 && !guessed;
    const refresh = fleet.start();
    if (known) return;
    await Promise.race([
      refresh,
      new Promise<void>((resolve) => {
        this.#o.clock.after(FIRST_REFRESH_MS, resolve);
      }),
    ]);
    await served.settled();
  }

  /** What would be found out only when the settings are in force. */
  #check(settings: Settings): void {
    assertSomethingToServe(settings);
    for (const name of new Set(settings.memberships.map(({ identity = 'default' }) => identity))) {
      if (sameIdentity(name, settings, this.#settings)) continue;
      this.#createIdentity(name, settings).close();
    }
  }

  async #apply(settings: Settings, changed: readonly string[]): Promise<Partial<ReloadReport>> {
    const before = this.#settings;
    this.#settings = settings;
    for (const [name, source] of this.#identities) {
      if (sameIdentity(name, before, settings)) continue;
      this.#identities.delete(name);
      this.#retired.push(source);
    }
    if (changed.includes('cutoff.assume')) this.#cutoffs = this.#createCutoffs();
    const otherFleet = changed.includes('projects') || changed.includes('memberships');
    // Both change the table before they wait for Google.
    const finding = otherFleet
      ? this.#fleet?.reconfigure({ projects: settings.projects, pinned: settings.memberships })
      : this.#fleet?.refresh();
    if (changed.length > 0) await this.#served?.reapply();
    const found = await finding;
    await this.#served?.settled();
    return { ...found };
  }

  #createCutoffs(): CutoffBook {
    return new CutoffBook({
      assumedMs: this.#settings.cutoff.assume,
      remembered: this.#state.readJson('cutoffs.json'),
      save: (ages) => this.#state.writeJson('cutoffs.json', ages),
    });
  }

  #watchForSleep(upstream: HttpUpstream): void {
    this.#wakes.onWake(({ reason }) => {
      this.#o.log.info({ reason }, 'connections from before are looked after');
      upstream.dropIdle();
      for (const identity of this.#identities.values()) identity.renew();
      this.#fleet?.refresh().catch(() => {});
    });
    this.#wakeWatch.start();
  }

  #watchConfig(): void {
    const { loadSettings, clock, log } = this.#o;
    const { configFile } = this.#settings;
    if (loadSettings === undefined || configFile === undefined) return;
    const onChange = (): void => {
      // A refusal has been logged, which is all that can be done with it here.
      this.reload(`change of ${configFile}`).catch(() => {});
    };
    const stop = watchConfigFile({ path: configFile, clock, log, onChange });
    this.#stopping.signal.addEventListener('abort', stop, { once: true });
  }

  #renewCertificateLater(): void {
    const { clock, settings, log } = this.#o;
    const cancel = clock.after(CERTIFICATE_CHECK_MS, () => {
      this.#state
        .serverCertificate({ address: settings.listen.address, now: clock.now() })
        .then((pair) => this.#door?.useCertificate(pair))
        .catch((error: unknown) => log.error({}, `renewing the certificate: ${describeError(error)}`))
        .finally(() => {
          this.#stopping.signal.removeEventListener('abort', cancel);
          if (!this.#stopping.signal.aborted) this.#renewCertificateLater();
        });
    });
    this.#stopping.signal.addEventListener('abort', cancel, { once: true });
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function assertSomethingToServe({ projects, memberships }: Settings): void {
  if (projects.length > 0 || memberships.length > 0) return;
  throw new UsageError(
    'nothing to serve: name the fleet host project with --projects PROJECT, or under projects: in the config file; connect-gateway-proxy demo needs neither',
    { code: 'nothing-to-serve' },
  );
}

function sameIdentity(name: string, a: Settings, b: Settings): boolean {
  return JSON.stringify(a.identities[name]) === JSON.stringify(b.identities[name]);
}
