import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import { ResumePoint } from '../kubernetes/resume-point.js';
import type { Status } from '../kubernetes/status.js';
import { watchErrorEvent } from '../kubernetes/watch-error-event.js';
import { type WatchEvent, type WatchEventDecoder, watchEventDecoder } from '../kubernetes/watch-events.js';
import type { BodyEnd, Continuation, NextStep } from './continuation.js';
import { isEncoded } from './upstream-headers.js';

/** A watch over cuts: whole events only, each once. */
export class WatchContinuation implements Continuation {
  readonly whenRefused = 'end';
  readonly finished = false;
  readonly mayHaveMissed = false;
  // The head comes before the first event.
  readonly headDeadlineMs = 30_000;
  readonly firstTarget: string;
  readonly #point: ResumePoint;
  #contentType = '';
  #decoder: WatchEventDecoder | undefined;
  /** All that has come before the first event; undefined after it. */
  #unproven: Buffer[] | undefined = [];
  /** It is no watch: a server that does not know the parameter answers the list. It passes as it comes. */
  #isForeign = false;

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

  push(chunk: Buffer): readonly Buffer[] {
    if (this.#isForeign) return [chunk];
    const unproven = this.#unproven;
    if (unproven === undefined) {
      return this.#deliverRun(chunk) ?? this.#deliver(this.#decoder?.push(chunk) ?? []);
    }
    // A watch that begins may turn out to be something else; it is small.
    unproven.push(Buffer.from(chunk));
    const events = this.#firstEvents(chunk);
    if (events === undefined) {
      this.#isForeign = true;
      this.#unproven = undefined;
      return unproven;
    }
    if (events.length > 0) this.#unproven = undefined;
    return this.#deliver(events);
  }

  lastWords(status: Status): Buffer | undefined {
    return watchErrorEvent(this.#contentType, status);
  }

  async next(_ask: unknown, { now, clean }: BodyEnd): Promise<NextStep> {
    if (this.#isForeign) return clean ? { kind: 'end' } : { kind: 'break' };
    const unproven = this.#unproven ?? [];
    this.#unproven &&= [];
    // An object without a line's end that is whole all the same.
    if (clean && unproven.length > 0 && isJson(unproven)) return { kind: 'end', rest: unproven };
    const target = this.#point.nextTarget(now);
    return target === undefined ? { kind: 'end' } : { kind: 'resume', target };
  }

  /** Undefined where what has come is no event. */
  #firstEvents(chunk: Buffer): WatchEvent[] | undefined {
    try {
      const events = this.#decoder?.push(chunk) ?? [];
      return events[0]?.type === '' ? undefined : events;
    } catch {
      return undefined;
    }
  }

  #deliverRun(chunk: Buffer): readonly Buffer[] | undefined {
    const run = this.#point.isPastListing ? this.#decoder?.run?.(chunk) : undefined;
    if (run?.resourceVersion !== undefined) this.#point.reach(run.resourceVersion);
    return run?.pieces;
  }

  #deliver(events: readonly WatchEvent[]): Buffer[] {
    const out: Buffer[] = [];
    for (const event of events) if (this.#point.see(event) === 'deliver') out.push(event.bytes);
    return out;
  }
}

function isJson(chunks: readonly Buffer[]): boolean {
  try {
    JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

function mediaType(contentType: string): string {
  return (contentType.split(';')[0] ?? '').trim().toLowerCase();
}
