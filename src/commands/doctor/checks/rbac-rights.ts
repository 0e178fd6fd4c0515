import { deadline } from '../../../base/deadline.js';
import { mapLimited } from '../../../base/map-limited.js';
import { namedAccount } from '../../../daemon/account-names.js';
import type { ClusterAnswer } from '../../../daemon/cluster-way.js';
import { type AccessQuestion, accessReview, streamQuestions } from '../../../kubernetes/rbac-manifests.js';
import { minorOf } from '../../../kubernetes/version.js';
import { type Check, type Finding, fail, notChecked, ok } from '../check.js';
import type { Context } from '../context.js';
import { eachMembership, tooMany } from '../each-membership.js';
import type { Subject } from '../facts.js';
import { failureOf, troubleFor } from '../reach-trouble.js';
import { namespaceOf } from '../stream-namespace.js';
import { versionIn } from '../versions.js';

const ASK_MS = 10_000;
/** Each at the same time takes a connection of its own, twice. */
const ASKS_AT_ONCE = 3;

/** May the identity open streams in this cluster, and the Connect agent act for it? */
export const rbacRights: Check = {
  id: 'rbac',
  title: 'RBAC',
  needs: ['agent', 'version'],
  async run(context) {
    const reaches = await context.reaches();
    const limited = await tooMany(context);
    return await eachMembership(context, 'RBAC', async (subject) => {
      const answer = reaches.get(subject.name);
      const impersonation = troubleFor('rbac', answer);
      if (impersonation !== undefined) return forAlias(impersonation, subject);
      if (answer?.trouble !== undefined) return notChecked('the cluster was not reached; see round trip and quota');
      return limited ?? (await streams(context, subject, answer));
    });
  },
};

async function streams(context: Context, subject: Subject, answer: ClusterAnswer | undefined): Promise<Finding> {
  const { alias, policy, principal } = subject;
  if (policy !== 'full') return ok(`policy ${policy}: streams are not meant`);
  const namespace = await namespaceOf(context, subject);
  const way = await context.way(subject);
  const signal = deadline(context.io.clock, ASK_MS);
  const questions = streamQuestions({ namespace });
  const answers = await mapLimited(questions, ASKS_AT_ONCE, (question) =>
    way.ask('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body: accessReview(question), signal }),
  );
  const silent = answers.find(({ trouble, status }) => trouble !== undefined || status >= 300);
  if (silent !== undefined) return unasked(silent);
  const minor = minorOf(versionIn(answer) ?? subject.kubernetesVersion);
  const missing = questions.filter((question, index) => !isAllowed(answers[index]) && isAsked(question, minor));
  if (missing.length === 0) return ok(`exec, attach and port-forward in namespace ${namespace}`);
  const rights = missing.map(
    ({ verb, resource, subresource }) => `${verb} ${[resource, subresource].filter(Boolean).join('/')}`,
  );
  const who = namedAccount(principal) ?? 'EMAIL';
  return fail(
    `${principal} may not ${rights.join(', ')} in namespace ${namespace} (--namespace asks for another)`,
    `connect-gateway-proxy rbac --user ${who} --namespace ${namespace} --streams-only | kubectl --context ${alias} apply -f -`,
    { code: 'rbac-missing' },
  );
}

/** The review itself could not be made. */
function unasked({ trouble, status }: ClusterAnswer): Finding {
  if (trouble?.code === 'gateway-permission-denied') {
    return notChecked('to ask is a POST, for which gkehub.gateway.post is missing; see IAM');
  }
  return trouble === undefined
    ? notChecked(`the cluster does not say who may what (HTTP ${status})`)
    : failureOf(trouble);
}

function isAllowed(answer: ClusterAnswer | undefined): boolean {
  try {
    const { status } = JSON.parse(answer?.body ?? '') as { status?: { allowed?: boolean } };
    return status?.allowed === true;
  } catch {
    return false;
  }
}

/** Verbs that only newer clusters ask for. */
function isAsked({ since }: AccessQuestion, minor: number | undefined): boolean {
  return since === undefined || minor === undefined || minor >= (minorOf(since) ?? 0);
}

function forAlias(finding: Finding, { alias }: Subject): Finding {
  const { next } = finding;
  return next === undefined
    ? finding
    : { ...finding, next: next.replace('| kubectl apply', `| kubectl --context ${alias} apply`) };
}
