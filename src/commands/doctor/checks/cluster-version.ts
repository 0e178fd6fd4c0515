import { minorOf } from '../../../kubernetes/version.js';
import { type Check, fail, notChecked, ok } from '../check.js';
import { eachMembership } from '../each-membership.js';
import { EXEC_SINCE, PORT_FORWARD_SINCE, versionIn } from '../versions.js';

/** Is the cluster new enough for streams through the gateway? */
export const clusterVersion: Check = {
  id: 'version',
  title: 'cluster version',
  needs: ['membership', 'agent'],
  async run(context) {
    const reaches = await context.reaches();
    return await eachMembership(
      context,
      'cluster version',
      async ({ name, kubernetesVersion, policy, id, location, projectId, project }) => {
        const version = versionIn(reaches.get(name)) ?? kubernetesVersion;
        const minor = minorOf(version);
        if (version === undefined || minor === undefined)
          return notChecked('neither the fleet nor the cluster tells it');
        if (minor >= PORT_FORWARD_SINCE || policy !== 'full') return ok(version);
        const what =
          minor < EXEC_SINCE ? 'exec, attach and cp need 1.30, port-forward 1.31' : 'port-forward needs 1.31';
        return fail(
          `${version}: ${what}; all else works`,
          `gcloud container fleet memberships describe ${id} --location=${location} --project=${projectId ?? project}`,
          { code: 'cluster-too-old', goesOn: true },
        );
      },
    );
  },
};
