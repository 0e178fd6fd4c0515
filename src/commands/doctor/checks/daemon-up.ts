import { formatDuration } from '../../../daemon/duration.js';
import { type Check, fail, ok, warn } from '../check.js';

/** Is a daemon up and ready, and is it of this version? What Google and the clusters say can be asked without one. */
export const daemonUp: Check = {
  id: 'daemon',
  title: 'daemon',
  needs: ['state', 'port'],
  async run(context) {
    const { io } = context;
    const daemon = await context.daemon();
    const service = context.usableService();
    const start = service === undefined ? 'connect-gateway-proxy run' : 'connect-gateway-proxy service start';
    if (daemon.kind === 'absent') {
      const { crashed } = daemon;
      const message =
        crashed === undefined
          ? `no daemon runs with the state folder ${context.own().stateDir}`
          : `the last daemon (process ${crashed.pid}, version ${crashed.version}) ended without a farewell: it was killed, or the machine went down`;
      return fail(message, start, { code: 'daemon-not-running', goesOn: true });
    }
    const { record } = daemon;
    const restart =
      service === undefined
        ? 'connect-gateway-proxy stop && connect-gateway-proxy run'
        : 'connect-gateway-proxy service restart';
    if (daemon.kind === 'silent') {
      const message = `process ${record.pid} of the daemon lives, and nobody answers at ${record.hubUrl} as it would: ${daemon.why}`;
      return fail(message, service === undefined ? `kill ${record.pid}` : restart, {
        code: 'daemon-silent',
        goesOn: true,
      });
    }
    if (!daemon.ready) {
      return warn(`process ${record.pid} is up and not ready: it starts or stops`, 'connect-gateway-proxy wait');
    }
    if (record.version !== io.version) {
      return warn(`the daemon that runs is version ${record.version}, this command is ${io.version}`, restart);
    }
    return ok(
      `process ${record.pid}, version ${record.version}, up ${formatDuration(io.clock.now() - record.startedAt)}, ${record.hubUrl}`,
    );
  },
};
