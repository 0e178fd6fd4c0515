import { CodedError } from '../../base/errors.js';
import { BOOTSTRAP, PERL, PYTHON, SHELL } from './program-texts.js';

/** Bytes of one piece of input: a program in the container reads it whole. To a shell every piece costs three processes. */
export function inputPieceBytes(program: HolderProgram): number {
  return program === 'sh' ? 128 * 1024 : 32 * 1024;
}

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

/** Reads a holder's words as they come in pieces of any size. Output is told in whole pieces only. */
export class HolderFrameDecoder {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that are needed before another look is worth it. */
  #needed = 1;

  /** Throws a CodedError where it is no holder that speaks. */
  push(chunk: Buffer): HolderFrame[] {
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
      if (words[0] === 'out' || words[0] === 'err') {
        const size = count(words[2]);
        if (size > MAX_OUTPUT_PIECE_BYTES) throw noHolder('says too much at once');
        rest += size;
        if (bytes.length < rest) {
          this.#needed = rest;
          break;
        }
        const piece = bytes.subarray(end + 1, rest);
        frames.push({ kind: 'output', stream: words[0], offset: count(words[1]), bytes: piece });
      } else {
        frames.push(parseWords(words));
      }
      bytes = bytes.subarray(rest);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#length = bytes.length;
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
