import { describeError } from '../../../base/errors.js';
import { type Check, combined, type Finding, fail, ok } from '../check.js';
import type { Context } from '../context.js';
import { troubleFor } from '../reach-trouble.js';

/** Are Google's APIs enabled in the fleet host projects? They say so themselves when they are asked. */
export const api: Check = {
  id: 'api',
  title: 'APIs enabled',
  needs: ['identity'],
  async run(context) {
    const projects = await context.projectsInQuestion();
    const disabled = (await Promise.all(projects.map((project) => controlApis(context, project)))).flat();
    const reaches = await context.reaches();
    for (const { name, project, projectId } of await context.memberships()) {
      const found = troubleFor('api', reaches.get(name));
      if (found !== undefined) disabled.push(enable('connectgateway.googleapis.com', projectId ?? project));
      if (disabled.length > 0) break;
    }
    return combined(disabled) ?? ok(`in ${projects.join(', ')}`);
  },
};

/** Without the project API the daemon goes on: it is only asked for a project's number, and here for permissions. */
async function controlApis(context: Context, project: string): Promise<Finding[]> {
  const { settings } = await context.inForce();
  const lists = settings.projects.includes(project);
  const [fleet, permissions] = await Promise.all([
    lists ? context.listing(project).then(() => undefined, disabledService) : undefined,
    context.permissions(project).then(() => undefined, disabledService),
  ]);
  return [
    ...(fleet === undefined ? [] : [enable(fleet, project)]),
    ...(permissions === undefined || permissions === fleet
      ? []
      : [{ ...enable(permissions, project), status: 'warn' as const }]),
  ];
}

/** The service that Google names where it says that one is disabled. */
export function disabledService(error: unknown): string | undefined {
  const text = describeError(error);
  if (!/has not been used in project \S+ before or it is disabled|SERVICE_DISABLED/.test(text)) return undefined;
  const named = /\b([a-z]+\.googleapis\.com)\/overview/.exec(text) ?? /^([a-z]+\.googleapis\.com)/.exec(text);
  return named?.[1] ?? 'gkehub.googleapis.com';
}

function enable(service: string, project: string): Finding {
  const next = `gcloud services enable ${service} --project=${project}`;
  return fail(`${service} is not enabled in project ${project}`, next, { code: 'api-disabled' });
}
