import { setMaxListeners } from 'node:events';
import type { Clock } from './clock.js';

/** Aborts after `ms` of the clock, with a TimeoutError as `AbortSignal.timeout` does. */
export function deadline(clock: Clock, ms: number): AbortSignal {
  const controller = new AbortController();
  // Many calls may have one deadline.
  setMaxListeners(0, controller.signal);
  clock.after(ms, () => controller.abort(new DOMException(`no answer within ${ms / 1000} s`, 'TimeoutError')));
  return controller.signal;
}

/** A signal of one call: aborts with the caller's own, or when the time is over. */
export interface CallDeadline {
  readonly signal: AbortSignal;
  readonly isOver: boolean;
  /** The call is done: neither timer nor listener is left. */
  end(): void;
}

/** What `AbortSignal.any` with a timeout would leave behind for the length of that timeout, `end` takes away. */
export function callDeadline(o: { clock: Clock; ms: number; signal: AbortSignal }): CallDeadline {
  const controller = new AbortController();
  let isOver = false;
  const follow = (): void => controller.abort(o.signal.reason);
  if (o.signal.aborted) follow();
  o.signal.addEventListener('abort', follow, { once: true });
  const cancel = o.clock.after(o.ms, () => {
    isOver = true;
    controller.abort(new DOMException(`no answer within ${o.ms / 1000} s`, 'TimeoutError'));
  });
  return {
    signal: controller.signal,
    get isOver() {
      return isOver;
    },
    end: () => {
      cancel();
      o.signal.removeEventListener('abort', follow);
    },
  };
}
