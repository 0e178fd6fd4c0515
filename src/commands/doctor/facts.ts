import type { SettingsReport } from '../../daemon/daemon.js';
import { isAlive } from '../../daemon/instance-lock.js';
import { callOwnHub } from '../../daemon/own-hub.js';
import type { MembershipView } from '../../daemon/served-fleet.js';
import type { DaemonRecord, State } from '../../daemon/state.js';

const PROBE_MS = 3000;
const CALL_MS = 10_000;

/** A membership as the checks look at it: as the daemon tells of it, or as the fleet does where there is no daemon. */
export type Subject = Pick<
  MembershipView,
  | 'name'
  | 'alias'
  | 'project'
  | 'projectId'
  | 'location'
  | 'id'
  | 'kind'
  | 'state'
  | 'stale'
  | 'kubernetesVersion'
  | 'policy'
  | 'identity'
  | 'principal'
  | 'endpoint'
  | 'url'
  | 'problem'
  | 'tokenFailure'
>;

/** What is known of the daemon of a state folder. */
export type DaemonFacts =
  /** None is recorded; or the process that is has ended without a farewell. */
  | { readonly kind: 'absent'; readonly crashed?: DaemonRecord }
  /** Its process lives, and nobody answers with this state folder's certificate. */
  | { readonly kind: 'silent'; readonly record: DaemonRecord; readonly why: string }
  | {
      readonly kind: 'up';
      readonly record: DaemonRecord;
      readonly ready: boolean;
      /** What is in force; undefined for a daemon of another version that does not tell. */
      readonly report: SettingsReport | undefined;
      readonly memberships: readonly MembershipView[];
    };

/** Never rejects. */
export async function askDaemon(state: State | undefined): Promise<DaemonFacts> {
  const record = state?.readDaemon();
  if (state === undefined || record === undefined) return { kind: 'absent' };
  try {
    await callOwnHub(state, record, { path: '/-/livez', credential: false, deadlineMs: PROBE_MS });
  } catch (error) {
    if (!isAlive(record.pid)) return { kind: 'absent', crashed: record };
    return { kind: 'silent', record, why: error instanceof Error ? error.message : String(error) };
  }
  try {
    const [ready, report, memberships] = await Promise.all([
      callOwnHub(state, record, { path: '/-/readyz', credential: false, deadlineMs: PROBE_MS }),
      askJson<SettingsReport>(state, record, '/-/settings'),
      askJson<{ memberships: MembershipView[] }>(state, record, '/-/memberships'),
    ]);
    return {
      kind: 'up',
      record,
      ready: ready.status === 200,
      report,
      memberships: memberships?.memberships ?? [],
    };
  } catch (error) {
    return { kind: 'silent', record, why: error instanceof Error ? error.message : String(error) };
  }
}

/** Undefined for an answer that is not 200. */
export async function askJson<T>(state: State, record: DaemonRecord, path: string): Promise<T | undefined> {
  const { status, body } = await callOwnHub(state, record, { path, deadlineMs: CALL_MS });
  return status === 200 ? (JSON.parse(body) as T) : undefined;
}
