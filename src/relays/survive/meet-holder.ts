import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import { type HolderFrame, type HolderOpening, openingBytes } from './holder-frames.js';
import { HolderLink, type LinkEnd } from './holder-link.js';

/** From an open connection to the first word of what runs in the container. */
const FIRST_WORD_DEADLINE_MS = 30_000;

export type Hold = Extract<HolderFrame, { kind: 'hold' }>;

/** What became of an exec call of ours. Only `hold` and `look` leave it open. */
export type Meeting =
  /** `link` is to be listened to. */
  | { readonly kind: 'hold'; readonly link: HolderLink; readonly hold: Hold }
  | { readonly kind: 'look'; readonly seconds: number }
  | { readonly kind: 'plain'; readonly reason: string }
  | { readonly kind: 'gone' }
  | { readonly kind: 'taken' }
  /** It ended by itself, or was cut. `begun`: the command may have been started. */
  | { readonly kind: 'ended'; readonly end: LinkEnd; readonly begun: boolean }
  | { readonly kind: 'silent'; readonly begun: boolean };

/** Says what is wanted, and hears whether it can be had. Rejects with the signal's reason. */
export function meetHolder(o: {
  readonly upstream: WebSocket;
  readonly opening: HolderOpening;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What is asked for goes on for so long when the signal aborts; undefined: as long as the holder has patience. */
  readonly lingerSeconds?: number;
}): Promise<Meeting> {
  const link = new HolderLink(o.upstream);
  return new Promise((resolve, reject) => {
    let begun = false;
    const settle = (meeting: Meeting): void => {
      cancel();
      o.signal.removeEventListener('abort', onAbort);
      if (meeting.kind !== 'hold') link.close();
      resolve(meeting);
    };
    const onAbort = (): void => {
      cancel();
      if (o.lingerSeconds === undefined) link.close();
      else link.leave(o.lingerSeconds);
      reject(o.signal.reason);
    };
    const cancel = o.clock.after(FIRST_WORD_DEADLINE_MS, () => {
      settle({ kind: 'silent', begun });
      link.terminate();
    });
    if (o.signal.aborted) {
      cancel();
      link.terminate();
      reject(o.signal.reason);
      return;
    }
    o.signal.addEventListener('abort', onAbort, { once: true });
    link.listen({
      onFrame: (frame) => {
        switch (frame.kind) {
          case 'begun':
            begun = true;
            return;
          case 'hold':
            // What follows is for whoever listens next.
            link.listen(undefined);
            settle({ kind: 'hold', link, hold: frame });
            return;
          case 'plain':
          case 'gone':
          case 'taken':
          case 'look':
            settle(frame);
        }
      },
      onEnd: (end) => settle({ kind: 'ended', end, begun }),
    });
    link.send(openingBytes(o.opening));
  });
}
