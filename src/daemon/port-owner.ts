import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LISTEN_STATE = '0A';

/** Who listens on a local TCP port, as `name (process 123)`. Undefined where the system does not say (only Linux does). */
export function portOwner(port: number, proc = '/proc'): string | undefined {
  try {
    const inode = socketInode(port, proc);
    if (inode === undefined) return undefined;
    for (const pid of readdirSync(proc)) {
      if (/^\d+$/.test(pid) && holds(`${proc}/${pid}/fd`, `socket:[${inode}]`)) {
        return `${readFileSync(`${proc}/${pid}/comm`, 'utf8').trim()} (process ${pid})`;
      }
    }
  } catch {
    // Not Linux, or /proc is hidden: the message then names the port alone.
  }
  return undefined;
}

function socketInode(port: number, proc: string): string | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readFileSync(`${proc}/net/${table}`, 'utf8').split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === LISTEN_STATE && local.endsWith(`:${hex}`)) return inode;
    }
  }
  return undefined;
}

function holds(folder: string, link: string): boolean {
  try {
    return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === link);
  } catch {
    return false;
  }
}
