import type { ApiRequest } from '../kubernetes/api-request.js';
import { parseLogRequest } from '../kubernetes/log-request.js';
import type { Continuation } from './continuation.js';
import { LogContinuation } from './log-continuation.js';
import { WatchContinuation } from './watch-continuation.js';

/** Undefined for requests whose body is carried as it comes. `now` is monotonic. */
export function chooseContinuation(options: {
  api: ApiRequest;
  method: string;
  target: string;
  now: number;
}): Continuation | undefined {
  const { api, target, now } = options;
  if (options.method !== 'GET') return undefined;
  if (api.kind === 'watch') return new WatchContinuation({ target, now });
  if (api.kind !== 'log-follow') return undefined;
  const request = parseLogRequest(target);
  return request.previous ? undefined : new LogContinuation(request);
}
