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
    const projects = await context.projects();
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

async function controlApis(context: Context, project: string): Promise<Finding[]> {
  const { settings } = await context.inForce();
  const asked = [
    ...(settings.projects.includes(project) ? [context.listing(project)] : []),
    context.permissions(project),
  ];
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => {
    const text = answer.status === 'rejected' ? describeError(answer.reason) : '';
    if (!/has not been used in project \S+ before or it is disabled|SERVICE_DISABLED/.test(text)) return [];
    const service =
      /\b([a-z]+\.googleapis\.com)\/overview/.exec(text)?.[1] ?? /^([a-z]+\.googleapis\.com)/.exec(text)?.[1];
    return [enable(service ?? 'gkehub.googleapis.com', project)];
  });
}

function enable(service: string, project: string): Finding {
  return fail(
    `${service} is not enabled in project ${project}`,
    `gcloud services enable ${service} --project=${project}`,
    {
      code: 'api-disabled',
    },
  );
}
