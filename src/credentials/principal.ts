/** The Google Cloud that nearly everybody uses; sovereign ones have names of their own. */
export const DEFAULT_UNIVERSE = 'googleapis.com';

/** Everything that makes one caller of Google another: no cache serves two that differ in any of it. */
export interface Principal {
  /** `dev@example.com`, or what is known instead: `token file /run/token`, `workload identity pool ci`. */
  readonly account: string;
  /** Tells logins apart whose account is not known before their first token. */
  readonly fingerprint?: string;
  /** gcloud's, where gcloud is the source. */
  readonly configuration?: string;
  /** Service accounts that are impersonated one after the other; the last is who Google sees. */
  readonly chain: readonly string[];
  /** The Google Cloud universe that the tokens are good in. */
  readonly universe: string;
  /** Who is charged for control calls. */
  readonly quotaProject?: string;
}

/** Equal for the same principal only. */
export function principalKey(principal: Principal): string {
  const { account, fingerprint, configuration, chain, universe, quotaProject } = principal;
  return JSON.stringify([account, fingerprint ?? '', configuration ?? '', chain, universe, quotaProject ?? '']);
}

/** `b@p.iam.gserviceaccount.com (through dev@example.com, a@p.iam.gserviceaccount.com)`. */
export function describePrincipal({ account, chain }: Pick<Principal, 'account' | 'chain'>): string {
  const target = chain.at(-1);
  return target === undefined ? account : `${target} (through ${[account, ...chain.slice(0, -1)].join(', ')})`;
}

/** With the account that the issuer of its tokens has told, where it has. */
export function describeSource(source: {
  readonly principal: Principal;
  snapshot(): { readonly account?: string };
}): string {
  const { principal } = source;
  return describePrincipal({ ...principal, account: source.snapshot().account ?? principal.account });
}

/** As IAM's commands name it; undefined for what has no name there. */
export function iamMember(account: string): string | undefined {
  if (/^principal(Set)?:\/\//.test(account)) return account;
  if (!/^[^@\s]+@[^@\s]+$/.test(account)) return undefined;
  return `${account.endsWith('.gserviceaccount.com') ? 'serviceAccount' : 'user'}:${account}`;
}

/**
 * Of a description, who Google sees in the end. Undefined where that has no name of its own, or one that a shell would
 * read as more than a name: it stands in commands that people type.
 */
export function namedAccount(description: string): string | undefined {
  const [account = ''] = description.split(' ');
  // A set names many.
  const isName = /^(?!principalSet:)[\w.@+:/%-]+$/.test(account);
  return isName && iamMember(account) !== undefined ? account : undefined;
}
