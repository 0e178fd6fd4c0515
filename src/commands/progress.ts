import type { CommandIo } from './io.js';

const FIRST_MS = 1000;
const NEXT_MS = 1000;
/** Back to the line's beginning, and nothing on it. */
const CLEAR = '\r\x1b[K';

/** Tells a person at a terminal what is waited for, from the second on in which patience begins to run out. */
export class Progress {
  readonly #io: CommandIo;
  readonly #text: string;
  readonly #since: number;
  #shown = false;
  #cancel = (): void => {};

  constructor(io: CommandIo, text: string) {
    this.#io = io;
    this.#text = text;
    this.#since = io.clock.monotonic();
    if (io.errIsTty) this.#later(FIRST_MS);
  }

  /** Before anything else is written to the terminal; it comes back with the next second. */
  clear(): void {
    if (this.#shown) this.#io.err(CLEAR);
    this.#shown = false;
  }

  end(): void {
    this.#cancel();
    this.clear();
  }

  #later(ms: number): void {
    this.#cancel = this.#io.clock.after(ms, () => {
      const seconds = Math.round((this.#io.clock.monotonic() - this.#since) / 1000);
      this.#io.err(`${CLEAR}${this.#text} (${seconds}s)`);
      this.#shown = true;
      this.#later(NEXT_MS);
    });
  }
}

/** Answers what `work` does. `text` says what it is, e.g. `waiting for the daemon to drain`. */
export async function withProgress<T>(io: CommandIo, text: string, work: () => Promise<T>): Promise<T> {
  const progress = new Progress(io, text);
  try {
    return await work();
  } finally {
    progress.end();
  }
}
