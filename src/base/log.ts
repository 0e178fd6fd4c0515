import { pino } from 'pino';

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Flat fields only: nothing nested can smuggle a header or a body into a log. */
export interface Logger {
  trace(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Logger;
  /** For lines whose fields cost something to gather. */
  isLevelEnabled(level: LogLevel): boolean;
}

/** A second net under the rule that secrets are never passed to a log at all. */
const SECRET_FIELDS = ['authorization', 'token', 'accessToken', 'cookie', 'secret', 'password', 'assertion'];

export function createLogger(options: {
  level: LogLevel;
  format: 'json' | 'pretty';
  /** Where lines go; standard error when absent. */
  write?: (line: string) => void;
}): Logger {
  const sink = options.write ?? ((line: string) => void process.stderr.write(line));
  const write = options.format === 'pretty' ? (line: string) => sink(prettyLine(line)) : sink;
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS, censor: '[redacted]' },
    },
    { write },
  );
}

const ignore = (): void => {};
export const silentLogger: Logger = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLogger,
  isLevelEnabled: () => false,
};

/** `log` with `fields` on every line. Cheaper to make than a child, of which every request would need one. */
export function withFields(log: Logger, fields: LogFields): Logger {
  return new LoggerWithFields(log, fields);
}

class LoggerWithFields implements Logger {
  readonly #log: Logger;
  readonly #fields: LogFields;

  constructor(log: Logger, fields: LogFields) {
    this.#log = log;
    this.#fields = fields;
  }

  trace(more: LogFields, message: string): void {
    this.#log.trace({ ...this.#fields, ...more }, message);
  }

  debug(more: LogFields, message: string): void {
    this.#log.debug({ ...this.#fields, ...more }, message);
  }

  info(more: LogFields, message: string): void {
    this.#log.info({ ...this.#fields, ...more }, message);
  }

  warn(more: LogFields, message: string): void {
    this.#log.warn({ ...this.#fields, ...more }, message);
  }

  error(more: LogFields, message: string): void {
    this.#log.error({ ...this.#fields, ...more }, message);
  }

  child(more: LogFields): Logger {
    return new LoggerWithFields(this.#log, { ...this.#fields, ...more });
  }

  isLevelEnabled(level: LogLevel): boolean {
    return this.#log.isLevelEnabled(level);
  }
}

/** `12:34:56.789 INFO  message key=value`, one line an event; `withDay` for what is read later. Throws for what is no JSON. */
export function prettyLine(json: string, { withDay = false }: { withDay?: boolean } = {}): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time)
    .slice(withDay ? 0 : 11, 23)
    .replace('T', ' ');
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${quoteIfNeeded(String(value))}`);
  return `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}${rest.join('')}\n`;
}

function quoteIfNeeded(value: string): string {
  return /[\s"=]/.test(value) ? JSON.stringify(value) : value;
}
