import type { Context } from './context.js';

/** `skip`: not checked, and the message says why. */
export type CheckStatus = 'ok' | 'warn' | 'fail' | 'skip';

/** What a check has found out. */
export interface Finding {
  readonly status: CheckStatus;
  /** One line: the cause, or what is well. */
  readonly message: string;
  /** The next command to type. */
  readonly next?: string;
  /** Stable, where the cause has a code: a verdict of `gateway/failure.ts`, or a CodedError's. */
  readonly code?: string;
  /** Of a failure: what depends on this check can be tried all the same. */
  readonly goesOn?: true;
  /** Of a check that looks at each membership. */
  readonly memberships?: readonly (Finding & { readonly membership: string })[];
}

/** In the order in which they are told: what comes first may be the cause of what comes later. */
export const CHECK_IDS = [
  'configuration',
  'state',
  'port',
  'daemon',
  'kubeconfig',
  'environment',
  'clock',
  'proxy',
  'endpoints',
  'identity',
  'api',
  'iam',
  'membership',
  'agent',
  'version',
  'kubectl',
  'rbac',
  'quota',
  'round-trip',
  'exec',
] as const;
export type CheckId = (typeof CHECK_IDS)[number];

export interface Check {
  readonly id: CheckId;
  readonly title: string;
  /** Waited for. Where one of them has failed, or could not be checked for such a reason, this one is not checked. */
  readonly needs: readonly CheckId[];
  /** 40 s when absent. */
  readonly deadlineMs?: number;
  run(context: Context): Promise<Finding>;
}

type More = Pick<Finding, 'code' | 'goesOn'>;

export const ok = (message: string): Finding => ({ status: 'ok', message });
export const notChecked = (why: string): Finding => ({ status: 'skip', message: `not checked: ${why}` });
export const warn = (message: string, next?: string, more: More = {}): Finding => ({
  status: 'warn',
  message,
  ...(next === undefined ? {} : { next }),
  ...more,
});
export const fail = (message: string, next?: string, more: More = {}): Finding => ({
  status: 'fail',
  message,
  ...(next === undefined ? {} : { next }),
  ...more,
});

const RANK: Readonly<Record<CheckStatus, number>> = { fail: 3, warn: 2, ok: 1, skip: 0 };

/** The worst first; those that are equal keep their order. */
export function worstFirst<T extends Finding>(findings: readonly T[]): T[] {
  return [...findings].sort((a, b) => RANK[b.status] - RANK[a.status]);
}

/**
 * Several findings of one check in one line: the worst with its next command, and in how many more words the others.
 * Undefined for none.
 */
export function combined(findings: readonly Finding[]): Finding | undefined {
  const [worst, ...others] = worstFirst(findings);
  if (worst === undefined) return undefined;
  if (worst.status === 'ok') return { ...worst, message: findings.map(({ message }) => message).join('; ') };
  const alike = others.filter(({ status }) => status === worst.status || status === 'warn');
  const message = [worst, ...alike].map((one) => one.message).join('; also: ');
  const goesOn = findings.every((finding) => finding.status !== 'fail' || finding.goesOn === true);
  const { goesOn: _goesOn, ...rest } = worst;
  return { ...rest, message, ...(goesOn && worst.status === 'fail' ? { goesOn } : {}) };
}
