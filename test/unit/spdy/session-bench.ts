import type { CodedError } from '../../../src/base/errors.js';
import { SpdyDecoder } from '../../../src/spdy/decode.js';
import { SpdyEncoder } from '../../../src/spdy/encode.js';
import type { SpdyFrame } from '../../../src/spdy/frame.js';
import type { SpdySessionOptions } from '../../../src/spdy/session.js';
import { SpdySession } from '../../../src/spdy/session.js';
import type { SpdyStream, SpdyStreamHandlers } from '../../../src/spdy/stream.js';
import { dataFrame } from '../../support/data-frame.js';

/** A session over a transport that is a list. */
export class Bench {
  readonly session: SpdySession;
  readonly sent: SpdyFrame[] = [];
  readonly streams: SpdyStream[] = [];
  /** `pause` and `resume` as the transport heard them. */
  readonly reading: string[] = [];
  readonly ends: (CodedError | undefined)[] = [];
  readonly pongs: number[] = [];
  readonly goAways: number[] = [];
  room = true;
  readonly #decoder = new SpdyDecoder((frame) => this.sent.push(frame));

  constructor(role: 'client' | 'server' = 'server', onStream?: SpdySessionOptions['onStream']) {
    this.session = new SpdySession({
      role,
      write: (frame) => {
        for (const part of frame) this.#decoder.push(part);
        return this.room;
      },
      pause: () => this.reading.push('pause'),
      resume: () => this.reading.push('resume'),
      onStream: (stream) => {
        this.streams.push(stream);
        onStream?.(stream);
      },
      onEnd: (error) => this.ends.push(error),
      onPong: (id) => this.pongs.push(id),
      onGoAway: (status) => this.goAways.push(status),
    });
  }

  /** The frames sent since the last look. */
  take(): SpdyFrame[] {
    return this.sent.splice(0);
  }
}

/** A consumer that notes what it is told and takes `room` chunks before it blocks. */
export class Consumer implements SpdyStreamHandlers {
  readonly seen: string[] = [];
  room = Number.POSITIVE_INFINITY;

  onData(chunk: Buffer): boolean {
    this.seen.push(chunk.toString());
    return --this.room > 0;
  }

  onEnd(): void {
    this.seen.push('<end>');
  }

  onReset(status: number | undefined): void {
    this.seen.push(`<reset ${status}>`);
  }

  onDrain(): void {
    this.seen.push('<drain>');
  }

  onReply(): void {
    this.seen.push('<reply>');
  }
}

export function data(streamId: number, text: string, fin = false): Buffer {
  return dataFrame({ streamId, payload: Buffer.from(text), fin });
}

/** A server session that accepts everything, with one consumer a stream. */
export function acceptingServer(room = Number.POSITIVE_INFINITY) {
  const consumers: Consumer[] = [];
  const bench = new Bench('server', (stream) => {
    const consumer = new Consumer();
    consumer.room = room;
    consumers.push(consumer);
    stream.accept();
    stream.consume(consumer);
  });
  const encoder = new SpdyEncoder();
  const open = (streamId: number, fin = false): void => {
    bench.session.receive(encoder.synStream({ streamId, headers: [['streamtype', 'data']], fin }));
  };
  return { bench, consumers, encoder, open };
}
