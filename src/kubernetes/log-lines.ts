import { LogWindow } from './log-window.js';

export interface LogLinesOptions {
  readonly timestampsWanted: boolean;
  /** The client's own request leaves out lines that are there, by tailLines or sinceSeconds. */
  readonly beginsInside?: boolean;
  /** Its tailLines. */
  readonly tailLines?: number;
}

/**
 * Follows a container's log over cuts so that the client gets every line once and in order.
 *
 * Upstream is always asked for timestamps: they say where to go on. What comes twice after a resume is known by a
 * `LogWindow`. Text without a timestamp is the kubelet's own, such as `failed to create fsnotify watcher`: it passes.
 *
 * Pure: bytes come in, the client's bytes go out.
 */
export class LogLines {
  readonly #timestampsWanted: boolean;
  readonly #window: LogWindow;
  /** Bytes that the client has of its last line, the timestamp not counted; undefined when it is whole. */
  #partialBytes: number | undefined;
  /** What has come of the present line, its timestamp not counted. */
  #lineBytes = 0;
  #line: 'none' | 'dropped' | 'delivered' | 'foreign' = 'none';
  /** The beginning of a line until its timestamp is whole. */
  #head: Buffer = EMPTY;
  /** Text of the kubelet's own on the present connection. */
  #foreign: 'none' | 'before' | 'last' = 'none';

  constructor(options: LogLinesOptions) {
    this.#timestampsWanted = options.timestampsWanted;
    this.#window = new LogWindow(options);
  }

  /** `sinceTime` for what follows a cut, as RFC 3339; undefined before the first line. */
  get resumeTime(): string | undefined {
    const { sinceMs } = this.#window;
    return sinceMs === undefined ? undefined : rfc3339(sinceMs);
  }

  /** When the newest line was written, in ms on the node's clock. */
  get newestMs(): number | undefined {
    return this.#window.newestMs;
  }

  /** The present connection has brought something that the client did not have. */
  get broughtNew(): boolean {
    return this.#window.broughtNew || this.#foreign !== 'none';
  }

  /** The kubelet's own words were the last that came: they tell why it has ended the log. */
  get endedInWords(): boolean {
    return this.#foreign === 'last';
  }

  /** Lines that the client has had were not there any more after a resume: others may have gone unseen with them. */
  get mayHaveMissed(): boolean {
    return this.#window.mayHaveMissed;
  }

  /** Answers what the client shall have of this chunk, which is lent for the call, as what is answered is. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#line === 'none') {
        at = this.#takeHead(chunk, at, out);
        continue;
      }
      const newline = chunk.indexOf(NEWLINE, at);
      const end = newline === -1 ? chunk.length : newline + 1;
      this.#takeBody(chunk.subarray(at, end), out);
      at = end;
      if (newline !== -1) this.#endLine();
    }
    return out;
  }

  /** The connection is lost; what comes next answers a request with `sinceTime=resumeTime`. */
  cut(): void {
    this.#head = EMPTY;
    this.#line = 'none';
    this.#foreign = 'none';
    this.#window.cut();
  }

  #takeHead(chunk: Buffer, start: number, out: Buffer[]): number {
    let end = start;
    while (end < chunk.length && chunk[end] !== SPACE && chunk[end] !== NEWLINE) end++;
    const isWhole = end < chunk.length;
    if (isWhole) end++;
    const piece = chunk.subarray(start, end);
    const head = this.#head.length === 0 ? piece : Buffer.concat([this.#head, piece]);
    if (!isWhole && head.length <= MAX_TIMESTAMP_BYTES && isDigit(head[0])) {
      this.#head = Buffer.from(head);
      return end;
    }
    this.#head = EMPTY;
    const stamp = head.at(-1) === SPACE ? TIMESTAMP.exec(head.toString('latin1', 0, head.length - 1)) : null;
    if (stamp === null) this.#beginForeign(head, out);
    else this.#beginLine(stamp, head, out);
    return end;
  }

  #beginForeign(head: Buffer, out: Buffer[]): void {
    this.#foreign = 'last';
    this.#endPartial(out);
    if (head.at(-1) !== NEWLINE) this.#line = 'foreign';
    out.push(head);
  }

  #beginLine(stamp: RegExpExecArray, head: Buffer, out: Buffer[]): void {
    const [, second = '', fraction = '', zone = ''] = stamp;
    if (this.#foreign === 'last') this.#foreign = 'before';
    this.#lineBytes = 0;
    const place = this.#window.place(secondMs(second, zone), Number(fraction.padEnd(9, '0')));
    if (place === 'newest-again' && this.#partialBytes !== undefined) {
      this.#line = 'delivered';
      return;
    }
    if (place !== 'new') {
      this.#line = 'dropped';
      return;
    }
    this.#endPartial(out);
    this.#line = 'delivered';
    this.#partialBytes = 0;
    if (this.#timestampsWanted) out.push(head);
  }

  /** The rest of a begun line is gone for good: what follows must not be glued to it. */
  #endPartial(out: Buffer[]): void {
    if (this.#partialBytes !== undefined && this.#partialBytes > 0) out.push(LINE_END);
    this.#partialBytes = undefined;
  }

  #takeBody(bytes: Buffer, out: Buffer[]): void {
    if (this.#line === 'foreign') {
      out.push(bytes);
      return;
    }
    const before = this.#lineBytes;
    this.#lineBytes += bytes.length;
    if (this.#line === 'dropped') return;
    const has = this.#partialBytes ?? 0;
    if (this.#lineBytes <= has) return;
    out.push(before >= has ? bytes : bytes.subarray(has - before));
    this.#partialBytes = this.#lineBytes;
  }

  #endLine(): void {
    if (this.#line === 'delivered') this.#partialBytes = undefined;
    this.#line = 'none';
  }
}

const EMPTY = Buffer.alloc(0);
const LINE_END = Buffer.from('\n');
const NEWLINE = 0x0a;
const SPACE = 0x20;
/** `2026-11-23T20:28:27.123456789+02:00 ` and some room. */
const MAX_TIMESTAMP_BYTES = 40;
/** In the time zone of the node: whole second, fraction, offset. */
const TIMESTAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

let lastSecond: { text: string; zone: string; ms: number } | undefined;

/** Neighbouring lines are of the same second. */
function secondMs(text: string, zone: string): number {
  if (lastSecond?.text !== text || lastSecond.zone !== zone) lastSecond = { text, zone, ms: Date.parse(text + zone) };
  return lastSecond.ms;
}

/** Whole seconds: the server cuts off what is below them (cluster-facts, Logs). */
export function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
