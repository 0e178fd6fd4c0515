import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.js';
import { afterLag, type Connections } from './connections.js';
import { DelayLine } from './delay-line.js';
import { type CutForm, RESETS } from './faults.js';
import { closeFrame, FrameBoundaries } from './frame-boundaries.js';

const HEAD_END = Buffer.from('\r\n\r\n');
const MAX_HEAD_BYTES = 64 * 1024;
/** How long a client may take to answer a close before its connection is dropped. */
const CLOSE_GRACE_MS = 2000;

export interface SplicedSocketOptions {
  readonly socket: Socket;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly rttMs: number;
  /** Cuts after exactly this many downstream bytes behind the 101's head. */
  readonly cutAfterBytes?: number;
  readonly form: CutForm;
  /** The status of the backend's answer. */
  onStatus(status: number): void;
  onCut(): void;
}

/** The client's socket as the backend holds it: bytes pass as they are, until a cut says otherwise. */
export class SplicedSocket extends Duplex {
  readonly #socket: Socket;
  readonly #source: Readable;
  readonly #sink: Writable;
  readonly #options: SplicedSocketOptions;
  readonly #frames = new FrameBoundaries();
  #head: Buffer | undefined = Buffer.alloc(0);
  #switched = false;
  #left: number;
  #cutForm: CutForm | undefined;
  #over = false;

  constructor(options: SplicedSocketOptions) {
    super({ allowHalfOpen: true });
    const { socket, clock, rttMs } = options;
    this.#socket = socket;
    this.#options = options;
    this.#left = options.cutAfterBytes ?? Number.POSITIVE_INFINITY;
    this.#source = rttMs > 0 ? socket.pipe(new DelayLine(clock, rttMs / 2)) : socket;
    this.#sink = rttMs > 0 ? new DelayLine(clock, rttMs / 2) : socket;
    if (this.#sink !== socket) (this.#sink as DelayLine).pipe(socket);
    this.#source.on('data', (chunk: Buffer) => {
      if (!this.#over && !this.push(chunk)) this.#source.pause();
    });
    let ended = false;
    this.#source.once('end', () => {
      ended = true;
      if (!this.#over) this.push(null);
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      if (this.#source !== socket) this.#source.destroy();
      if (this.#sink !== socket) this.#sink.destroy();
      // What came before an orderly end is still to be read.
      if (ended && !this.readableEnded) this.once('end', () => this.destroy());
      else this.destroy();
    });
  }

  /** Ends the connection in this form; the forms that speak WebSocket wait for the end of the frame under way. */
  cut(form: CutForm): void {
    if (this.#over || this.#cutForm !== undefined) return;
    this.#cutForm = form;
    if (!speaksWebSocket(form) || !this.#switched || this.#frames.between) this.#finish(form);
  }

  override _read(): void {
    this.#source.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const body = this.#over ? undefined : this.#behindHead(chunk);
    if (body === undefined) done();
    else if (this.#switched) this.#passOn(body, done);
    else this.#sink.write(body, done);
  }

  /** Writes what may still pass, and cuts where a cut is due. */
  #passOn(body: Buffer, done: (error?: Error | null) => void): void {
    const form = this.#cutForm ?? this.#options.form;
    const limit = this.#cutForm === undefined ? this.#left : 0;
    const passing = speaksWebSocket(form) ? this.#frames.read(body, limit) : Math.min(body.length, limit);
    if (!speaksWebSocket(form)) this.#frames.read(body);
    this.#left = Math.max(0, this.#left - passing);
    const due = passing >= limit && (!speaksWebSocket(form) || this.#frames.between);
    if (!due) {
      this.#sink.write(body, done);
      return;
    }
    // Even without a byte left to pass, the write's callback says that all before it is with the system.
    this.#sink.write(body.subarray(0, passing), () => {
      this.#arrived(form, () => this.#finish(form));
      done();
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#over) done();
    else this.#sink.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#over) this.#socket.destroy();
    this.#over = true;
    done(error);
  }

  /** The bytes behind the head, undefined until it is whole; the head itself goes on to the client with its last byte. */
  #behindHead(chunk: Buffer): Buffer | undefined {
    if (this.#head === undefined) return chunk;
    const seen = Buffer.concat([this.#head, chunk]);
    const end = seen.indexOf(HEAD_END);
    if (end === -1 && seen.length < MAX_HEAD_BYTES) {
      this.#head = seen;
      return undefined;
    }
    this.#head = undefined;
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(seen.subarray(0, 16).toString('latin1'))?.[1] ?? 0);
    this.#switched = status === 101 && end !== -1;
    this.#options.onStatus(status);
    if (!this.#switched) return seen;
    this.#sink.write(seen.subarray(0, end + HEAD_END.length));
    return seen.subarray(end + HEAD_END.length);
  }

  /** Calls `fn` when what was written has left the delay line as well, and the client has had time to read it. */
  #arrived(form: CutForm, fn: () => void): void {
    const { clock, rttMs } = this.#options;
    if (RESETS.has(form)) afterLag(clock, fn, rttMs);
    else if (rttMs === 0) fn();
    else clock.after(rttMs, fn);
  }

  #finish(form: CutForm): void {
    if (this.#over) return;
    this.#over = true;
    const { connections, clock } = this.#options;
    const socket = this.#socket;
    this.#source.resume();
    if (RESETS.has(form)) {
      connections.reset(socket);
    } else if (form === 'close-1006') {
      connections.endTcp(socket);
    } else {
      if (this.#switched && form !== 'fin') socket.write(closeFrame(CLOSE_CODES[form], CLOSE_REASONS[form]));
      socket.end();
    }
    const cancel = clock.after(CLOSE_GRACE_MS, () => socket.destroy());
    socket.once('close', cancel);
    this.#options.onCut();
    this.destroy();
  }
}

/** What the close frame says; `clean-end` names no code. */
const CLOSE_CODES: Partial<Record<CutForm, number>> = { 'close-1000': 1000, 'close-1001': 1001, 'close-1011': 1011 };
const CLOSE_REASONS: Partial<Record<CutForm, string>> = {
  'close-1011': 'generic::failed_precondition: agent connection failed/terminated',
};

function speaksWebSocket(form: CutForm): boolean {
  return form === 'clean-end' || CLOSE_CODES[form] !== undefined;
}
