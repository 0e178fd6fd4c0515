/** One call as it came. `rawHeaders` holds the client's credential: it is for tests, and is never logged. */
export interface RecordedRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  /** The membership's id, when the call names one that exists. */
  readonly membership?: string;
  readonly kind: 'control' | 'request' | 'upgrade';
  /** Set once the answer's head is known. */
  readonly status?: number;
  /** ms since the epoch. */
  readonly at: number;
}

export type OpenRecord = RecordedRequest & { status?: number };

const KEPT = 5000;

/** The last calls, oldest first. */
export class RequestLog {
  readonly #records: OpenRecord[] = [];
  readonly #listeners = new Set<(request: RecordedRequest) => void>();

  get records(): readonly RecordedRequest[] {
    return this.#records;
  }

  add(record: RecordedRequest): OpenRecord {
    this.#records.push(record);
    if (this.#records.length > KEPT) this.#records.shift();
    for (const listener of this.#listeners) listener(record);
    return record;
  }

  onRequest(listener: (request: RecordedRequest) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
