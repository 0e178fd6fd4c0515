import { CodedError } from '../base/errors.js';
import { isAlive } from '../daemon/instance-lock.js';
import { callOwnHub } from '../daemon/own-hub.js';
import type { DaemonRecord, State } from '../daemon/state.js';
import type { CommandIo } from './io.js';

/** Above the daemon's own 10 s for a drain. */
const PATIENCE_MS = 20_000;
const POLL_MS = 100;

/** Asks a daemon to drain and exit, and waits until it has. */
export async function stopDaemon(state: State, record: DaemonRecord, io: CommandIo): Promise<void> {
  const { status } = await callOwnHub(state, record, { path: '/-/shutdown', method: 'POST' });
  if (status !== 202) throw new CodedError({ code: 'stop-refused', message: `the daemon answered HTTP ${status}` });
  const deadline = io.clock.monotonic() + PATIENCE_MS;
  while (isAlive(record.pid) && state.readDaemon()?.pid === record.pid) {
    if (io.clock.monotonic() > deadline) {
      throw new CodedError({
        code: 'stop-slow',
        message: `process ${record.pid} is still draining after ${PATIENCE_MS / 1000}s; end it with kill ${record.pid}`,
      });
    }
    await io.pause(POLL_MS);
  }
}
