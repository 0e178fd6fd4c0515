import { describeError } from '../../../base/errors.js';
import type { HubListing } from '../../../fleet/hub-client.js';
import { closestNames, parseMembershipName } from '../../../fleet/names.js';
import { failOf } from '../advice.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import type { Context } from '../context.js';
import { eachMembership } from '../each-membership.js';
import type { Subject } from '../facts.js';
import { troubleFor } from '../reach-trouble.js';

/** Is there such a membership, and what does the fleet say of it? */
export const membership: Check = {
  id: 'membership',
  title: 'membership',
  needs: ['api', 'iam'],
  async run(context) {
    const { settings } = await context.inForce();
    const listings = await Promise.all(settings.projects.map((project) => listed(context, project)));
    const unlisted = listings.flatMap((listing) => ('failure' in listing ? [listing.failure] : []));
    if ((await context.memberships()).length === 0) {
      const gone = listings.flatMap((listing) => ('failure' in listing ? [] : (listing.gone ?? [])));
      return combined(unlisted) ?? (await missing(context, gone));
    }
    const reaches = await context.reaches();
    const found = await eachMembership(context, 'membership', async (subject) => {
      const listing = listings.find((one) => 'project' in one && isOf(subject, one));
      return (
        troubleFor('membership', reaches.get(subject.name)) ??
        stateOf(subject, listing !== undefined && 'project' in listing ? listing : undefined)
      );
    });
    // Others may be missing, or old, where a project could not be listed.
    const stale = unlisted.map((finding) => warn(finding.message, finding.next));
    const worst = combined([found, ...stale]) ?? found;
    return { ...worst, ...(found.memberships === undefined ? {} : { memberships: found.memberships }) };
  },
};

type Listed = HubListing & { readonly project: string };

async function listed(context: Context, project: string): Promise<Listed | { readonly failure: Finding }> {
  try {
    return { project, ...(await context.listing(project)) };
  } catch (error) {
    return { failure: failOf(describeError(error), `gcloud container fleet memberships list --project=${project}`) };
  }
}

/** Neither the memberships' nor the settings' name says whether it is an id or a number that is known. */
function isOf(subject: Subject, { project, memberships, gone = [] }: Listed): boolean {
  if (subject.project === project || subject.projectId === project) return true;
  return [...memberships.map(({ name }) => name), ...gone].some((name) => tail(name) === tail(subject.name));
}

function stateOf(subject: Subject, listing: Listed | undefined): Finding {
  const { alias, name, id, location, state, project, projectId = project, problem, stale } = subject;
  const there = `gcloud container fleet memberships list --project=${projectId}`;
  if (listing?.gone?.some((other) => tail(other) === tail(name)))
    return clusterGone(alias, { id, location, projectId });
  if (listing?.unreachable.includes(location)) {
    return warn(`Google cannot reach location ${location} now: ${alias} is as it was last known`, there);
  }
  const now = listing?.memberships.find((other) => tail(other.name) === tail(name));
  if (listing !== undefined && now === undefined) {
    return fail(`${alias} is not in the fleet of ${projectId} any more`, there, { code: 'membership-gone' });
  }
  if (problem !== undefined && subject.url !== undefined) {
    return fail(`${alias} is not served as it should be: ${problem}`, 'connect-gateway-proxy status', {
      code: 'not-served',
    });
  }
  const told = now?.state ?? state;
  if (told !== 'READY' && told !== 'UNKNOWN') return warn(`${alias} is in state ${told}`, there, { code: 'not-ready' });
  if (stale && listing === undefined) return warn(`${alias} is as it was last known`, there);
  return ok(told);
}

function clusterGone(alias: string, o: { id: string; location: string; projectId: string }): Finding {
  return fail(
    `${alias} is registered, and its cluster is gone`,
    `gcloud container fleet memberships delete ${o.id} --location=${o.location} --project=${o.projectId}`,
    { code: 'cluster-gone' },
  );
}

async function missing(context: Context, gone: readonly string[]): Promise<Finding> {
  const { wanted } = context;
  const { settings } = await context.inForce();
  const [project = 'PROJECT'] = settings.projects;
  const next = `gcloud container fleet memberships list --project=${project}`;
  if (wanted === undefined) return fail(`the fleet of ${project} has no memberships`, next, { code: 'fleet-empty' });
  const lost = gone.map(parseMembershipName).find((path) => path?.id === wanted);
  if (lost !== undefined) return clusterGone(wanted, { ...lost, projectId: lost.project });
  const names = (await context.everyMembership()).map(({ alias }) => alias);
  const close = closestNames(wanted, names);
  const hint = close.length === 0 ? `there is ${names.join(', ') || 'none'}` : `did you mean ${close.join(' or ')}?`;
  return fail(
    `there is no membership ${JSON.stringify(wanted)}: ${hint}`,
    close.length === 0 ? next : `connect-gateway-proxy doctor ${close[0]}`,
    { code: 'membership-unknown' },
  );
}

function tail(name: string): string {
  return name.split('/').slice(2).join('/');
}
