import { FRONT_ROWS } from './failure-front-rows.js';
import { type FailureRow, PROJECT_OWNER } from './failure-row.js';
import { WAY_ROWS } from './failure-way-rows.js';

export type { FailurePlace, FailureRow } from './failure-row.js';

/** Every way in which the gateway fails, the particular before the general. The last row matches everything. */
export const FAILURE_TABLE: readonly FailureRow[] = [...WAY_ROWS, ...FRONT_ROWS];

/** A trouble of Google's guide that is no answer to be translated: the client gets what the cluster says, or it cannot come up here. */
export interface UntranslatedTrouble {
  readonly code: string;
  readonly outcome: 'passes' | 'cannot-happen' | 'has-another-cause';
  /** Why there is nothing to translate. */
  readonly why: string;
  readonly who: string;
  readonly fix: string;
}

export const UNTRANSLATED: readonly UntranslatedTrouble[] = [
  {
    code: 'resource-type-missing',
    outcome: 'has-another-cause',
    why: 'kubectl says so when discovery has failed; the daemon answers discovery in the one form that kubectl shows, so that the true cause is read instead',
    who: 'whoever the cause names',
    fix: 'see what discovery is answered, with: kubectl get --raw /api',
  },
  {
    code: 'rbac-denied',
    outcome: 'passes',
    why: "the cluster's own Forbidden says the user, the verb and the resource, and is passed on byte for byte",
    who: "the cluster's administrator",
    fix: 'grant a role that allows it, for example with: kubectl create clusterrolebinding NAME --clusterrole=view --user=EMAIL',
  },
  {
    code: 'groups-or-third-party-rbac-denied',
    outcome: 'passes',
    why: "the cluster's own Forbidden names the user as the cluster knows it (a principal:// of workforce identity, or an e-mail whose groups are not resolved), and is passed on byte for byte",
    who: "the cluster's administrator",
    fix: 'grant a role to the name that the message says, and see which groups the cluster knows, with: kubectl auth whoami',
  },
  {
    code: 'plugin-missing',
    outcome: 'cannot-happen',
    why: "the daemon's kubeconfig carries a bearer token and no exec plugin, so that gke-gcloud-auth-plugin and the gcp auth provider are never looked for; a message about them comes from another kubeconfig entry",
    who: 'you',
    fix: "use the daemon's contexts, with: export KUBECONFIG=$(connect-gateway-proxy kubeconfig)",
  },
  {
    code: 'gcloud-too-old',
    outcome: 'cannot-happen',
    why: 'gcloud 399 and older writes endpoints that want a Connect agent; the daemon asks Google for the endpoint itself. An endpoint pinned by hand fails as gke-asked-for-agent',
    who: PROJECT_OWNER,
    fix: 'update gcloud where clusters are registered, with: gcloud components update',
  },
];
