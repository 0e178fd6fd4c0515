import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { parseRemoteSession } from '../../kubernetes/remote-session.js';
import type { HolderOpening, Offsets } from './holder-frames.js';

/** A command whose daemon is lost waits this long for another one. */
const LOST_LINGER_SECONDS = 600;
/** What lives for less than this is not worth a file. */
const SAVE_AFTER_MS = 2000;
const LOOK_AGAIN_AFTER_MS = 5000;

/** What is needed to join a command again; all that is kept on disk of it. */
export interface HeldRecord {
  readonly id: string;
  /** Of its folder in the container: whoever may exec there needs nothing else. */
  readonly name: string;
  /** Resource name. */
  readonly membership: string;
  /** `…/pods/P/exec?container=C&stdin=true…`, without a command. */
  readonly target: string;
  /** The program's name alone: arguments may be secrets. */
  readonly program: string;
  /** ms since the epoch, as all times here. */
  readonly startedAt: number;
  readonly lostLingerSeconds: number;
  /** Nobody listens to it; then the holder ends it. */
  readonly endsAt?: number;
}

/** One command that is held in a container, as its session sees it. */
export interface HeldSession {
  readonly id: string;
  readonly lostLingerSeconds: number;
  /** What the next exec call asks for: it takes over from all before it. */
  opening(o: { verb: HolderOpening['verb']; received: Offsets }): HolderOpening;
  /** It runs: worth remembering from here on. */
  runs(): void;
  /** It is over, or will be at once. */
  forget(): void;
  /** Nobody listens any more; it goes on for so long. */
  left(seconds: number): void;
}

export interface HeldSessionsOptions {
  readonly clock: Clock;
  /** What `save` was last called with, perhaps by another daemon. */
  readonly remembered?: unknown;
  readonly save?: (records: readonly HeldRecord[]) => void;
}

/** The commands that are held in containers: those that are listened to, and those that wait for somebody. */
export class HeldSessions {
  readonly #clock: Clock;
  readonly #save: (records: readonly HeldRecord[]) => void;
  readonly #records = new Map<string, HeldRecord>();
  readonly #attended = new Set<string>();
  readonly #lookedAt = new Map<string, number>();
  #lastTurn = 0;
  #saved = '[]';
  #closed = false;
  #cancelSave: (() => void) | undefined;

  constructor(options: HeldSessionsOptions) {
    this.#clock = options.clock;
    this.#save = options.save ?? ((): void => {});
    const remembered = readRecords(options.remembered);
    this.#saved = JSON.stringify(remembered);
    for (const record of remembered) {
      // Its daemon is gone: since when, only the holder knows.
      const endsAt = record.endsAt ?? this.#clock.now() + record.lostLingerSeconds * 1000;
      this.#records.set(record.id, { ...record, endsAt });
    }
  }

  begin(about: Omit<HeldRecord, 'name' | 'startedAt' | 'lostLingerSeconds'> & { lingerSeconds: number }): HeldSession {
    const { lingerSeconds, ...rest } = about;
    const record: HeldRecord = {
      ...rest,
      name: randomBytes(16).toString('hex'),
      startedAt: this.#clock.now(),
      lostLingerSeconds: Math.max(LOST_LINGER_SECONDS, lingerSeconds),
    };
    return this.#session(record);
  }

  /** Those that nobody listens to. */
  waiting(): HeldRecord[] {
    this.#dropEnded();
    return [...this.#records.values()].filter(({ id }) => !this.#attended.has(id));
  }

  /** Those whose containers have not been asked for a while whether they are still there. */
  toLookAt(): HeldRecord[] {
    const now = this.#clock.monotonic();
    const due = this.waiting().filter(({ id }) => (this.#lookedAt.get(id) ?? -Infinity) + LOOK_AGAIN_AFTER_MS <= now);
    for (const { id } of due) this.#lookedAt.set(id, now);
    return due;
  }

  /** Undefined where it is not one that waits. */
  find(id: string): HeldRecord | undefined {
    return this.waiting().find((record) => record.id === id);
  }

  /** For somebody who wants to listen to one of those again. */
  again({ endsAt: _, ...record }: HeldRecord): HeldSession {
    return this.#session(record);
  }

  /** The container has told how long it will wait, or that it is not there any more. */
  seen({ id }: HeldRecord, seconds: number | undefined): void {
    const record = this.#records.get(id);
    if (record === undefined || this.#attended.has(id)) return;
    if (seconds === undefined) this.#records.delete(id);
    else this.#records.set(id, { ...record, endsAt: this.#clock.now() + seconds * 1000 });
    this.#saveSoon();
  }

  /** The last word to the disk; nothing is saved afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#saveNow();
    this.#closed = true;
  }

  #session(record: HeldRecord): HeldSession {
    const { id, name, lostLingerSeconds } = record;
    const { tty, stdin, stdout, stderr } = parseRemoteSession(record.target);
    return {
      id,
      lostLingerSeconds,
      opening: ({ verb, received }) => ({
        ...{ verb, name, received, tty, stdin, stdout, stderr },
        turn: this.#nextTurn(),
        lingerSeconds: lostLingerSeconds,
      }),
      runs: () => {
        this.#attended.add(id);
        this.#records.set(id, record);
        this.#saveSoon();
      },
      forget: () => {
        this.#attended.delete(id);
        if (this.#records.delete(id)) this.#saveSoon();
      },
      left: (seconds) => {
        this.#attended.delete(id);
        this.#records.set(id, { ...record, endsAt: this.#clock.now() + seconds * 1000 });
        this.#saveNow();
      },
    };
  }

  /** Also higher than those of a daemon before this one. */
  #nextTurn(): number {
    this.#lastTurn = Math.max(this.#lastTurn + 1, this.#clock.now());
    return this.#lastTurn;
  }

  #dropEnded(): void {
    const now = this.#clock.now();
    for (const [id, { endsAt }] of this.#records) if (endsAt !== undefined && endsAt <= now) this.#records.delete(id);
    for (const id of this.#lookedAt.keys()) if (!this.#records.has(id)) this.#lookedAt.delete(id);
  }

  #saveSoon(): void {
    if (this.#closed) return;
    this.#cancelSave ??= this.#clock.after(SAVE_AFTER_MS, () => this.#saveNow());
  }

  #saveNow(): void {
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    if (this.#closed) return;
    this.#dropEnded();
    const records = [...this.#records.values()];
    const text = JSON.stringify(records);
    if (text === this.#saved) return;
    this.#saved = text;
    this.#save(records);
  }
}

function readRecords(value: unknown): HeldRecord[] {
  if (!Array.isArray(value)) return [];
  return value.filter((record: Partial<HeldRecord> | null): record is HeldRecord => {
    const texts = [record?.id, record?.membership, record?.target, record?.program];
    const numbers = [record?.startedAt, record?.lostLingerSeconds];
    return (
      texts.every((text) => typeof text === 'string') &&
      numbers.every((number) => typeof number === 'number') &&
      /^[0-9a-f]{32}$/.test(record?.name ?? '')
    );
  });
}
