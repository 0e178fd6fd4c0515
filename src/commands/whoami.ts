import { CodedError } from '../base/errors.js';
import type { DaemonBeside } from './beside.js';
import { membershipByName } from './membership-by-name.js';

interface UserInfo {
  readonly username?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** Who the cluster says that a membership's clients are. Throws a CodedError with the cluster's own words. */
export async function whoami(daemon: DaemonBeside, o: { wanted: string; json: boolean }): Promise<string> {
  const membership = membershipByName(await daemon.memberships(), o.wanted);
  const { status, body } = await daemon.callMembership(
    membership,
    '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    { method: 'POST', body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }) },
  );
  const answer = parse(body);
  if (status !== 200 && status !== 201) {
    throw new CodedError({
      code: 'whoami-refused',
      message: `${membership.alias} did not say who we are: ${answer.message ?? `HTTP ${status}`}`,
    });
  }
  if (o.json) return `${JSON.stringify(answer, null, 2)}\n`;
  const { username = 'nobody', uid, groups = [], extra = {} } = answer.status?.userInfo ?? {};
  const rows = [
    ['membership', membership.alias],
    ['identity', `${membership.identity} (${membership.principal})`],
    ['username', username],
    ...(uid === undefined ? [] : [['uid', uid]]),
    ['groups', groups.length === 0 ? 'none' : groups.join(', ')],
    ...Object.entries(extra).map(([name, values]) => [name, values.join(', ')]),
  ];
  return rows.map(([name = '', text]) => `${name.padEnd(10)}  ${text}\n`).join('');
}

function parse(body: string): { message?: string; status?: { userInfo?: UserInfo } } {
  try {
    return JSON.parse(body) as ReturnType<typeof parse>;
  } catch {
    return {};
  }
}
