import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import { callOwnHub, type HubAnswer } from '../daemon/own-hub.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import type { Settings } from '../daemon/settings.js';
import { type DaemonRecord, State } from '../daemon/state.js';
import type { CommandIo } from './io.js';
import { withProgress } from './progress.js';
import { settingsOf } from './settings-options.js';

/** A running daemon as a command beside it reaches it. */
export interface DaemonBeside {
  readonly settings: Settings;
  readonly state: State;
  readonly record: DaemonRecord;
  call(
    path: string,
    options?: { method?: 'GET' | 'POST'; credential?: boolean; deadlineMs?: number; waitingFor?: string },
  ): Promise<HubAnswer>;
  memberships(): Promise<MembershipView[]>;
  /** Asks the API server of a membership, as the membership's identity. */
  callMembership(
    membership: Pick<MembershipView, 'name'>,
    target: string,
    options?: { method?: 'GET' | 'POST'; body?: string },
  ): Promise<HubAnswer>;
}

/** The gateway's way to a cluster is longer than the one to the hub. */
const MEMBERSHIP_DEADLINE_MS = 60_000;

/** Throws a CodedError `daemon-not-running` where the state folder records none. */
export function daemonBeside(command: Command, io: CommandIo): DaemonBeside {
  const settings = settingsOf(command, io);
  const state = State.read(settings.stateDir);
  const record = state?.readDaemon();
  if (state === undefined || record === undefined) throw notRunning(settings);
  const call: DaemonBeside['call'] = (path, { waitingFor = 'the daemon', ...options } = {}) =>
    withProgress(io, `waiting for ${waitingFor}`, () => callOwnHub(state, record, { path, ...options }));
  return {
    settings,
    state,
    record,
    call,
    callMembership: ({ name }, target, options = {}) =>
      withProgress(io, 'waiting for the cluster', () =>
        callOwnHub(state, record, {
          path: `/v1/${name}${target}`,
          token: state.tokens.ofMembership(name),
          deadlineMs: MEMBERSHIP_DEADLINE_MS,
          ...options,
        }),
      ),
    memberships: async () => {
      const { status, body } = await call('/-/memberships');
      if (status !== 200) {
        throw new CodedError({
          code: 'daemon-refused',
          message: `the daemon answered HTTP ${status} to /-/memberships; restart it so that both have the same version`,
        });
      }
      return (JSON.parse(body) as { memberships: MembershipView[] }).memberships;
    },
  };
}

export function notRunning(settings: Settings): CodedError {
  return new CodedError({
    code: 'daemon-not-running',
    message: `no daemon runs with the state folder ${settings.stateDir}; start one with connect-gateway-proxy run (or demo), or name its folder with --state-dir`,
  });
}
