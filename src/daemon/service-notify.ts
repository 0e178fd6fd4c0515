import { spawn } from 'node:child_process';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';

/** Tells the service manager how the daemon is. */
export interface ServiceNotifier {
  /** Begins the watchdog's beat as well. */
  ready(status: string): void;
  stopping(): void;
  /** No more beats. */
  close(): void;
}

/** How one notification leaves; rejects when it cannot. */
export type SendNotification = (fields: readonly string[]) => Promise<void>;

const SILENT: ServiceNotifier = { ready: () => {}, stopping: () => {}, close: () => {} };

/**
 * Speaks sd_notify where NOTIFY_SOCKET is set. Node has no Unix datagram sockets, so each message is a run of
 * `systemd-notify`, which waits until the manager has read it; the unit therefore says NotifyAccess=all.
 */
export function createServiceNotifier(o: {
  env: Readonly<Record<string, string | undefined>>;
  pid: number;
  clock: Clock;
  log: Logger;
  send?: SendNotification;
}): ServiceNotifier {
  if (!o.env['NOTIFY_SOCKET']) return SILENT;
  const send = o.send ?? ((fields) => runSystemdNotify(fields, o.env));
  let closed = false;
  let warned = false;
  let cancelBeat = (): void => {};
  // One after the other: systemd must not see READY=1 after STOPPING=1.
  let queue = Promise.resolve();
  const tell = (...fields: string[]): void => {
    queue = queue
      .then(() => send(fields))
      .catch((error: unknown) => {
        if (warned) return;
        warned = true;
        o.log.warn({}, `telling systemd ${fields[0]}: ${describeError(error)}`);
      });
  };
  const beatMs = watchdogMs(o.env, o.pid) / 2;
  const beat = (): void => {
    cancelBeat = o.clock.after(beatMs, () => {
      if (closed) return;
      tell('WATCHDOG=1');
      beat();
    });
  };
  return {
    ready: (status) => {
      tell('READY=1', `STATUS=${status}`);
      if (Number.isFinite(beatMs)) beat();
    },
    stopping: () => {
      tell('STOPPING=1');
    },
    close: () => {
      closed = true;
      cancelBeat();
    },
  };
}

/** Infinity without a watchdog, or with one for another process. */
function watchdogMs(env: Readonly<Record<string, string | undefined>>, pid: number): number {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: forPid } = env;
  if (forPid !== undefined && forPid !== String(pid)) return Number.POSITIVE_INFINITY;
  const ms = Number(usec) / 1000;
  return Number.isFinite(ms) && ms > 0 ? ms : Number.POSITIVE_INFINITY;
}

function runSystemdNotify(fields: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemd-notify', fields, { stdio: ['ignore', 'ignore', 'pipe'], env });
    let words = '';
    child.stderr.on('data', (chunk: Buffer) => {
      words = `${words}${chunk}`.slice(0, 1000);
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`systemd-notify ended with ${code}: ${words.trim()}`));
    });
  });
}
