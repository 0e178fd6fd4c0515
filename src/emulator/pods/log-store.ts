import { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import type { LogOptions } from './pod-runtime.js';

/** As containerd: a longer line is stored, and shown to followers, in pieces of this size. */
const PIECE_BYTES = 16 * 1024;
/** What one read of a log hands on at most; a pipe's usual size. */
const READ_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const NS_PER_MS = 1_000_000;

/** A line, or a piece of a line longer than PIECE_BYTES. `text` holds the newline when `ends`. */
interface Entry {
  readonly ms: number;
  readonly ns: number;
  readonly text: Buffer;
  /** First piece of its line: the one that carries the timestamp. */
  readonly starts: boolean;
  /** Last piece of its line. */
  readonly ends: boolean;
}

interface Pending {
  chunks: Buffer[];
  bytes: number;
  /** Some pieces of the line are stored already. */
  continued: boolean;
}

/** The output of one container instance: the newest `capacityBytes` of it. */
export class LogStore {
  readonly #clock: Clock;
  readonly #capacityBytes: number;
  readonly #waiting = new Set<() => void>();
  readonly #pending = { stdout: emptyPending(), stderr: emptyPending() };
  #entries: Entry[] = [];
  /** Sequence number of the first entry kept. */
  #first = 0;
  #bytes = 0;
  #lastMs = 0;
  #lastNs = 0;
  #ended = false;

  constructor(options: { clock: Clock; capacityBytes: number }) {
    this.#clock = options.clock;
    this.#capacityBytes = options.capacityBytes;
  }

  get ended(): boolean {
    return this.#ended;
  }

  append(stream: 'stdout' | 'stderr', data: Buffer): void {
    const pending = this.#pending[stream];
    let rest = data;
    while (rest.length > 0) {
      const room = PIECE_BYTES - pending.bytes;
      const newline = rest.subarray(0, room + 1).indexOf(NEWLINE);
      if (newline >= 0) {
        this.#push(pending, rest.subarray(0, newline + 1), true);
        rest = rest.subarray(newline + 1);
      } else if (rest.length >= room) {
        this.#push(pending, rest.subarray(0, room), false);
        rest = rest.subarray(room);
      } else {
        pending.chunks.push(Buffer.from(rest));
        pending.bytes += rest.length;
        rest = rest.subarray(rest.length);
      }
    }
    this.#wake();
  }

  /** The instance has ended: an unfinished line becomes a whole one, followers end. */
  end(): void {
    if (this.#ended) return;
    for (const pending of [this.#pending.stdout, this.#pending.stderr]) {
      if (pending.bytes > 0 || pending.continued) this.#push(pending, Buffer.of(NEWLINE), true);
    }
    this.#ended = true;
    this.#wake();
  }

  /** A follower ends with the instance or with `signal`. */
  open(options: Omit<LogOptions, 'previous'>, signal?: AbortSignal): Readable {
    const reader = new LogReader(this, options);
    if (signal?.aborted) reader.finish();
    else if (signal !== undefined) {
      const onAbort = (): void => reader.finish();
      signal.addEventListener('abort', onAbort, { once: true });
      reader.once('close', () => signal.removeEventListener('abort', onAbort));
    }
    return reader;
  }

  /** The next sequence number from `position` on whose entry is kept. */
  clamp(position: number): number {
    return Math.max(position, this.#first);
  }

  get nextPosition(): number {
    return this.#first + this.#entries.length;
  }

  at(position: number): Entry | undefined {
    return this.#entries[position - this.#first];
  }

  /** Where the last `lines` lines begin. */
  tailPosition(lines: number): number {
    let position = this.nextPosition;
    if (lines <= 0) return position;
    let left = lines;
    while (position > this.#first) {
      const entry = this.at(position - 1);
      if (entry === undefined) break;
      position--;
      if (entry.starts && --left === 0) break;
    }
    return position;
  }

  onMore(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  #push(pending: Pending, last: Buffer, ends: boolean): void {
    const text = Buffer.concat([...pending.chunks, last]);
    const { ms, ns } = this.#timestamp();
    this.#entries.push({ ms, ns, text, starts: !pending.continued, ends });
    this.#bytes += text.length;
    pending.chunks = [];
    pending.bytes = 0;
    pending.continued = !ends;
    this.#trim();
  }

  /** Strictly increasing, so that no two lines of an instance share one. */
  #timestamp(): { ms: number; ns: number } {
    const ms = Math.floor(this.#clock.now());
    if (ms > this.#lastMs) {
      this.#lastMs = ms;
      this.#lastNs = 0;
    } else if (++this.#lastNs === NS_PER_MS) {
      this.#lastMs++;
      this.#lastNs = 0;
    }
    return { ms: this.#lastMs, ns: this.#lastNs };
  }

  #trim(): void {
    if (this.#bytes <= this.#capacityBytes) return;
    // Cut to 7/8, so that the array is not moved for every line of a chatty container.
    const target = (this.#capacityBytes / 8) * 7;
    let drop = 0;
    while (this.#bytes > target && drop < this.#entries.length - 1)
      this.#bytes -= this.#entries[drop++]?.text.length ?? 0;
    this.#entries = this.#entries.slice(drop);
    this.#first += drop;
  }
}

class LogReader extends Readable {
  readonly #store: LogStore;
  readonly #options: Omit<LogOptions, 'previous'>;
  #position: number;
  #left: number;
  #stopAt: number;
  #finished = false;
  #cancel: (() => void) | undefined;

  constructor(store: LogStore, options: Omit<LogOptions, 'previous'>) {
    super({ highWaterMark: READ_BYTES });
    this.#store = store;
    this.#options = options;
    this.#position = options.tailLines === undefined ? store.clamp(0) : store.tailPosition(options.tailLines);
    this.#left = options.limitBytes ?? Number.POSITIVE_INFINITY;
    this.#stopAt = options.follow ? Number.POSITIVE_INFINITY : store.nextPosition;
  }

  /** Ends after what was handed on already. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#cancel?.();
    this.push(null);
  }

  override _read(): void {
    if (this.#finished) return;
    this.#cancel?.();
    const chunk = this.#take();
    if (chunk.length > 0) this.push(chunk);
    const done = this.#left <= 0 || this.#position >= this.#stopAt;
    if (done || (chunk.length === 0 && this.#store.ended)) this.finish();
    else if (chunk.length === 0) this.#cancel = this.#store.onMore(() => this._read());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#finished = true;
    this.#cancel?.();
    callback(error);
  }

  #take(): Buffer {
    const parts: Buffer[] = [];
    let bytes = 0;
    while (bytes < READ_BYTES && this.#left > 0 && this.#position < this.#stopAt) {
      this.#position = this.#store.clamp(this.#position);
      const entry = this.#store.at(this.#position);
      if (entry === undefined) break;
      this.#position++;
      if (this.#options.sinceTime !== undefined && entry.ms < this.#options.sinceTime) continue;
      let part = entry.text;
      if (this.#options.timestamps && entry.starts) part = Buffer.concat([formatTimestamp(entry.ms, entry.ns), part]);
      if (part.length > this.#left) part = part.subarray(0, this.#left);
      this.#left -= part.length;
      bytes += part.length;
      parts.push(part);
    }
    return Buffer.concat(parts, bytes);
  }
}

/** RFC 3339 with always nine digits of a second, as the kubelet prints it. */
function formatTimestamp(ms: number, ns: number): Buffer {
  const fraction = String((ms % 1000) * NS_PER_MS + ns).padStart(9, '0');
  return Buffer.from(`${new Date(ms).toISOString().slice(0, 19)}.${fraction}Z `);
}

function emptyPending(): Pending {
  return { chunks: [], bytes: 0, continued: false };
}
