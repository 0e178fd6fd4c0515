import { request } from 'node:https';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import type { DaemonRecord, State } from './state.js';

const DEADLINE_MS = 10_000;

/** What the hub of a running daemon answered. */
export interface HubAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Calls a running daemon's own API, trusting only this state folder's authority. Rejects with a CodedError
 * `daemon-not-running` where nobody, or somebody else, answers.
 */
export function callOwnHub(
  state: State,
  record: DaemonRecord,
  call: {
    path: string;
    method?: 'GET' | 'POST';
    credential?: boolean;
    /** The hub's own when absent; paths of a membership take the membership's. */
    token?: string;
    /** JSON. */
    body?: string;
    deadlineMs?: number;
  },
): Promise<HubAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(
        new CodedError({
          code: 'daemon-not-running',
          message: `no daemon answers at ${record.hubUrl} (${systemCode(error) ?? describeError(error)}); start it with connect-gateway-proxy run`,
          cause: error,
        }),
      );
    };
    const outgoing = request(
      record.hubUrl + call.path,
      {
        method: call.method ?? 'GET',
        ca: state.authorityCertificate(),
        agent: false,
        timeout: call.deadlineMs ?? DEADLINE_MS,
        headers: {
          ...(call.credential === false ? {} : { Authorization: `Bearer ${call.token ?? state.tokens.hub}` }),
          ...(call.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        },
      },
      (response) => {
        response.setEncoding('utf8');
        let body = '';
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.on('error', fail);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('it did not answer in time')));
    outgoing.on('error', fail);
    outgoing.end(call.body);
  });
}

/** Whether the daemon of the record is up and one of this state folder's. */
export async function ownHubAnswers(state: State, record: DaemonRecord | undefined): Promise<boolean> {
  if (record === undefined) return false;
  try {
    return (await callOwnHub(state, record, { path: '/-/livez', credential: false, deadlineMs: 2000 })).status === 200;
  } catch {
    return false;
  }
}
