import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue } from '../base/flat-headers.js';
import { LogLines, rfc3339 } from '../kubernetes/log-lines.js';
import { judgeLogEnd, type LogRequest, type LogVerdict } from '../kubernetes/log-request.js';
import type { ClusterAnswer } from './ask-cluster.js';
import type { BodyEnd, Continuation, NextStep } from './continuation.js';
import { isEncoded } from './upstream-headers.js';

/** The clocks of the gateway and of the node, as long as no line has told the node's. */
const CLOCK_SLACK_MS = 2000;
/** Where the pod may not be looked at, a resumed log that ends this soon and empty is taken for over. */
const AT_ONCE_MS = 5000;

/** A followed log over cuts; it ends when its container's instance has ended and all of it has come. */
export class LogContinuation implements Continuation {
  readonly whenRefused = 'break';
  readonly firstTarget: string;
  readonly #request: LogRequest;
  readonly #lines: LogLines;
  #left: number;
  /** By the gateway's clock, ms: the followed instance was there at this time. */
  #thereAt = 0;
  #beganAt = 0;
  #resumed = false;
  /** The instance has ended: what remains of its log is being fetched. */
  #draining = false;
  #lost = false;

  constructor(request: LogRequest) {
    const { timestamps, beginsInside, tailLines } = request;
    this.#request = request;
    this.firstTarget = request.firstTarget;
    this.#lines = new LogLines({
      timestampsWanted: timestamps,
      beginsInside,
      ...(tailLines === undefined ? {} : { tailLines }),
    });
    this.#left = request.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  get finished(): boolean {
    return this.#left <= 0;
  }

  /** A kubelet sends the head with the first line: where none comes again, it may come late. */
  get headDeadlineMs(): number {
    return this.#lines.resumeTime === undefined ? 0 : 30_000;
  }

  get mayHaveMissed(): boolean {
    return this.#lost || this.#lines.mayHaveMissed;
  }

  begin(headers: FlatHeaders, now: number): boolean {
    if (isEncoded(headers)) return false;
    const date = Date.parse(headerValue(headers, 'date') ?? '');
    if (this.#thereAt === 0 && !Number.isNaN(date)) this.#thereAt = date;
    this.#beganAt = now;
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

  async next(ask: (target: string) => Promise<ClusterAnswer>, end: BodyEnd): Promise<NextStep> {
    const { broughtNew, endedInWords } = this.#lines;
    const isEmpty = end.clean && !broughtNew;
    this.#lines.cut();
    if (this.#left <= 0 || (end.clean && endedInWords) || (this.#draining && isEmpty)) return { kind: 'end' };
    const answer = await ask(this.#request.podTarget);
    if (answer.kind === 'gone') return this.#over(end);
    let verdict: LogVerdict = 'follow-on';
    if (answer.kind === 'found') verdict = this.#judge(answer.value);
    else if (isEmpty && this.#resumed && end.now - this.#beganAt < AT_ONCE_MS) verdict = 'end';
    if (verdict === 'end') return this.#over(end);
    this.#draining = verdict !== 'follow-on';
    this.#resumed = true;
    return { kind: 'resume', target: this.#nextTarget(verdict === 'fetch-the-rest-of-previous') };
  }

  /** There is nothing to ask any more. What a broken connection did not bring is lost, and the end must not look whole. */
  #over({ clean }: BodyEnd): NextStep {
    this.#lost ||= !clean;
    return { kind: clean ? 'end' : 'break' };
  }

  #judge(pod: unknown): LogVerdict {
    const { container } = this.#request;
    const since = this.#lines.newestMs ?? this.#thereAt + CLOCK_SLACK_MS;
    return judgeLogEnd(pod, { since, ...(container === undefined ? {} : { container }) });
  }

  #nextTarget(previous: boolean): string {
    // Of a log that has said nothing yet, the tail would be another one by now.
    const unsaid = this.#request.beginsInside && this.#thereAt > 0 ? rfc3339(this.#thereAt) : undefined;
    const sinceTime = this.#lines.resumeTime ?? unsaid;
    return this.#request.nextTarget({ previous, ...(sinceTime === undefined ? {} : { sinceTime }) });
  }
}
