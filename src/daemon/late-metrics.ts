import type { AnsweredRequest } from '../frontdoor/front-door.js';
import type { SessionEvent } from '../relays/sessions.js';
import { Metrics, type MetricsSources, type PromClient } from './metrics.js';

/** After the first of the requests that a client begins with, so that none of them waits for the import. */
const IMPORT_AFTER_MS = 500;

/**
 * `Metrics`, whose library is imported once there is something to count: its import takes a tenth of a start, and an idle
 * daemon does not hold it. What comes before is counted when it is there.
 */
export class LateMetrics {
  readonly #sources: MetricsSources;
  readonly #importLibrary: () => Promise<PromClient>;
  readonly #early: ((metrics: Metrics) => void)[] = [];
  #metrics: Metrics | undefined;
  #loading: Promise<Metrics> | undefined;

  constructor(sources: MetricsSources, importLibrary = (): Promise<PromClient> => import('prom-client')) {
    this.#sources = sources;
    this.#importLibrary = importLibrary;
  }

  request(answered: AnsweredRequest): void {
    if (this.#metrics === undefined) this.#keep((metrics) => metrics.request(answered));
    else this.#metrics.request(answered);
  }

  session(event: SessionEvent): void {
    if (this.#metrics === undefined) this.#keep((metrics) => metrics.session(event));
    else this.#metrics.session(event);
  }

  /** In Prometheus' text format. */
  async read(): Promise<{ contentType: string; text: string }> {
    const metrics = await this.#load();
    return { contentType: metrics.contentType, text: await metrics.text() };
  }

  #keep(count: (metrics: Metrics) => void): void {
    const isFirst = this.#early.push(count) === 1;
    if (!isFirst) return;
    this.#sources.clock.after(IMPORT_AFTER_MS, () => {
      // The package may have been removed under a running daemon, which goes on without a count.
      this.#load().catch(() => this.#early.splice(0));
    });
  }

  #load(): Promise<Metrics> {
    this.#loading ??= this.#importLibrary().then((library) => {
      const metrics = new Metrics(this.#sources, library);
      for (const count of this.#early.splice(0)) count(metrics);
      this.#metrics = metrics;
      return metrics;
    });
    return this.#loading;
  }
}
