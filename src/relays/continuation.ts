import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import type { ApiRequest } from '../kubernetes/api-request.js';
import { LogLines } from '../kubernetes/log-lines.js';
import { judgeLogEnd, type LogRequest, parseLogRequest } from '../kubernetes/log-request.js';
import { ResumePoint } from '../kubernetes/resume-point.js';
import type { Status } from '../kubernetes/status.js';
import { watchErrorEvent } from '../kubernetes/watch-error-event.js';
import { type WatchEventDecoder, watchEventDecoder } from '../kubernetes/watch-events.js';

/** How a body that the gateway cuts is carried on. One object lives as long as the client's request. */
export interface Continuation {
  /** What to ask upstream for at first: below the membership, raw. */
  readonly firstTarget: string;
  /** Whether the answer can be read and so be continued; otherwise it passes as any other. */
  begin(headers: FlatHeaders, now: number): boolean;
  /**
   * When the cluster refuses to go on: a watch may simply end, because its client asks again; a log that ends would look
   * complete, so its body is broken.
   */
  readonly whenRefused: 'end' | 'break';
  /** What the client is told within the body before it ends because Google refuses to go on; undefined where no body can tell. */
  lastWords(status: Status): Buffer | undefined;
  /** Answers what the client shall have. Throws on a body that is not what its type says. */
  push(chunk: Buffer): readonly Buffer[];
  /** The client has all that it asked for: upstream need not go on. */
  readonly finished: boolean;
  /** What to do after an end, whatever its form. `ask` GETs a target and answers its JSON, undefined for 404. */
  next(ask: (target: string) => Promise<unknown>, now: number): Promise<NextStep>;
}

export type NextStep =
  | { readonly kind: 'resume'; readonly target: string }
  /** The stream is over for the client as well. */
  | { readonly kind: 'end' };

/** Undefined for requests whose body is carried as it comes. `now` is monotonic. */
export function continuationFor(options: {
  api: ApiRequest;
  method: string;
  target: string;
  headers: FlatHeaders;
  now: number;
}): Continuation | undefined {
  const { api, target, now } = options;
  if (options.method !== 'GET') return undefined;
  if (api.kind === 'watch') {
    // Off by default in every cluster (cluster-facts): carried without resuming. A bookmark that the client did not ask
    // for could not be hidden from it.
    if (headerValue(options.headers, 'accept')?.includes('cbor')) return undefined;
    return new WatchContinuation({ target, now });
  }
  if (api.kind === 'log-follow') {
    const request = parseLogRequest(target);
    return request.previous ? undefined : new LogContinuation(request);
  }
  return undefined;
}

class WatchContinuation implements Continuation {
  readonly whenRefused = 'end';
  readonly finished = false;
  readonly firstTarget: string;
  readonly #point: ResumePoint;
  #contentType = '';
  #decoder: WatchEventDecoder | undefined;

  constructor(options: { target: string; now: number }) {
    this.#point = new ResumePoint(options);
    this.firstTarget = this.#point.firstTarget();
  }

  begin(headers: FlatHeaders): boolean {
    if (isEncoded(headers)) return false;
    const contentType = headerValue(headers, 'content-type') ?? '';
    // The client has been promised one encoding: a resume that answers in another is of no use to it.
    if (this.#contentType !== '' && mediaType(contentType) !== mediaType(this.#contentType)) return false;
    this.#contentType = contentType;
    this.#decoder = watchEventDecoder(contentType);
    return this.#decoder !== undefined;
  }

  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (const event of this.#decoder?.push(chunk) ?? []) {
      if (this.#point.see(event) === 'deliver') out.push(event.bytes);
    }
    return out;
  }

  lastWords(status: Status): Buffer | undefined {
    return watchErrorEvent(this.#contentType, status);
  }

  async next(_ask: unknown, now: number): Promise<NextStep> {
    const target = this.#point.nextTarget(now);
    return target === undefined ? { kind: 'end' } : { kind: 'resume', target };
  }
}

class LogContinuation implements Continuation {
  readonly whenRefused = 'break';
  readonly firstTarget: string;
  readonly #request: LogRequest;
  readonly #lines: LogLines;
  #left: number;
  /** By the cluster's clock, ms: the followed container was there at this time. */
  #thereAt = 0;
  /** What remains is being fetched: its end is the end. */
  #last = false;

  constructor(request: LogRequest) {
    this.#request = request;
    this.firstTarget = request.firstTarget;
    this.#lines = new LogLines({ timestampsWanted: request.timestamps });
    this.#left = request.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  get finished(): boolean {
    return this.#left <= 0;
  }

  begin(headers: FlatHeaders): boolean {
    if (isEncoded(headers)) return false;
    const date = Date.parse(headerValue(headers, 'date') ?? '');
    if (this.#thereAt === 0 && !Number.isNaN(date)) this.#thereAt = date;
    return true;
  }

  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (const piece of this.#lines.push(chunk)) {
      if (this.#left <= 0) break;
      const part = piece.length > this.#left ? piece.subarray(0, this.#left) : piece;
      this.#left -= part.length;
      out.push(part);
    }
    return out;
  }

  lastWords(): undefined {
    // A line of ours would be taken for one of the container's.
    return undefined;
  }

  async next(ask: (target: string) => Promise<unknown>): Promise<NextStep> {
    this.#lines.cut();
    if (this.#last || this.#left <= 0) return { kind: 'end' };
    const { resumeTime } = this.#lines;
    const { container } = this.#request;
    const since = resumeTime === undefined ? this.#thereAt : Math.max(this.#thereAt, Date.parse(resumeTime));
    const verdict = judgeLogEnd(await ask(this.#request.podTarget), {
      since,
      ...(container === undefined ? {} : { container }),
    });
    if (verdict === 'end') return { kind: 'end' };
    this.#last = verdict !== 'follow-on';
    // Nothing has come yet: the client's own request is repeated as it was.
    if (resumeTime === undefined) return { kind: 'resume', target: this.#request.firstTarget };
    const previous = verdict === 'fetch-the-rest-of-previous';
    return { kind: 'resume', target: this.#request.nextTarget({ sinceTime: resumeTime, previous }) };
  }
}

function isEncoded(headers: FlatHeaders): boolean {
  const encoding = headerValue(headers, 'content-encoding');
  return encoding !== undefined && encoding !== 'identity';
}

function mediaType(contentType: string): string {
  return (contentType.split(';')[0] ?? '').trim().toLowerCase();
}
