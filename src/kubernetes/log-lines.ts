/**
 * Follows a container's log over cuts so that the client gets every line once and in order.
 *
 * Upstream is always asked for timestamps: they say where to go on. The server cuts `sinceTime` to whole seconds and
 * several lines may have one timestamp (cluster-facts, Logs), so that after a resume everything since the beginning of
 * the last second comes again: those lines are recognised by their place within the second and dropped.
 *
 * Pure: bytes come in, the client's bytes go out.
 */
export class LogLines {
  readonly #timestampsWanted: boolean;
  /** Of the newest line that the client has or has begun to get: `2026-11-23T20:28:27`. */
  #second = '';
  /** How many lines of that second the client has, a begun one included. */
  #delivered = 0;
  /** Bytes that the client has of the last of them, its timestamp not counted; undefined when it is whole. */
  #partialBytes: number | undefined;
  /** Place of the present line within its second, on the present connection. */
  #place = 0;
  /** What has come of the present line, its timestamp not counted. */
  #lineBytes = 0;
  #line: 'none' | 'dropped' | 'delivered' = 'none';
  /** The beginning of a line until its timestamp is whole. */
  #head: Buffer = EMPTY;

  constructor(options: { timestampsWanted: boolean }) {
    this.#timestampsWanted = options.timestampsWanted;
  }

  /** `sinceTime` for what follows a cut, as RFC 3339; undefined before the first line. */
  get resumeTime(): string | undefined {
    return this.#second === '' ? undefined : `${this.#second}Z`;
  }

  /** Answers what the client shall have of this chunk. Throws an Error when a line has no timestamp. */
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
    this.#place = 0;
  }

  #takeHead(chunk: Buffer, start: number, out: Buffer[]): number {
    const space = chunk.indexOf(SPACE, start);
    const end = space === -1 ? chunk.length : space + 1;
    const piece = chunk.subarray(start, end);
    this.#head = this.#head.length === 0 ? piece : Buffer.concat([this.#head, piece]);
    if (this.#head.length > MAX_TIMESTAMP_BYTES) throw new Error('a log line has no timestamp');
    if (space === -1) return end;
    const stamp = this.#head.toString('latin1', 0, this.#head.length - 1);
    if (!TIMESTAMP.test(stamp)) throw new Error('a log line has no timestamp');
    this.#beginLine(stamp.slice(0, SECOND_LENGTH), out);
    this.#head = EMPTY;
    return end;
  }

  #beginLine(second: string, out: Buffer[]): void {
    if (second !== this.#second) {
      // The rest of a begun line is gone for good: the next must not be glued to it.
      if (this.#partialBytes !== undefined && this.#partialBytes > 0) out.push(LINE_END);
      this.#second = second;
      this.#place = 0;
      this.#delivered = 0;
      this.#partialBytes = undefined;
    }
    this.#place++;
    this.#lineBytes = 0;
    const again =
      this.#place < this.#delivered || (this.#place === this.#delivered && this.#partialBytes === undefined);
    this.#line = again ? 'dropped' : 'delivered';
    if (this.#place <= this.#delivered) return;
    this.#delivered = this.#place;
    this.#partialBytes = 0;
    if (this.#timestampsWanted) out.push(this.#head);
  }

  #takeBody(bytes: Buffer, out: Buffer[]): void {
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
/** `2026-11-23T20:28:27` */
const SECOND_LENGTH = 19;
/** `2026-11-23T20:28:27.123456789Z ` and some room. */
const MAX_TIMESTAMP_BYTES = 40;
/** The kubelet writes UTC. Another offset would make "the same second" ambiguous, and is refused. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;
