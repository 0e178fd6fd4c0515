import type { QuotaUse } from '../../../daemon/daemon.js';
import { type Check, combined, type Finding, fail, notChecked, ok, warn } from '../check.js';
import { troubleFor } from '../reach-trouble.js';

/** From here on it is close. */
const CLOSE = 0.8;

/** How much of the fleet's two quotas is left, as far as this machine knows and Google says? */
export const quotaHeadroom: Check = {
  id: 'quota',
  title: 'quota',
  needs: ['iam', 'membership'],
  async run(context) {
    const reaches = await context.reaches();
    const refused = (await context.memberships()).flatMap(({ name }) => troubleFor('quota', reaches.get(name)) ?? []);
    const [first] = refused;
    if (first !== undefined) return { ...first, goesOn: true };
    const report = await context.askDaemon<{ projects: QuotaUse[] }>('/-/quota');
    if (report === undefined) return notChecked('needs a running daemon, which counts');
    const found = report.projects.flatMap(use);
    const told = report.projects.map(
      ({ project, projectId = project, streams, requests }) =>
        `project ${projectId}: ${streams.active} of ${streams.limit} streams, ${requests.lastMinute} of ${requests.perMinute} requests in the last minute`,
    );
    return combined(found) ?? ok(told.join('; ') || 'nothing is in use');
  },
};

function use({ project: number, projectId: project = number, streams, requests }: QuotaUse): Finding[] {
  const oldest = [...streams.holders].sort((a, b) => b.ageMs - a.ageMs)[0]?.sessions[0] ?? 'ID';
  const full = streams.active >= streams.limit;
  const held = `${streams.active} of ${streams.limit} streams of project ${project} are in use${streams.waiting > 0 ? `, ${streams.waiting} wait` : ''}`;
  const asked = `${requests.lastMinute} of ${requests.perMinute} requests a minute of project ${project} are used${requests.waiting > 0 ? `, ${requests.waiting} wait` : ''}`;
  const next = 'connect-gateway-proxy sessions';
  return [
    ...(full
      ? [fail(held, `connect-gateway-proxy sessions kill ${oldest}`, { code: 'streams-exhausted', goesOn: true })]
      : streams.active >= streams.limit * CLOSE
        ? [warn(held, next, { code: 'streams-close' })]
        : []),
    ...(requests.waiting > 0
      ? [
          fail(`${asked}${requests.refused > 0 ? `; Google has refused ${requests.refused}` : ''}`, next, {
            code: 'requests-wait',
            goesOn: true,
          }),
        ]
      : requests.lastMinute >= requests.perMinute * CLOSE
        ? [warn(asked, next, { code: 'requests-close' })]
        : []),
  ];
}
