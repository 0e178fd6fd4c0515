import { readdirSync } from 'node:fs';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../base/clock.js';
import type { TokenSnapshot } from '../credentials/token-source.js';
import type { AnsweredRequest } from '../frontdoor/front-door.js';
import type { SessionEvent, SessionView } from '../relays/sessions.js';

const PREFIX = 'connect_gateway_proxy_';
/** Through the gateway even a small GET takes some ten milliseconds; a large list takes many seconds. */
const LATENCY_BUCKETS_S = [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Requests of these kinds last as long as their client wants: their length is no latency. */
const STREAMS: ReadonlySet<string> = new Set(['watch', 'log-follow', 'proxy']);
/** More memberships than this share one label, so that no fleet makes the answer grow without bound. */
const MEMBERSHIP_LABELS = 500;

export type PromClient = typeof import('prom-client');

/** One fleet host project's quota as it is used now. */
export interface QuotaReading {
  readonly project: string;
  readonly streams: { readonly active: number; readonly limit: number; readonly waiting: number };
  readonly requests: { readonly lastMinute: number; readonly perMinute: number };
}

export interface MetricsSources {
  readonly clock: Clock;
  /** Of the package. */
  readonly version: string;
  sessions(): readonly SessionView[];
  memberships(): readonly { readonly alias: string; readonly project: string; readonly problem?: string }[];
  /** When streams of a project are expected to be cut, ms. */
  cutoffMs(project: string): number;
  /** By identity. */
  tokens(): ReadonlyMap<string, Pick<TokenSnapshot, 'expiresAt' | 'lastRefreshAt'>>;
  quota(): readonly QuotaReading[];
}

/** What the daemon counts, in the form that Prometheus scrapes. Labels are aliases, kinds and identities only. */
export class Metrics {
  readonly #library: PromClient;
  readonly #registry: Registry;
  readonly #sources: MetricsSources;
  readonly #aliases = new Set<string>();
  readonly #requests: Counter<'membership' | 'code'>;
  readonly #latency: Histogram<'membership' | 'kind'>;
  readonly #streams: Counter<'membership' | 'kind'>;
  readonly #resumes: Counter<'membership' | 'kind'>;
  readonly #gaps: Counter<'membership' | 'kind'>;
  readonly #gapSeconds: Histogram<'membership' | 'kind'>;

  constructor(sources: MetricsSources, library: PromClient) {
    const { Counter, Histogram, Registry } = library;
    this.#library = library;
    this.#registry = new Registry();
    this.#sources = sources;
    const registers = [this.#registry];
    const byKind = ['membership', 'kind'] as const;
    this.#requests = new Counter({
      name: `${PREFIX}requests_total`,
      help: 'Requests answered, by class of HTTP code; "aborted" where the client left first. Upgrades are not among them.',
      labelNames: ['membership', 'code'],
      registers,
    });
    this.#latency = new Histogram({
      name: `${PREFIX}request_duration_seconds`,
      help: 'From the request to the end of its answer; watches, followed logs and proxied answers are not among them.',
      labelNames: byKind,
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.#streams = new Counter({
      name: `${PREFIX}streams_total`,
      help: 'Streams begun.',
      labelNames: byKind,
      registers,
    });
    this.#resumes = new Counter({
      name: `${PREFIX}stream_resumes_total`,
      help: 'Times that a stream went on over a new connection after a cut.',
      labelNames: byKind,
      registers,
    });
    this.#gaps = new Counter({
      name: `${PREFIX}stream_gaps_total`,
      help: 'Streams that ended with something missing that had been sent.',
      labelNames: byKind,
      registers,
    });
    this.#gapSeconds = new Histogram({
      name: `${PREFIX}stream_resume_seconds`,
      help: 'From a cut to the new connection.',
      labelNames: byKind,
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    });
    this.#addGauges();
    this.#addProcess();
  }

  /** As Prometheus' text format. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Called for each request of a membership when its answer is over. */
  request({ membership, kind, status, ms }: AnsweredRequest): void {
    const label = this.#label(membership);
    this.#requests.inc({ membership: label, code: status === undefined ? 'aborted' : `${Math.floor(status / 100)}xx` });
    if (!STREAMS.has(kind)) this.#latency.observe({ membership: label, kind }, ms / 1000);
  }

  session(event: SessionEvent): void {
    const { kind, gapsMs } = event.session;
    const labels = { membership: this.#label(event.session.membership), kind };
    if (event.type === 'started') this.#streams.inc(labels);
    if (event.type === 'resumed') {
      this.#resumes.inc(labels);
      this.#gapSeconds.observe(labels, (gapsMs.at(-1) ?? 0) / 1000);
    }
    if (event.type === 'ended' && event.session.bytesMayBeMissing) this.#gaps.inc(labels);
  }

  #label(alias: string): string {
    if (this.#aliases.has(alias)) return alias;
    if (this.#aliases.size >= MEMBERSHIP_LABELS) return 'other';
    this.#aliases.add(alias);
    return alias;
  }

  #gauge<T extends string>(name: string, help: string, labelNames: readonly T[], read: () => Reading<T>[]): void {
    const gauge: Gauge<T> = new this.#library.Gauge({
      name: name.startsWith('process_') ? name : `${PREFIX}${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        gauge.reset();
        for (const { labels, value } of read()) gauge.inc(labels, value);
      },
    });
  }

  #addGauges(): void {
    const { clock, version, sessions, memberships, cutoffMs, tokens, quota } = this.#sources;
    const byProject = (read: (reading: QuotaReading) => number) => (): Reading<'project'>[] =>
      quota().map((reading) => ({ labels: { project: reading.project }, value: read(reading) }));
    this.#gauge('build_info', 'The version that runs.', ['version'], () => [{ labels: { version }, value: 1 }]);
    this.#gauge('memberships', 'Memberships, by whether they are served.', ['state'], () => {
      const broken = memberships().filter(({ problem }) => problem !== undefined).length;
      return [
        { labels: { state: 'served' }, value: memberships().length - broken },
        { labels: { state: 'failing' }, value: broken },
      ];
    });
    this.#gauge('streams', 'Streams that are live now.', ['membership', 'kind'], () =>
      sessions().map(({ membership, kind }) => ({ labels: { membership: this.#label(membership), kind }, value: 1 })),
    );
    this.#gauge('cutoff_estimate_seconds', 'Age at which the gateway is expected to cut.', ['project'], () =>
      [...new Set(memberships().map(({ project }) => project))].map((project) => ({
        labels: { project },
        value: cutoffMs(project) / 1000,
      })),
    );
    this.#gauge('token_age_seconds', 'Since the Google token was fetched.', ['identity'], () =>
      [...tokens()].flatMap(([identity, { lastRefreshAt }]) =>
        lastRefreshAt === undefined ? [] : [{ labels: { identity }, value: (clock.now() - lastRefreshAt) / 1000 }],
      ),
    );
    this.#gauge('token_expires_in_seconds', 'Until the Google token expires.', ['identity'], () =>
      [...tokens()].flatMap(([identity, { expiresAt }]) =>
        expiresAt === undefined ? [] : [{ labels: { identity }, value: (expiresAt - clock.now()) / 1000 }],
      ),
    );
    const use = byProject;
    this.#gauge(
      'quota_streams',
      'Streams to the gateway that count.',
      ['project'],
      use((q) => q.streams.active),
    );
    this.#gauge(
      'quota_streams_limit',
      'How many may be open.',
      ['project'],
      use((q) => q.streams.limit),
    );
    this.#gauge(
      'quota_streams_waiting',
      'Streams in line for a place.',
      ['project'],
      use((q) => q.streams.waiting),
    );
    this.#gauge(
      'quota_requests',
      'Requests of the last minute.',
      ['project'],
      use((q) => q.requests.lastMinute),
    );
    this.#gauge(
      'quota_requests_limit',
      'Requests a minute.',
      ['project'],
      use((q) => q.requests.perMinute),
    );
  }

  /** By hand: prom-client's own collection keeps a timer that wakes an idle daemon a hundred times a second. */
  #addProcess(): void {
    const plain = (name: string, help: string, read: () => number): void =>
      this.#gauge(name, help, [], () => [{ labels: {}, value: read() }]);
    plain('process_start_time_seconds', 'Start of the process since the epoch.', () =>
      Math.round(Date.now() / 1000 - process.uptime()),
    );
    plain('process_cpu_seconds_total', 'CPU time, user and system.', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    plain('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
    plain('process_heap_bytes', 'Heap of V8 in use.', () => process.memoryUsage().heapUsed);
    plain('process_open_fds', 'Open file descriptors; 0 where the system does not tell.', openDescriptors);
  }
}

interface Reading<T extends string> {
  readonly labels: Partial<Record<T, string>>;
  readonly value: number;
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}
