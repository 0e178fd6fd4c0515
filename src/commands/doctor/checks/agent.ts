import { type Check, notChecked, ok } from '../check.js';
import { eachMembership } from '../each-membership.js';
import { troubleFor } from '../reach-trouble.js';

/** Is the Connect agent of a cluster outside Google Cloud connected? It is when the cluster answers. */
export const agent: Check = {
  id: 'agent',
  title: 'Connect agent',
  needs: ['iam', 'membership'],
  async run(context) {
    const reaches = await context.reaches();
    return await eachMembership(context, 'Connect agent', async ({ name, kind }) => {
      const answer = reaches.get(name);
      const lost = troubleFor('agent', answer);
      if (lost !== undefined) return lost;
      // An agent that may not act for somebody is connected: the cluster has said so.
      if (answer?.trouble === undefined || troubleFor('rbac', answer)) {
        return ok(kind === 'gke' ? 'a GKE cluster needs none' : 'connected');
      }
      return notChecked('the cluster was not reached; see round trip and quota');
    });
  },
};
