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
