import { randomUUID } from 'node:crypto';
import { UsageError } from '../../base/errors.js';
import { type AnyErrorName, isErrorName } from './error-catalogue.js';

/**
 * How a stream ends early. `fin` ends TLS and TCP in order, `close-1006` ends TCP without a word of TLS or WebSocket.
 * The WebSocket forms wait for the end of the frame under way; `clean-end` is a close frame without a code. On a plain
 * answer, `clean-end`, `close-1000` and `close-1001` end the body as if it were complete, the others as if it broke. Over
 * HTTP/2 `rst-stream` and `close-1011` end the one stream, and `reset`, `fin`, `close-1006` and `goaway` the connection with
 * all that it carries; elsewhere `rst-stream` and `goaway` are a `reset`.
 */
export type CutForm = (typeof CUT_FORMS)[number];
export const CUT_FORMS = [
  'reset',
  'fin',
  'close-1000',
  'close-1001',
  'close-1006',
  'close-1011',
  'clean-end',
  'rst-stream',
  'goaway',
] as const;

/** The forms that are a TCP reset wherever there is no HTTP/2. */
export const RESETS: ReadonlySet<CutForm> = new Set(['reset', 'rst-stream', 'goaway']);

/**
 * `request` is any data path call that is no upgrade, `watch` those of them that stream (watches and `logs -f`). `token` is
 * the OAuth token endpoint and the exchange of federated tokens, which nothing else is meant by.
 */
export type FaultMatch = (typeof FAULT_MATCHES)[number];
export const FAULT_MATCHES = ['request', 'upgrade', 'watch', 'control', 'token'] as const;

export interface Fault {
  /** Ends a stream this long after it was handed to the cluster. */
  readonly cutAfterMs?: number;
  /** Ends a stream after exactly this many downstream bytes: of a body, or of an upgraded connection after the 101's head. */
  readonly cutAfterBytes?: number;
  /** `reset` when absent. */
  readonly form?: CutForm;
  /** Every data path call answers as if the Connect agent were gone. */
  readonly agentLost?: boolean;
  /** The call reaches the cluster only after this pause. */
  readonly slowHeadersMs?: number;
  /** A round trip to the gateway: on new connections, every call, and both ways of an upgraded connection. */
  readonly rttMs?: number;
  /** Every access token counts as expired. */
  readonly tokenExpired?: boolean;
  /** The call answers with this row of the error catalogue. Control and token calls only where `match` says so. */
  readonly answer?: AnyErrorName;
  /** Only calls of the IAM Credentials API that ask for this service account, as the target or on the way to it. */
  readonly serviceAccount?: string;
  /** `memberships.list` over all locations leaves these out and names them as unreachable. */
  readonly unreachable?: readonly string[];
  /** Permissions that nobody has: testIamPermissions leaves them out, and whoever needs one is refused. */
  readonly deniedPermissions?: readonly string[];
  /** Only this membership id; every one when absent. */
  readonly membership?: string;
  /** Gone after this many uses; stays when absent. */
  readonly times?: number;
  readonly match?: FaultMatch;
}

export interface ActiveFault extends Fault {
  readonly id: string;
}

/** What a call is, as far as faults ask. */
export interface FaultSubject {
  readonly kind: 'control' | 'request' | 'upgrade' | 'token';
  /** A plain call that streams. */
  readonly streams: boolean;
  readonly membership?: string;
  /** That an impersonation asks for. */
  readonly serviceAccounts?: readonly string[];
}

/** What the faults in force mean for one call. */
export interface FaultPlan {
  readonly answer?: AnyErrorName;
  readonly tokenExpired: boolean;
  readonly slowHeadersMs: number;
  readonly rttMs: number;
  readonly unreachable: readonly string[];
  readonly deniedPermissions: readonly string[];
  readonly cut?: { readonly form: CutForm; readonly afterMs?: number; readonly afterBytes?: number };
}

/** A stream that is open now. */
export interface CuttableStream {
  readonly subject: FaultSubject;
  cut(form: CutForm): void;
}

interface Entry {
  readonly fault: ActiveFault;
  left: number;
}

