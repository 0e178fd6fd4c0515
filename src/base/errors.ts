/**
 * What a caller may do about a failure:
 * `never`: the same call fails again until a person acts; `safe`: repeat at once if the request is safe to repeat;
 * `later`: repeat after a pause.
 */
export type RetryClass = 'never' | 'safe' | 'later';

/** How a failure is told to a Kubernetes client; `kubernetes/status.ts` turns it into a `Status` object. */
export interface WireAnswer {
  /** HTTP status code, also the Status `code`. */
  readonly status: number;
  /** A metav1.StatusReason, e.g. `Forbidden`, `ServiceUnavailable`. */
  readonly reason: string;
  /** Only where a short wait helps: kubectl repeats ten times in silence when it sees Retry-After. */
  readonly retryAfterSeconds?: number;
}

/** A failure with a stable code. The message says what happened, who must fix it and the next command. */
export class CodedError extends Error {
  readonly code: string;
  readonly retry: RetryClass;
  readonly answer: WireAnswer;

  constructor(options: {
    /** Stable, in kebab case: scripts and tests match on it. */
    code: string;
    message: string;
    retry?: RetryClass;
    answer?: WireAnswer;
    cause?: unknown;
  }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CodedError';
    this.code = options.code;
    this.retry = options.retry ?? 'never';
    this.answer = options.answer ?? { status: 500, reason: 'InternalError' };
  }
}

/** Bad input from the person: the command prints the message without a stack and exits with 2. */
export class UsageError extends CodedError {
  constructor(message: string, options: { code?: string; cause?: unknown } = {}) {
    super({
      code: options.code ?? 'usage',
      message,
      answer: { status: 400, reason: 'BadRequest' },
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.name = 'UsageError';
  }
}

/** The system code (`ECONNREFUSED`, `ENOENT`, ...) of an unknown error, looked for along its causes. */
export function systemCode(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth++) {
    const code = (e as NodeJS.ErrnoException).code;
    if (typeof code === 'string') return code;
    if (e instanceof AggregateError && e.errors.length > 0) return systemCode(e.errors[0]);
  }
  return undefined;
}

/** One line that says what went wrong, for people and logs. Never a stack, never a payload. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  if (error instanceof Error) return error.message || error.name;
  return String(error);
}
