import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { systemCode } from '../../../base/errors.js';
import { isAlive } from '../../../daemon/instance-lock.js';
import { portOwner } from '../../../daemon/port-owner.js';
import { type Check, combined, type Finding, fail, notChecked, ok, warn } from '../check.js';
import type { Context } from '../context.js';

/** Can the daemon have its ports, or has it got them? */
export const port: Check = {
  id: 'port',
  title: 'port',
  needs: ['state'],
  async run(context) {
    const daemon = await context.daemon();
    const { settings } = await context.inForce();
    const { address } = settings.listen;
    if (daemon.kind === 'up') {
      const portless = (await context.memberships()).filter(({ url }) => url === undefined);
      if (portless.length === 0) return ok(`the daemon has ${daemon.record.hubUrl} and a port for each membership`);
      const [first] = portless;
      const others = portless.length === 1 ? '' : ` (and ${portless.length - 1} more)`;
      return fail(
        `${first?.alias} has no port of its own: ${first?.problem ?? 'it is being opened'}${others}`,
        'connect-gateway-proxy run --membership-ports 7600-7999',
        { code: 'port-taken', goesOn: true },
      );
    }
    if (daemon.kind === 'silent') return notChecked('its process is there and does not answer; see daemon');
    const wanted = [settings.listen.port, ...settings.memberships.flatMap(({ port: pinned = [] }) => pinned)];
    const tries = await Promise.all(
      wanted.filter((number) => number !== 0).map((number) => tryPort(number, { address, context })),
    );
    return combined(tries.flat()) ?? ok(`${address}:${settings.listen.port} is free`);
  },
};

async function tryPort(number: number, o: { address: string; context: Context }): Promise<Finding[]> {
  const { address, context } = o;
  const code = await listenOnce(number, address);
  const where = `${address}:${number}`;
  if (code === undefined) return [];
  if (code === 'EACCES') {
    return [
      fail(`${where} is not for ordinary users (EACCES)`, 'connect-gateway-proxy run --listen-port 7443', { code }),
    ];
  }
  if (code !== 'EADDRINUSE') {
    return [
      fail(`this machine cannot listen on ${where} (${code})`, 'connect-gateway-proxy run --listen-address 127.0.0.1', {
        code,
      }),
    ];
  }
  const owner = portOwner(number);
  const starting = lockHolder(context);
  if (starting !== undefined && owner?.includes(`(process ${starting})`)) {
    return [
      warn(
        `${where} is held by a daemon that is starting or stopping (process ${starting})`,
        'connect-gateway-proxy wait',
      ),
    ];
  }
  const installs = context.usableService() === undefined ? 'run' : 'service install';
  return [
    fail(
      `${where} is taken by ${owner ?? 'another program'}; stop it, or choose another port`,
      `connect-gateway-proxy ${installs} --listen-port ${number + 1}`,
      { code: 'port-taken' },
    ),
  ];
}

/** The system's word why not; undefined where it can be had. It is given back at once. */
function listenOnce(number: number, address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(systemCode(error) ?? 'unknown'));
    server.listen({ port: number, host: address, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function lockHolder(context: Context): number | undefined {
  try {
    const pid = Number(readFileSync(context.state()?.path('daemon.lock') ?? '', 'utf8'));
    return isAlive(pid) ? pid : undefined;
  } catch {
    return undefined;
  }
}
