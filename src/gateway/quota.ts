import type { Clock } from '../base/clock.js';
import { RequestPacer, type RequestUse } from './request-pacer.js';
import { StreamLedger, type StreamUse } from './stream-ledger.js';

export interface QuotaUse {
  /** Number of the fleet host project. */
  readonly project: string;
  readonly projectId?: string;
  readonly requests: RequestUse;
  readonly streams: StreamUse;
}

/** The gateway's two quotas, per fleet host project: requests per minute, and active streams. */
export class QuotaLedger {
  readonly requests: RequestPacer;
  readonly streams: StreamLedger;

  constructor(options: {
    clock: Clock;
    requests: { readonly perMinute: number };
    streams: { readonly limit: number; readonly queue: number };
  }) {
    const { clock, requests, streams } = options;
    this.requests = new RequestPacer({ clock, perMinute: requests.perMinute });
    this.streams = new StreamLedger({ clock, limit: streams.limit, queueMs: streams.queue });
  }

  /** Of the projects that something was asked of. */
  use(): QuotaUse[] {
    const unnamed = this.streams.projects().map((project) => ({ project }));
    const projects = new Map([...unnamed, ...this.requests.projects()].map((one) => [one.project, one]));
    return [...projects.values()].map((one) => ({
      ...one,
      requests: this.requests.use(one.project),
      streams: this.streams.use(one.project),
    }));
  }
}
