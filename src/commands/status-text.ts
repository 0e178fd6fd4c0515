import type { QuotaUse } from '../daemon/daemon.js';
import { formatDuration } from '../daemon/duration.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import { table } from './table.js';
import { refreshedText, tokenFailureText, tokenText } from './token-text.js';

/** More memberships than fit on a screen beside the rest are only counted, unless all are asked for. */
const SHOWN = 20;

export interface StatusFacts {
  readonly version: string;
  readonly ready: boolean;
  readonly pid: number;
  readonly hubUrl: string;
  readonly kubeconfigFile: string;
  readonly memberships: readonly MembershipView[];
  /** Kinds of the live sessions. */
  readonly streams: readonly string[];
  /** Of the fleet host projects that were asked for anything. */
  readonly quota: readonly QuotaUse[];
  readonly startedAt: number;
  readonly now: number;
}

/** What a person wants to know first stands first: is it up, who am I, what is wrong; then the memberships. */
export function statusText(facts: StatusFacts, options: { all: boolean }): string {
  const { memberships } = facts;
  const failing = memberships.filter(({ problem }) => problem !== undefined);
  const fine = memberships.filter(({ problem }) => problem === undefined);
  const shown = [...failing, ...(options.all ? fine : fine.slice(0, Math.max(0, SHOWN - failing.length)))];
  const hidden = memberships.length - shown.length;
  return [
    headline(facts),
    factLines(facts, failing.length),
    shown.length === 0 ? '' : `\n${table(['NAME', 'LOCATION', 'URL', 'POLICY', 'IDENTITY', 'STATUS'], shown.map(row))}`,
    hidden === 0 ? '' : `... and ${hidden} more without problems: connect-gateway-proxy status --all\n`,
    failing.length === 0 ? '' : `\n${failing.map(({ alias, problem }) => `${alias}: ${problem}\n`).join('')}`,
  ].join('');
}

function headline({ version, ready, pid, startedAt, now }: StatusFacts): string {
  const age = formatDuration(now - startedAt);
  return `connect-gateway-proxy ${version}: ${ready ? 'ready' : 'not ready'}, process ${pid}, up ${age}\n`;
}

function factLines(facts: StatusFacts, failing: number): string {
  const { memberships, streams } = facts;
  const stale = memberships.filter((membership) => membership.stale).length;
  const counted = [
    `${memberships.length} served`,
    ...(failing === 0 ? [] : [`${failing} with a problem`]),
    ...(stale === 0 ? [] : [`${stale} as last known`]),
  ];
  const rows = [
    ['hub', facts.hubUrl],
    ['kubeconfig', facts.kubeconfigFile],
    ['memberships', memberships.length === 0 ? "none yet; see the daemon's log" : counted.join(', ')],
    ['streams', streams.length === 0 ? 'none' : counts(streams)],
    ...facts.quota.map((use, index) => [index === 0 ? 'quota' : '', quotaText(use)]),
    ...identities(facts).map((text, index) => [index === 0 ? 'identities' : '', text]),
  ];
  return rows.map(([name = '', text]) => `  ${name.padEnd(11)}  ${text}\n`).join('');
}

/** Once each: two hundred memberships mostly share one. */
function identities({ memberships, now }: StatusFacts): string[] {
  const byName = new Map(memberships.map((membership) => [membership.identity, membership]));
  return [...byName.values()].flatMap((membership) => {
    const { identity, identitySource, principal, quotaProject } = membership;
    const used = memberships.filter((other) => other.identity === identity).length;
    const source = identitySource === undefined ? '' : ` [${identitySource}]`;
    const charged = quotaProject === undefined ? '' : `, quota project ${quotaProject}`;
    const token = `token ${tokenText(membership, now)}${refreshedText(membership, now)}`;
    const line = `${identity}${source}: ${principal}${charged}, ${token}${byName.size === 1 ? '' : `, ${used} memberships`}`;
    return [line, tokenFailureText(membership, now) ?? []].flat();
  });
}

function quotaText({ project, projectId = project, streams, requests }: QuotaUse): string {
  const waiting = (count: number): string => (count === 0 ? '' : `, ${count} waiting`);
  return (
    `project ${projectId}: ${streams.active} of ${streams.limit} streams${waiting(streams.waiting)}; ` +
    `${requests.lastMinute} of ${requests.perMinute} requests in the last minute${waiting(requests.waiting)}`
  );
}

function counts(kinds: readonly string[]): string {
  const byKind = new Map<string, number>();
  for (const kind of kinds) byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
  return [...byKind].map(([kind, count]) => `${count} ${kind}`).join(', ');
}

function row({ alias, location, url, policy, identity, problem, stale }: MembershipView): string[] {
  const state = problem === undefined ? (stale ? 'last known' : 'ok') : 'problem';
  return [alias, location, url ?? '-', policy, identity, state];
}
