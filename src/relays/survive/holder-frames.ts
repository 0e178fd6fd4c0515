import { CodedError } from '../../base/errors.js';
import { BOOTSTRAP, PERL, PYTHON, SHELL } from './program-texts.js';

/** How much of a command's streams is on the way at once. */
export interface Pace {
  /** Of one piece of input: a program in the container reads it whole. */
  readonly inputPieceBytes: number;
  /** Input that may not be known to have been written. */
  readonly inputWindowBytes: number;
  /** So much output is acknowledged at once. */
  readonly acknowledgedBytes: number;
}

/** To a shell a piece of input is two processes, and a line that it reads is as many system calls as it has letters. */
const PACES: Readonly<Record<HolderProgram, Pace>> = {
  perl: { inputPieceBytes: 32 * 1024, inputWindowBytes: 256 * 1024, acknowledgedBytes: 64 * 1024 },
  python: { inputPieceBytes: 32 * 1024, inputWindowBytes: 256 * 1024, acknowledgedBytes: 64 * 1024 },
  sh: { inputPieceBytes: 2 * 1024 * 1024, inputWindowBytes: 4 * 1024 * 1024, acknowledgedBytes: 1024 * 1024 },
};

export function paceOf(program: HolderProgram): Pace {
  return PACES[program];
}

const MAX_EARLY_BYTES = 1024 * 1024;
/** A holder's pieces are of 64 KiB at most. */
const MAX_OUTPUT_PIECE_BYTES = 64 * 1024;
const MAX_LINE_BYTES = 128;
/** Bytes of input that a shell is given as the text of a `printf`, which costs it no process. */
const TYPED_BYTES = 64;
const NEWLINE = 0x0a;

