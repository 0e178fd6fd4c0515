import { readFileSync, readlinkSync } from 'node:fs';
import { CodedError, describeError } from '../base/errors.js';

/** systemd's first file descriptor, SD_LISTEN_FDS_START. */
const FIRST_FD = 3;
const LISTEN_STATE = '0A';

/** A listening socket that the service manager holds for us, over our restarts. */
export interface InheritedSocket {
  readonly fd: number;
  readonly port: number;
  /** From LISTEN_FDNAMES. */
  readonly name: string;
}

/**
 * What systemd passes by LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; nothing where they are for another process. Node
 * cannot ask a descriptor for its address without accepting connections, /proc tells. Throws a CodedError
 * `socket-unusable`, also for a socket that others than this machine can reach.
 */
export function inheritedSockets(o: {
  env: Readonly<Record<string, string | undefined>>;
  pid: number;
  proc?: string;
}): InheritedSocket[] {
  const { LISTEN_PID: pid, LISTEN_FDS: fds, LISTEN_FDNAMES: fdNames } = o.env;
  const count = Number(fds);
  if (pid !== String(o.pid) || !Number.isInteger(count) || count <= 0) return [];
  const names = fdNames?.split(':') ?? [];
  const proc = o.proc ?? '/proc/self';
  try {
    const addresses = listeningAddresses(proc);
    return Array.from({ length: count }, (_, index) => {
      const fd = FIRST_FD + index;
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${proc}/fd/${fd}`))?.[1];
      const address = inode === undefined ? undefined : addresses.get(inode);
      if (address === undefined) throw unusable(fd, 'is no listening TCP socket');
      if (!address.loopback) throw unusable(fd, `listens on port ${address.port} of an address that is not loopback`);
      return { fd, port: address.port, name: names[index] ?? '' };
    });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw unusable(FIRST_FD, `cannot be looked at: ${describeError(error)}`, error);
  }
}

function unusable(fd: number, what: string, cause?: unknown): CodedError {
  return new CodedError({
    code: 'socket-unusable',
    message: `the inherited file descriptor ${fd} ${what}; write the socket unit anew with connect-gateway-proxy service install`,
    ...(cause === undefined ? {} : { cause }),
  });
}

function listeningAddresses(proc: string): Map<string, { port: number; loopback: boolean }> {
  const found = new Map<string, { port: number; loopback: boolean }>();
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readTable(`${proc}/net/${table}`).split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state !== LISTEN_STATE || inode === undefined) continue;
      const [address = '', port = ''] = local.split(':');
      found.set(inode, { port: Number.parseInt(port, 16), loopback: isLoopback(address) });
    }
  }
  return found;
}

/** There is no tcp6 where IPv6 is switched off. */
function readTable(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** As the kernel prints it: 32-bit words, each in the machine's byte order, which is little-endian wherever Node runs but s390x. */
function isLoopback(hex: string): boolean {
  const words = hex.match(/.{8}/g) ?? [];
  const last = words.at(-1) ?? '';
  const isV4 = /^(......7F|7F......)$/.test(last);
  if (words.length === 1) return isV4;
  const [first, second, third] = words;
  if (first !== '00000000' || second !== '00000000') return false;
  if (third === '00000000') return last === '01000000' || last === '00000001';
  return (third === 'FFFF0000' || third === '0000FFFF') && isV4;
}
