import { mapLimited } from '../../base/map-limited.js';
import { type Finding, notChecked, worstFirst } from './check.js';
import type { Context } from './context.js';
import type { Subject } from './facts.js';

const AT_ONCE = 16;
/** Names that a line can hold. */
const SHOWN = 4;

/**
 * One finding for each membership that this run is about, and all of them in one line. A membership with which an earlier
 * check has found fault is left alone.
 */
export async function eachMembership(
  context: Context,
  title: string,
  examine: (subject: Subject) => Promise<Finding>,
): Promise<Finding> {
  const subjects = await context.memberships();
  const memberships = await mapLimited(subjects, AT_ONCE, async (subject) => {
    const before = context.troubled.get(subject.name);
    if (before !== undefined) return { membership: subject.alias, ...notChecked(`needs ${before}`) };
    const { goesOn, ...finding } = await examine(subject);
    if (finding.status === 'fail' && goesOn !== true) context.troubled.set(subject.name, title);
    return { membership: subject.alias, ...finding };
  });
  const [worst] = worstFirst(memberships);
  if (worst === undefined) return notChecked('there is no membership');
  const { membership: _membership, ...rest } = worst;
  const finding = { ...rest, message: lineOf(memberships), memberships };
  // What it stops is those memberships alone, and that has been noted.
  return finding.status === 'fail' ? { ...finding, goesOn: true } : finding;
}

function lineOf(findings: readonly (Finding & { membership: string })[]): string {
  const [worst] = worstFirst(findings);
  if (worst === undefined || findings.length === 1) return worst?.message ?? '';
  const same = findings.filter(({ status }) => status === worst.status);
  const rest = findings.length - same.length;
  const others = rest === 0 ? '' : `; ${rest} of ${findings.length} ${worst.status === 'skip' ? 'checked' : 'not so'}`;
  const messages = new Set(same.map(({ message }) => message));
  if (messages.size === 1) return `${names(same)}: ${worst.message}${others}`;
  if (worst.status === 'ok') return listed(same.map(({ membership, message }) => `${membership} ${message}`)) + others;
  const more = same.filter((finding) => finding !== worst);
  return `${worst.membership}: ${worst.message}; likewise ${names(more)}${others}`;
}

function names(findings: readonly { membership: string }[]): string {
  return listed(findings.map(({ membership }) => membership));
}

function listed(words: readonly string[]): string {
  const hidden = words.length - SHOWN;
  return words.slice(0, SHOWN).join(', ') + (hidden > 0 ? ` and ${hidden} more` : '');
}

/** For checks that take several questions of each cluster. Undefined where that may be. */
export async function tooMany(context: Context): Promise<Finding | undefined> {
  if (await context.affordable()) return undefined;
  const count = (await context.memberships()).length;
  return notChecked(
    `to ask ${count} clusters takes too much of the fleet's quota; name one: connect-gateway-proxy doctor MEMBERSHIP`,
  );
}
