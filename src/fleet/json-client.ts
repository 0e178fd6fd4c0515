import type { Dispatcher } from 'undici';
import { request } from 'undici';
import { type Clock, sleep } from '../base/clock.js';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import type { TokenSource } from '../credentials/token-source.js';

const DEADLINE_MS = 30_000;
const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 500;
/** A fleet of a thousand memberships in one page is about 2 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** GET of Google's JSON APIs with the daemon's own identity. */
export interface JsonClient {
  /** Rejects with a CodedError whose code is `google-STATUS` for an answer that is an error, else `google-unreachable`. */
  get(url: string, signal?: AbortSignal): Promise<unknown>;
}

export function createJsonClient(options: {
  tokens: () => TokenSource;
  dispatcher: Dispatcher;
  clock: Clock;
}): JsonClient {
  return {
    async get(url, signal) {
      const tokens = options.tokens();
      let refreshed = false;
      for (let attempt = 1; ; attempt++) {
        const token = await tokens.get(signal);
        const deadline = AbortSignal.timeout(DEADLINE_MS);
        const failure = await ask(url, {
          token: token.value,
          dispatcher: options.dispatcher,
          signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
        });
        if (!(failure instanceof CodedError)) return failure.json;
        signal?.throwIfAborted();
        if (failure.code === 'google-401' && !refreshed) {
          tokens.invalidate(token);
          refreshed = true;
        } else if (failure.retry === 'later' && attempt < ATTEMPTS) {
          await sleep(options.clock, FIRST_PAUSE_MS * 2 ** (attempt - 1), signal);
        } else {
          throw failure;
        }
      }
    },
  };
}

async function ask(
  url: string,
  call: { token: string; dispatcher: Dispatcher; signal: AbortSignal },
): Promise<{ json: unknown } | CodedError> {
  const { host, pathname } = new URL(url);
  try {
    const { statusCode, body } = await request(url, {
      dispatcher: call.dispatcher,
      signal: call.signal,
      headers: { authorization: `Bearer ${call.token}`, accept: 'application/json' },
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > MAX_ANSWER_BYTES) throw new Error(`its answer exceeds ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk as Buffer);
    }
    const text = Buffer.concat(chunks).toString('utf8');
    if (statusCode !== 200) return refusal(statusCode, text, `${host}${pathname}`);
    return { json: JSON.parse(text) };
  } catch (error) {
    return new CodedError({
      code: 'google-unreachable',
      message: `${host}: ${systemCode(error) ?? describeError(error)}`,
      retry: 'later',
      answer: { status: 502, reason: 'BadGateway' },
      cause: error,
    });
  }
}

function refusal(status: number, text: string, where: string): CodedError {
  let told = '';
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    if (typeof error?.message === 'string') told = error.message;
  } catch {
    // An HTML page of a front end: the status says enough.
  }
  return new CodedError({
    code: `google-${status}`,
    message: `${where} answered HTTP ${status}${told === '' ? '' : `: ${told}`}`,
    retry: status === 429 || status >= 500 ? 'later' : 'never',
    answer: { status, reason: 'Unknown' },
  });
}