/** What an exec call of ours asks for in the container. */
export interface HolderOpening {
  /** `start`: run the command, or join it where another call of the same name has done so. */
  readonly verb: 'start' | 'join' | 'look';
  /** 32 hex digits: of the session, known to nobody else. */
  readonly name: string;
  /** A later call of the same session has a higher one, and takes over. */
  readonly turn: number;
  /** How much of each stream has come; -1 where that is not known. */
  readonly received: Readonly<Record<OutputName, number>>;
  /** How long the command goes on without us. */
  readonly lingerSeconds: number;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export type OutputName = 'out' | 'err';

/** The script of `sh -c`: as short as a request's line wants it. */
export function bootstrapScript(): string {
  const lengths: Record<string, number> = { PERL: PERL.length, PYTHON: PYTHON.length, SHELL: SHELL.length };
  return BOOTSTRAP.replace(/\b(?:PERL|PYTHON|SHELL)\b/g, (name) => String(lengths[name]));
}

/** What the bootstrap reads first: what is wanted, and the programs to do it. */
export function openingBytes(o: HolderOpening): Buffer {
  const flags = [o.tty, o.stdin, o.stdout, o.stderr].map(Number).join(' ');
  const { out, err } = o.received;
  const line = `${o.verb} ${o.name} ${o.turn} ${out} ${err} ${o.lingerSeconds} ${flags}\n`;
  return Buffer.from(line + PERL + PYTHON + SHELL, 'latin1');
}

export type HolderProgram = 'perl' | 'python' | 'sh';

/** What is said to a holder. */
export const holderWords = {
  /** `bytes` are the input from `offset` on, counted from the session's first. */
  input(program: HolderProgram, offset: number, bytes: Buffer): Buffer {
    if (program === 'sh' && bytes.length <= TYPED_BYTES) {
      const octal = Array.from(bytes, (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
      return Buffer.from(`type ${offset} ${bytes.length} ${octal}\n`);
    }
    return Buffer.concat([Buffer.from(`in ${offset} ${bytes.length}\n`), bytes, Buffer.of(NEWLINE)]);
  },
  endOfInput: (offset: number): Buffer => Buffer.from(`eof ${offset}\n`),
  size: (columns: number, rows: number): Buffer => Buffer.from(`size ${columns} ${rows}\n`),
  /** How much of each stream has come: no more of it is kept. */
  got: (received: Readonly<Record<OutputName, number>>): Buffer => Buffer.from(`got ${received.out} ${received.err}\n`),
  beat: Buffer.from('beat\n'),
  /** A call to start it may still be on its way: after the end it is refused for so long. */
  refuse: (seconds: number): Buffer => Buffer.from(`refuse ${seconds}\n`),
  /** Nobody is there any more: to be hung up after this many seconds. */
  leave: (seconds: number): Buffer => Buffer.from(`leave ${seconds}\n`),
  /** All that there was has come. */
  done: Buffer.from('done\n'),
};

/** What a holder, or the program that looks for one, says. */
export type HolderFrame =
  /** The command may run from here on. */
  | { readonly kind: 'begun' }
  /** It runs; so much input has been taken, and from here on the streams go on. */
  | { readonly kind: 'hold'; readonly program: HolderProgram; readonly taken: number; readonly from: Offsets }
  /** Nothing has been started: run it as if we were not there. */
  | { readonly kind: 'plain'; readonly reason: string }
  /** There is no such session in this container. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'output'; readonly stream: OutputName; readonly offset: number; readonly bytes: Buffer }
  /** So much input has been written to the command. */
  | { readonly kind: 'written'; readonly input: number }
  /** 128 + n for signal n. The streams end at these offsets. */
  | { readonly kind: 'exit'; readonly code: number; readonly end: Offsets }
  /** Another call of the same session has taken over. */
  | { readonly kind: 'taken' }
  /** An answer to our last word. */
  | { readonly kind: 'bye' }
  /** The session is there, and would wait for so long. */
  | { readonly kind: 'look'; readonly seconds: number }
  | { readonly kind: 'beat' };

export type Offsets = Readonly<Record<OutputName, number>>;

/** Reads words, and output that is announced by them, as they come in pieces of any size. */
class WordReader {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that are needed before another look is worth it. */
  #needed = 1;

  /** Output is told in whole pieces only. `last`: what follows such a frame is not looked at. */
  push(chunk: Buffer, last: (frame: HolderFrame) => boolean = () => false): HolderFrame[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return [];
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const frames: HolderFrame[] = [];
    this.#needed = 1;
    while (bytes.length > 0) {
      const end = bytes.indexOf(NEWLINE);
      if (end === -1 || end > MAX_LINE_BYTES) {
        if (bytes.length > MAX_LINE_BYTES) throw noHolder('says no word');
        break;
      }
      const words = bytes.toString('latin1', 0, end).split(' ');
      let rest = end + 1;
      let frame: HolderFrame;
      if (words[0] === 'out' || words[0] === 'err') {
        const size = count(words[2]);
        if (size > MAX_OUTPUT_PIECE_BYTES) throw noHolder('says too much at once');
        rest += size;
        if (bytes.length < rest) {
          this.#needed = rest;
          break;
        }
        frame = { kind: 'output', stream: words[0], offset: count(words[1]), bytes: bytes.subarray(end + 1, rest) };
      } else {
        frame = parseWords(words);
      }
      frames.push(frame);
      bytes = bytes.subarray(rest);
      if (last(frame)) break;
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#length = bytes.length;
    return frames;
  }

  /** What has not been looked at. */
  rest(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/**
 * Reads what a holder says by the two outputs of an exec call. Perl and Python say all by stdout, and what comes by stderr
 * is nobody's. A shell's words come by stderr once it has said `hold`, and stdout is the command's from there on.
 */
export class HolderDecoder {
  readonly #stdout = new WordReader();
  readonly #stderr = new WordReader();
  /** Of stderr, which may be quicker than the word that tells whose it is. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #speaker: HolderProgram | undefined;
  /** Where the command's own bytes go on. */
  #offset = 0;
  /** It may be quicker than the output before it. */
  #exit: Extract<HolderFrame, { kind: 'exit' }> | undefined;

  /** Throws a CodedError where it is no holder that speaks. */
  stdout(chunk: Buffer): HolderFrame[] {
    if (this.#speaker === 'sh') return this.#raw(chunk);
    const frames = this.#stdout.push(chunk, (frame) => frame.kind === 'hold' && frame.program === 'sh');
    const hold = frames.at(-1);
    if (hold?.kind === 'hold') this.#speaker = hold.program;
    if (hold?.kind !== 'hold' || hold.program !== 'sh') return frames;
    this.#offset = hold.from.out;
    const early = Buffer.concat(this.#early);
    this.#early = [];
    return [...frames, ...this.#raw(this.#stdout.rest()), ...this.stderr(early)];
  }

  /** Throws a CodedError where it is no holder that speaks. */
  stderr(chunk: Buffer): HolderFrame[] {
    if (this.#speaker === undefined) {
      this.#earlyBytes += chunk.length;
      // No holder says so much before its first word.
      if (this.#earlyBytes <= MAX_EARLY_BYTES) this.#early.push(chunk);
      return [];
    }
    if (this.#speaker !== 'sh') return [];
    const frames = this.#stderr.push(chunk);
    const last = frames.at(-1);
    if (last?.kind !== 'exit' || last.end.out <= this.#offset) return frames;
    this.#exit = last;
    return frames.slice(0, -1);
  }

  #raw(bytes: Buffer): HolderFrame[] {
    if (bytes.length === 0) return [];
    const frames: HolderFrame[] = [{ kind: 'output', stream: 'out', offset: this.#offset, bytes }];
    this.#offset += bytes.length;
    if (this.#exit !== undefined && this.#exit.end.out <= this.#offset) {
      frames.push(this.#exit);
      this.#exit = undefined;
    }
    return frames;
  }
}

const PROGRAMS: ReadonlySet<string> = new Set<HolderProgram>(['perl', 'python', 'sh']);

function parseWords(words: readonly string[]): HolderFrame {
  const [word = '', first = '', second, third, fourth] = words;
  switch (word) {
    case 'begun':
    case 'gone':
    case 'taken':
    case 'bye':
    case 'beat':
      return { kind: word };
    case 'look':
      return { kind: 'look', seconds: count(first) };
    case 'plain':
      return { kind: 'plain', reason: /^[a-z0-9-]{1,40}$/.test(first) ? first : 'unknown' };
    case 'hold': {
      if (!PROGRAMS.has(first)) throw noHolder('has no known name');
      const from = { out: count(third), err: count(fourth) };
      return { kind: 'hold', program: first as HolderProgram, taken: count(second), from };
    }
    case 'in':
      return { kind: 'written', input: count(first) };
    case 'exit':
      return { kind: 'exit', code: count(first), end: { out: count(second), err: count(third) } };
    default:
      throw noHolder('says an unknown word');
  }
}

function count(word: string | undefined): number {
  if (word === undefined || !/^\d{1,15}$/.test(word)) throw noHolder('says no number where one belongs');
  return Number(word);
}

/** What it said is somebody's output: it is not repeated. */
function noHolder(what: string): CodedError {
  return new CodedError({
    code: 'holder-unreadable',
    message: `what answered in the container is not what was sent there: it ${what}`,
    retry: 'never',
  });
}
