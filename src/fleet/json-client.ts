import { type Clock, sleep } from '../base/clock.js';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import { type DispatcherSource, loadUndici } from '../base/undici.js';
import type { TokenSource } from '../credentials/token-source.js';

/** For a call with all its repetitions: a network that swallows packets must not multiply it. */
const DEADLINE_MS = 30_000;
const RETRIES = 3;
const FIRST_PAUSE_MS = 500;
/** A fleet of a thousand memberships in one page is about 2 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Calls of Google's JSON APIs with the daemon's own identity. They reject with a CodedError whose code is
 * `google-STATUS` for an answer that is an error, `google-unreachable` where there is none, and `google-odd-answer` for
 * one that is no JSON.
 */
export interface JsonClient {
  get(url: string, signal?: AbortSignal): Promise<unknown>;
  /** For methods that change nothing, which alone may be repeated. */
  post(url: string, body: unknown, signal?: AbortSignal): Promise<unknown>;
}

export function createJsonClient(options: JsonClientOptions): JsonClient {
  const withDeadline = async (ask: Ask, signal: AbortSignal | undefined): Promise<unknown> => {
    const { clock, deadlineMs = DEADLINE_MS } = options;
    const deadline = new AbortController();
    const cancel = clock.after(deadlineMs, () => {
      deadline.abort(unreachable(ask.url, `no answer within ${deadlineMs / 1000} s`));
    });
    const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
    try {
      return await call(ask, either, options);
    } finally {
      cancel();
    }
  };
  return {
    get: (url, signal) => withDeadline({ url }, signal),
    post: (url, body, signal) => withDeadline({ url, body: JSON.stringify(body) }, signal),
  };
}

interface Ask {
  readonly url: string;
  /** JSON; makes it a POST. */
  readonly body?: string;
}

export interface JsonClientOptions {
  readonly tokens: () => TokenSource;
  /** Knows the way: certificates that are trusted, forward proxies. */
  readonly dispatcher: DispatcherSource;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
  /** How often a call that failed for now is repeated; 3 times when absent. */
  readonly retries?: number;
  /** Of a call with all its repetitions; 30 s when absent. */
  readonly deadlineMs?: number;
}

async function call(what: Ask, signal: AbortSignal, options: JsonClientOptions): Promise<unknown> {
  const { clock, random = Math.random, retries: limit = RETRIES } = options;
  const tokens = options.tokens();
  let refreshed = false;
  for (let retries = 0; ; ) {
    const token = await tokens.get(signal);
    const outcome = await ask(what, { token: token.value, signal, options });
    signal.throwIfAborted();
    if (!(outcome instanceof CodedError)) return outcome.json;
    if (outcome.code === 'google-401' && !refreshed) {
      tokens.invalidate(token);
      refreshed = true;
    } else if (outcome.retry === 'later' && retries < limit) {
      const pause = FIRST_PAUSE_MS * 2 ** retries++;
      // Daemons that were refused together do not come back together.
      await sleep(clock, pause * (0.5 + random() / 2), signal);
    } else {
      throw outcome;
    }
  }
}

async function ask(
  { url, body: sent }: Ask,
  { token, signal, options }: { token: string; signal: AbortSignal; options: JsonClientOptions },
): Promise<{ json: unknown } | CodedError> {
  const { dispatcher } = options;
  const { quotaProject } = options.tokens().principal;
  let status: number;
  let text: string;
  try {
    const { request } = await loadUndici();
    const { statusCode, body } = await request(url, {
      dispatcher: await dispatcher(),
      signal,
      ...(sent === undefined ? {} : { method: 'POST', body: sent }),
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'application/json',
        ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
        // Who is charged: the logins of people have no project of their own, and some APIs insist on one.
        ...(quotaProject === undefined ? {} : { 'x-goog-user-project': quotaProject }),
      },
    });
    status = statusCode;
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > MAX_ANSWER_BYTES) throw new Error(`its answer exceeds ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk as Buffer);
    }
    text = Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    return unreachable(url, systemCode(error) ?? describeError(error), error);
  }
  if (status !== 200) return refusal(status, text, url);
  try {
    return { json: JSON.parse(text) };
  } catch {
    return new CodedError({
      code: 'google-odd-answer',
      message: `${place(url)} answered with something else than JSON; is a captive portal or a proxy in the way?`,
      answer: { status: 502, reason: 'BadGateway' },
    });
  }
}

function refusal(status: number, text: string, url: string): CodedError {
  let told = '';
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    if (typeof error?.message === 'string') told = error.message;
  } catch {
    // An HTML page of a front end: the status says enough.
  }
  return new CodedError({
    code: `google-${status}`,
    message: `${place(url)} answered HTTP ${status}${told === '' ? '' : `: ${told}`}`,
    retry: status === 429 || status >= 500 ? 'later' : 'never',
    answer: { status, reason: 'Unknown' },
  });
}

function unreachable(url: string, why: string, cause?: unknown): CodedError {
  return new CodedError({
    code: 'google-unreachable',
    message: `${new URL(url).host}: ${why}`,
    retry: 'later',
    answer: { status: 502, reason: 'BadGateway' },
    ...(cause === undefined ? {} : { cause }),
  });
}

function place(url: string): string {
  const { host, pathname } = new URL(url);
  return host + pathname;
}
