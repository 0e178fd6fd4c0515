import { CodedError } from '../../base/errors.js';
import type { TerminalSize } from '../../kubernetes/remote-command.js';
import { type HolderFrame, type HolderProgram, holderWords, INPUT_PIECE_BYTES, type Offsets } from './holder-frames.js';

/** So much output is acknowledged at once; a shell as holder holds few pieces, however short they are. */
const ACKNOWLEDGED_BYTES = 64 * 1024;
const ACKNOWLEDGED_PIECES = 4;

export type ExchangeEvent =
  | { readonly kind: 'output'; readonly stream: 'out' | 'err'; readonly bytes: Buffer }
  | { readonly kind: 'exit'; readonly code: number };

/**
 * What has been said to a command and what it has said, over any number of connections to its holder: input that is not
 * known to have been written is kept and said again, output that comes twice is dropped. Pure.
 */
export class HolderExchange {
  #program: HolderProgram = 'perl';
  /** Input from `#written` on, in order. */
  readonly #kept: Buffer[] = [];
  #written = 0;
  #inputEnd = 0;
  #inputEnded = false;
  #size: TerminalSize | undefined;
  #received: { out: number; err: number } = { out: 0, err: 0 };
  /** Where the streams stand is told by the first holder that is met. */
  #joins: boolean;
  #unacknowledged = { bytes: 0, pieces: 0 };

  constructor(o: { joins: boolean }) {
    this.#joins = o.joins;
  }

  /** Bytes of input that are kept here. */
  get unwritten(): number {
    return this.#inputEnd - this.#written;
  }

  /** What to say when asking for the holder again. */
  get received(): Offsets {
    return this.#joins ? { out: -1, err: -1 } : { ...this.#received };
  }

  /** The answer is what to say to the holder, if there is a connection. */
  input(bytes: Buffer): Buffer[] {
    if (bytes.length === 0 || this.#inputEnded) return [];
    this.#kept.push(bytes);
    this.#inputEnd += bytes.length;
    return this.#words(this.#inputEnd - bytes.length, [bytes]);
  }

  endInput(): Buffer[] {
    if (this.#inputEnded) return [];
    this.#inputEnded = true;
    return [holderWords.endOfInput(this.#inputEnd)];
  }

  resize(size: TerminalSize): Buffer[] {
    this.#size = size;
    return [holderWords.size(size.columns, size.rows)];
  }

  /** A connection to the holder: the answer is what to say first. Throws a CodedError where it holds something else. */
  opened(hold: Extract<HolderFrame, { kind: 'hold' }>): Buffer[] {
    this.#program = hold.program;
    if (this.#joins) {
      this.#joins = false;
      this.#written = hold.taken;
      this.#inputEnd += hold.taken;
      this.#received = { ...hold.from };
    }
    if (hold.taken > this.#inputEnd) throw lost('has input that was never sent');
    if (hold.taken > this.#written) this.#wrote(hold.taken);
    this.#unacknowledged = { bytes: 0, pieces: 0 };
    const words = this.#size === undefined ? [] : [holderWords.size(this.#size.columns, this.#size.rows)];
    words.push(...this.#words(this.#written, this.#kept));
    if (this.#inputEnded) words.push(holderWords.endOfInput(this.#inputEnd));
    return words;
  }

  /** Throws a CodedError where output is missing. */
  receive(frame: HolderFrame): ExchangeEvent | undefined {
    switch (frame.kind) {
      case 'written':
        if (frame.input > this.#inputEnd) throw lost('has input that was never sent');
        this.#wrote(frame.input);
        return undefined;
      case 'output': {
        const { stream, offset } = frame;
        const known = this.#received[stream] - offset;
        if (known < 0) throw lost(`lacks ${-known} bytes of what the command has written`);
        if (known >= frame.bytes.length) return undefined;
        const bytes = frame.bytes.subarray(known);
        this.#received[stream] += bytes.length;
        this.#unacknowledged.bytes += bytes.length;
        this.#unacknowledged.pieces++;
        return { kind: 'output', stream, bytes };
      }
      case 'exit': {
        const missing = frame.end.out - this.#received.out + (frame.end.err - this.#received.err);
        if (missing !== 0) throw lost(`lacks ${missing} bytes of what the command has written`);
        return { kind: 'exit', code: frame.code };
      }
      default:
        return undefined;
    }
  }

  get acknowledgementIsDue(): boolean {
    const { bytes, pieces } = this.#unacknowledged;
    return bytes >= ACKNOWLEDGED_BYTES || pieces >= ACKNOWLEDGED_PIECES;
  }

  /** What to say of the output that has come since the last time; undefined where there was none. */
  acknowledge(): Buffer | undefined {
    if (this.#unacknowledged.pieces === 0) return undefined;
    this.#unacknowledged = { bytes: 0, pieces: 0 };
    return holderWords.got(this.#received);
  }

  #wrote(offset: number): void {
    let done = offset - this.#written;
    while (done > 0) {
      const first = this.#kept[0];
      if (first === undefined) break;
      const n = Math.min(done, first.length);
      if (n === first.length) this.#kept.shift();
      else this.#kept[0] = first.subarray(n);
      this.#written += n;
      done -= n;
    }
  }

  #words(from: number, pieces: readonly Buffer[]): Buffer[] {
    const words: Buffer[] = [];
    let offset = from;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; at += INPUT_PIECE_BYTES) {
        const part = piece.subarray(at, at + INPUT_PIECE_BYTES);
        words.push(holderWords.input(this.#program, offset, part));
        offset += part.length;
      }
    }
    return words;
  }
}

function lost(what: string): CodedError {
  return new CodedError({ code: 'holder-lost-bytes', message: `what holds the command in the container ${what}` });
}
