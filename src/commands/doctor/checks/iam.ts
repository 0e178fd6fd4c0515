import { describeError } from '../../../base/errors.js';
import { iamMember, namedAccount } from '../../../daemon/account-names.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import { type Context, PERMISSIONS } from '../context.js';
import type { Subject } from '../facts.js';
import { troubleFor } from '../reach-trouble.js';
import { disabledService } from './api.js';

const GET = 'gkehub.gateway.get';
const LIST = 'gkehub.memberships.list';
const STREAM = 'gkehub.gateway.stream';
const GENERATE = 'gkehub.gateway.generateCredentials';

/** Has the identity what Google's IAM asks for each verb that the memberships' policies let through? */
export const iam: Check = {
  id: 'iam',
  title: 'IAM',
  needs: ['identity', 'api'],
  async run(context) {
    const projects = await context.projectsInQuestion();
    const found = (await Promise.all(projects.map((project) => permissions(context, project)))).flat();
    const reaches = await context.reaches();
    if (!found.some(({ status }) => status === 'fail')) {
      for (const { name } of await context.memberships()) {
        const refused = troubleFor('iam', reaches.get(name));
        // Deny policies, conditions and perimeters are not in testIamPermissions' answer.
        if (refused !== undefined) found.push(refused);
        if (refused !== undefined) break;
      }
    }
    return combined(found) ?? ok(`${PERMISSIONS.length} permissions in ${projects.join(', ')}`);
  },
};

async function permissions(context: Context, project: string): Promise<Finding[]> {
  let held: readonly string[];
  try {
    held = await context.permissions(project);
  } catch (error) {
    const message = describeError(error);
    const next = `gcloud projects describe ${project}`;
    const isKept = /HTTP (?:403|404)\b/.test(message);
    // Whoever gets through to the clusters sees enough of the project.
    if (disabledService(error) !== undefined || !isKept || (await reachesSome(context, project))) {
      return [warn(`the permissions in ${project} could not be asked for: ${message}`, next)];
    }
    const unseen = `project ${project} is not there, or not for this identity to see: ${message}`;
    return [fail(unseen, next, { code: 'google-403' })];
  }
  const { settings } = await context.inForce();
  const subjects = await context.everyMembership();
  const missing = PERMISSIONS.filter((name) => !held.includes(name) && isNeeded(name, { subjects, settings, project }));
  if (missing.length === 0) return [];
  const principal = (await context.google()).identity('default').description;
  const stops = missing.includes(GET) || missing.includes(LIST);
  const given = grant(project, { principal, missing });
  if (missing.length === 1 && missing[0] === GENERATE) {
    const message = `${GENERATE} is missing in ${project}: the endpoints are guessed by Google's formula`;
    return [warn(message, given, { code: 'iam-missing' })];
  }
  const hint = missing.includes(GET)
    ? ''
    : " (where that is meant, set the memberships' policy to no-exec or read-only)";
  return [
    fail(`${principal} lacks ${missing.join(', ')} in ${project}${hint}; to be fixed by the project's owner`, given, {
      code: 'iam-missing',
      ...(stops ? {} : { goesOn: true }),
    }),
  ];
}

async function reachesSome(context: Context, project: string): Promise<boolean> {
  const reaches = await context.reaches();
  const subjects = (await context.memberships()).filter((one) => one.project === project || one.projectId === project);
  return subjects.some(({ name }) => {
    const answer = reaches.get(name);
    return answer !== undefined && answer.trouble === undefined;
  });
}

/** What a policy keeps from everybody is not missed. */
function isNeeded(
  permission: string,
  o: { subjects: readonly Subject[]; settings: { projects: readonly string[] }; project: string },
): boolean {
  if (permission === LIST) return o.settings.projects.includes(o.project);
  if (permission === GET || permission === GENERATE) return true;
  const policies = o.subjects.map(({ policy }) => policy);
  const writes = policies.length === 0 || policies.some((policy) => policy !== 'read-only');
  const streams = policies.length === 0 || policies.includes('full');
  return permission === STREAM ? streams : writes;
}

function grant(project: string, { principal, missing }: { principal: string; missing: readonly string[] }): string {
  const member = iamMember(namedAccount(principal) ?? '') ?? 'user:EMAIL';
  const role =
    missing.length === 1 && missing[0] === LIST
      ? 'roles/gkehub.viewer'
      : missing.includes(STREAM)
        ? 'roles/gkehub.gatewayAdmin'
        : missing.some((name) => ![GET, GENERATE, LIST].includes(name))
          ? 'roles/gkehub.gatewayEditor'
          : 'roles/gkehub.gatewayReader';
  return `gcloud projects add-iam-policy-binding ${project} --member=${member} --role=${role}`;
}
