import { deadline } from '../../../base/deadline.js';
import type { QuotaUse } from '../../../daemon/daemon.js';
import { minorOf } from '../../../kubernetes/version.js';
import { messageOf } from '../../message-of.js';
import { type Check, type Finding, fail, notChecked, ok } from '../check.js';
import type { Context } from '../context.js';
import { eachMembership, tooMany } from '../each-membership.js';
import type { Subject } from '../facts.js';
import { failureOf } from '../reach-trouble.js';
import { namespaceOf } from '../stream-namespace.js';
import { EXEC_SINCE, versionIn } from '../versions.js';

/** No pod is called so: that the cluster itself says so proves the way, and nothing runs anywhere. */
const NOBODY = 'connect-gateway-proxy-doctor-asks-for-no-pod';
const UPGRADE_MS = 12_000;

/** Does an exec get as far as the API server? */
export const execUpgrade: Check = {
  id: 'exec',
  title: 'exec upgrade',
  needs: ['rbac', 'version', 'quota', 'round-trip'],
  async run(context) {
    const limited = await tooMany(context);
    const reaches = await context.reaches();
    const full = await fullProjects(context);
    return await eachMembership(context, 'exec upgrade', async (subject) => {
      const { policy, project, kubernetesVersion, name } = subject;
      if (limited !== undefined) return limited;
      if (policy !== 'full') return notChecked(`policy ${policy}`);
      const answer = reaches.get(name);
      if (answer?.trouble !== undefined) return notChecked('needs a round trip');
      if ((minorOf(versionIn(answer) ?? kubernetesVersion) ?? EXEC_SINCE) < EXEC_SINCE) {
        return notChecked('needs Kubernetes 1.30');
      }
      if (full.includes(project)) return notChecked('needs a free stream; see quota');
      const held = await context.permissions(await context.projectOf(subject)).catch(() => undefined);
      if (held !== undefined && !held.includes('gkehub.gateway.stream')) {
        return notChecked('needs gkehub.gateway.stream; see IAM');
      }
      return await upgrade(context, subject);
    });
  },
};

/** Where a stream would wait for another to end. */
async function fullProjects(context: Context): Promise<string[]> {
  const report = await context.askDaemon<{ projects: QuotaUse[] }>('/-/quota');
  return (report?.projects ?? [])
    .filter(({ streams }) => streams.active >= streams.limit)
    .map(({ project }) => project);
}

async function upgrade(context: Context, subject: Subject): Promise<Finding> {
  const namespace = await namespaceOf(context, subject);
  const target = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${NOBODY}/exec?command=true&stdout=true`;
  const { status, body, ms, trouble } = await (await context.way(subject)).upgrade(target, {
    signal: deadline(context.io.clock, UPGRADE_MS),
  });
  const refusedThere = trouble === undefined || trouble.code === 'stream-refused-by-cluster';
  const notFound = status === 404 || /status=404|"?pods"? .*not found/i.test(trouble?.message ?? '');
  if (status === 101 || (refusedThere && notFound)) return ok(`the cluster answers it, ${ms} ms`);
  if (trouble !== undefined) return failureOf(trouble);
  return fail(
    `the cluster refuses it with HTTP ${status}: ${messageOf(body) ?? body.trim().slice(0, 200)}`,
    `connect-gateway-proxy rbac --check ${subject.alias} --namespace ${namespace}`,
    { code: `http-${status}` },
  );
}
