import { CodedError } from '../../base/errors.js';
import type { TerminalSize } from '../../kubernetes/remote-command.js';
import { type HolderFrame, type HolderProgram, holderWords, type Offsets, paceOf } from './holder-frames.js';

/** A shell as holder keeps few pieces of stderr, however short they are. */
const ACKNOWLEDGED_ERR_PIECES = 4;
/** A call that was cut reaches its container within this time, or never. */
export const LATE_START_SECONDS = 60;

export type ExchangeEvent =
  | { readonly kind: 'output'; readonly stream: 'out' | 'err'; readonly bytes: Buffer }
  | { readonly kind: 'exit'; readonly code: number };

/**
 * What has been said to a command and what it has said, over any number of connections to its holder: input that is not
 * known to have been written is kept and said again, output that comes twice is dropped. Pure.
 */
export class HolderExchange {
  /** Of the present connection; undefined between two. */
  #program: HolderProgram | undefined;
  /** Of the last one. */
  #pace = paceOf('perl');
  /** Input from `#written` on, in order. */
  #kept: Buffer[] = [];
  #written = 0;
  /** What has been said over the present connection. */
  #said = 0;
  #inputEnd = 0;
  #inputEnded = false;
  #endSaid = false;
  #size: TerminalSize | undefined;
  #sizeSaid = false;
  #received: { out: number; err: number } = { out: 0, err: 0 };
  /** Where the streams stand is told by the first holder that is met. */
  #joins: boolean;
  #unacknowledged = { bytes: 0, errPieces: 0 };
  /** A call to start the command was cut: it may still reach the container. */
  readonly #startMayBeLate: boolean;
  #refusalSaid = false;

  constructor(o: { joins: boolean; startMayBeLate?: boolean }) {
    this.#joins = o.joins;
    this.#startMayBeLate = o.startMayBeLate ?? false;
  }

  /** So much input is kept here that no more should come. */
  get isFull(): boolean {
    return this.#inputEnd - this.#written >= this.#pace.inputWindowBytes;
  }

  /** What to say when asking for the holder again. */
  get received(): Offsets {
    return this.#joins ? { out: -1, err: -1 } : { ...this.#received };
  }

  input(bytes: Buffer): void {
    if (bytes.length === 0 || this.#inputEnded) return;
    this.#kept.push(bytes);
    this.#inputEnd += bytes.length;
  }

  endInput(): void {
    this.#inputEnded = true;
  }

  resize(size: TerminalSize): void {
    this.#size = size;
    this.#sizeSaid = false;
  }

  /** There is a connection to the holder. Throws a CodedError where it holds something else. */
  opened(hold: Extract<HolderFrame, { kind: 'hold' }>): void {
    if (this.#joins) {
      this.#joins = false;
      this.#written = hold.taken;
      this.#inputEnd += hold.taken;
      this.#received = { ...hold.from };
    }
    if (hold.taken > this.#inputEnd) throw lost('has input that was never sent');
    this.#wrote(hold.taken);
    this.#program = hold.program;
    this.#pace = paceOf(hold.program);
    this.#said = this.#written;
    this.#sizeSaid = false;
    this.#endSaid = false;
    this.#refusalSaid = false;
    this.#unacknowledged = { bytes: 0, errPieces: 0 };
  }

  cut(): void {
    this.#program = undefined;
  }

  /** What is to be said now: after everything that comes from the client, and after every frame. */
  words(): Buffer[] {
    const program = this.#program;
    if (program === undefined) return [];
    const words: Buffer[] = [];
    if (this.#startMayBeLate && !this.#refusalSaid) {
      this.#refusalSaid = true;
      words.push(holderWords.refuse(LATE_START_SECONDS));
    }
    if (this.#size !== undefined && !this.#sizeSaid) {
      this.#sizeSaid = true;
      words.push(holderWords.size(this.#size.columns, this.#size.rows));
    }
    const most = this.#pace.inputPieceBytes;
    while (this.#said < this.#inputEnd) {
      const unsaid = this.#inputEnd - this.#said;
      // Every piece costs a shell processes: what comes while one is under way is put together.
      if (program === 'sh' && this.#said > this.#written && unsaid < most) break;
      const bytes = this.#slice(this.#said, Math.min(most, unsaid));
      words.push(holderWords.input(program, this.#said, bytes));
      this.#said += bytes.length;
    }
    if (this.#inputEnded && !this.#endSaid && this.#said === this.#inputEnd) {
      this.#endSaid = true;
      words.push(holderWords.endOfInput(this.#inputEnd));
    }
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
        if (stream === 'err') this.#unacknowledged.errPieces++;
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
    const { bytes, errPieces } = this.#unacknowledged;
    return bytes >= this.#pace.acknowledgedBytes || errPieces >= ACKNOWLEDGED_ERR_PIECES;
  }

  /** What to say of the output that has come since the last time; undefined where there was none. */
  acknowledge(): Buffer | undefined {
    if (this.#program === undefined || this.#unacknowledged.bytes === 0) return undefined;
    this.#unacknowledged = { bytes: 0, errPieces: 0 };
    return holderWords.got(this.#received);
  }

  #wrote(offset: number): void {
    for (let done = offset - this.#written; done > 0; ) {
      const [first] = this.#kept;
      if (first === undefined) break;
      const n = Math.min(done, first.length);
      if (n === first.length) this.#kept.shift();
      else this.#kept[0] = first.subarray(n);
      this.#written += n;
      done -= n;
    }
    this.#said = Math.max(this.#said, this.#written);
  }

  #slice(from: number, length: number): Buffer {
    const parts: Buffer[] = [];
    let offset = this.#written;
    let left = length;
    for (const piece of this.#kept) {
      const start = Math.max(0, from - offset);
      offset += piece.length;
      if (start >= piece.length) continue;
      const part = piece.subarray(start, start + left);
      parts.push(part);
      left -= part.length;
      if (left === 0) break;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}

function lost(what: string): CodedError {
  return new CodedError({ code: 'holder-lost-bytes', message: `what holds the command in the container ${what}` });
}