/** The faults in force. Each call asks once with `plan`; what it is given is used up. */
export class Faults {
  readonly #entries: Entry[] = [];
  readonly #streams = new Set<CuttableStream>();

  /** Switches a fault on; the answer is its id. */
  add(fault: Fault): string {
    const known = parseFault(fault);
    const id = randomUUID();
    this.#entries.push({ fault: { ...known, id }, left: known.times ?? Number.POSITIVE_INFINITY });
    return id;
  }

  list(): readonly ActiveFault[] {
    return this.#entries.map(({ fault, left }) => (Number.isFinite(left) ? { ...fault, times: left } : fault));
  }

  remove(id: string): boolean {
    const at = this.#entries.findIndex(({ fault }) => fault.id === id);
    if (at === -1) return false;
    this.#entries.splice(at, 1);
    return true;
  }

  clear(): void {
    this.#entries.length = 0;
  }

  /** Cuts the streams that are open now; the answer is how many there were. */
  cutNow(form: CutForm, filter: { membership?: string; match?: FaultMatch } = {}): number {
    const struck = [...this.#streams].filter(({ subject }) => matches(filter, subject));
    for (const stream of struck) stream.cut(form);
    return struck.length;
  }

  /** For the data path: makes a stream known to `cutNow`; the answer forgets it. */
  register(stream: CuttableStream): () => void {
    this.#streams.add(stream);
    return () => this.#streams.delete(stream);
  }

  /** The round trip that every new connection pays, before it is known whose it is. */
  connectionRttMs(): number {
    return Math.max(0, ...this.#entries.map(({ fault }) => (fault.membership === undefined ? (fault.rttMs ?? 0) : 0)));
  }

  /** What holds for this call. Of two faults that say the same thing, the older wins and the younger is kept for later. */
  plan(subject: FaultSubject): FaultPlan {
    let answer: AnyErrorName | undefined;
    let cut: FaultPlan['cut'];
    let tokenExpired = false;
    let slowHeadersMs = 0;
    let rttMs = 0;
    const unreachable: string[] = [];
    const deniedPermissions: string[] = [];
    for (const entry of [...this.#entries]) {
      const { fault } = entry;
      if (!matches(fault, subject)) continue;
      const dataPath = subject.kind === 'request' || subject.kind === 'upgrade';
      const isAnswer = fault.answer !== undefined && (dataPath || fault.match === subject.kind);
      const isAgentLost = fault.agentLost === true && dataPath;
      const isCut =
        (fault.cutAfterMs !== undefined || fault.cutAfterBytes !== undefined) &&
        (subject.streams || subject.kind === 'upgrade' || (fault.match === 'request' && dataPath));
      let used = false;
      if (answer === undefined && (isAnswer || isAgentLost)) {
        answer = isAnswer ? fault.answer : 'agent-lost';
        used = true;
      }
      if (cut === undefined && isCut) {
        cut = {
          form: fault.form ?? 'reset',
          ...(fault.cutAfterMs === undefined ? {} : { afterMs: fault.cutAfterMs }),
          ...(fault.cutAfterBytes === undefined ? {} : { afterBytes: fault.cutAfterBytes }),
        };
        used = true;
      }
      if (fault.tokenExpired === true) {
        tokenExpired = true;
        used = true;
      }
      if (fault.unreachable !== undefined && subject.kind === 'control') {
        unreachable.push(...fault.unreachable);
        used = true;
      }
      if (fault.deniedPermissions !== undefined) {
        deniedPermissions.push(...fault.deniedPermissions);
        used = true;
      }
      if (fault.slowHeadersMs !== undefined) {
        slowHeadersMs = Math.max(slowHeadersMs, fault.slowHeadersMs);
        used = true;
      }
      if (fault.rttMs !== undefined) {
        rttMs = Math.max(rttMs, fault.rttMs);
        used = true;
      }
      if (used) this.#use(entry);
    }
    return {
      tokenExpired,
      slowHeadersMs,
      rttMs,
      unreachable,
      deniedPermissions,
      ...(answer === undefined ? {} : { answer }),
      ...(cut === undefined ? {} : { cut }),
    };
  }

  #use(entry: Entry): void {
    entry.left--;
    if (entry.left <= 0) this.remove(entry.fault.id);
  }
}

function matches(
  filter: { membership?: string; serviceAccount?: string; match?: FaultMatch },
  subject: FaultSubject,
): boolean {
  const { membership, serviceAccount } = filter;
  if (membership !== undefined && membership !== subject.membership) return false;
  if (serviceAccount !== undefined && subject.serviceAccounts?.includes(serviceAccount) !== true) return false;
  switch (filter.match) {
    case undefined:
      return subject.kind !== 'token';
    case 'watch':
      return subject.kind === 'request' && subject.streams;
    default:
      return subject.kind === filter.match;
  }
}

const NUMBERS = ['cutAfterMs', 'cutAfterBytes', 'slowHeadersMs', 'rttMs', 'times'] as const;
const FLAGS = ['agentLost', 'tokenExpired'] as const;
const LISTS = ['unreachable', 'deniedPermissions'] as const;
const KNOWN: readonly string[] = [
  ...NUMBERS,
  ...FLAGS,
  ...LISTS,
  'form',
  'answer',
  'membership',
  'serviceAccount',
  'match',
];

/** Reads a fault from JSON or from a caller. Throws UsageError. */
export function parseFault(value: unknown): Fault {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('a fault is a JSON object');
  const fault = Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined));
  for (const key of Object.keys(fault)) {
    if (!KNOWN.includes(key)) throw bad(`unknown key "${key}", known are ${KNOWN.join(', ')}`);
  }
  for (const key of NUMBERS) {
    const number = fault[key];
    const least = key === 'times' ? 1 : 0;
    if (number === undefined) continue;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < least) {
      throw bad(`"${key}" is a whole number of at least ${least}`);
    }
  }
  for (const key of FLAGS) {
    if (fault[key] !== undefined && typeof fault[key] !== 'boolean') throw bad(`"${key}" is true or false`);
  }
  oneOf(fault, 'form', CUT_FORMS);
  oneOf(fault, 'match', FAULT_MATCHES);
  const { answer, membership, serviceAccount } = fault;
  if (answer !== undefined && (typeof answer !== 'string' || !isErrorName(answer))) {
    throw bad(`unknown answer ${JSON.stringify(answer)}; GET /-/emulator/faults lists them`);
  }
  if (membership !== undefined && typeof membership !== 'string') throw bad('"membership" is a membership id');
  if (serviceAccount !== undefined && typeof serviceAccount !== 'string') {
    throw bad('"serviceAccount" is an e-mail address');
  }
  for (const key of LISTS) {
    const list = fault[key];
    if (list !== undefined && !(Array.isArray(list) && list.every((item) => typeof item === 'string'))) {
      throw bad(`"${key}" is a list of ${key === 'unreachable' ? 'locations' : 'permissions'}`);
    }
  }
  const does = [...NUMBERS, ...FLAGS, ...LISTS, 'answer'].some((key) => key !== 'times' && fault[key] !== undefined);
  if (!does) throw bad('a fault names at least one thing that goes wrong');
  return fault as Fault;
}

/** Reads `{form, membership?, match?}`, the request to cut what is open now. Throws UsageError. */
export function parseCut(value: unknown): { form: CutForm; membership?: string; match?: FaultMatch } {
  if (typeof value !== 'object' || value === null) throw bad('a cut is a JSON object');
  const cut: Record<string, unknown> = { form: 'reset', ...value };
  for (const key of Object.keys(cut)) {
    if (!['form', 'membership', 'match'].includes(key)) throw bad(`unknown key "${key}"`);
  }
  oneOf(cut, 'form', CUT_FORMS);
  oneOf(cut, 'match', FAULT_MATCHES);
  if (cut['membership'] !== undefined && typeof cut['membership'] !== 'string') throw bad('"membership" is a text');
  return cut as { form: CutForm };
}

function oneOf(fault: Record<string, unknown>, key: string, values: readonly string[]): void {
  const value = fault[key];
  if (value !== undefined && !values.includes(value as string)) throw bad(`"${key}" is one of ${values.join(', ')}`);
}

function bad(message: string): UsageError {
  return new UsageError(`fault: ${message}`, { code: 'fault-malformed' });
}
