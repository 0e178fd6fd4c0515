import { type Check, fail, notChecked, ok } from '../check.js';
import { eachMembership } from '../each-membership.js';
import { failureOf } from '../reach-trouble.js';

/** Does a request come back from the API server, by the way that a client's would take? */
export const roundTrip: Check = {
  id: 'round-trip',
  title: 'round trip',
  needs: ['agent', 'rbac', 'quota'],
  async run(context) {
    const reaches = await context.reaches();
    const { kind } = await context.daemon();
    const through = kind === 'up' ? '' : ', straight to the gateway';
    return await eachMembership(context, 'round trip', async ({ name, alias }) => {
      const answer = reaches.get(name);
      if (answer === undefined) return notChecked('it was not asked');
      const { trouble, status, ms } = answer;
      if (trouble !== undefined) return failureOf(trouble);
      // Refused by the cluster itself is a round trip too.
      if (status < 500) return ok(`${ms} ms${through}`);
      return fail(
        `the API server of ${alias} answers HTTP ${status}`,
        `kubectl --context ${alias} get --raw /readyz?verbose`,
        {
          code: `http-${status}`,
        },
      );
    });
  },
};
