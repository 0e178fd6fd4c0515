import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { shortId } from '../base/short-id.js';

/** Created with its parents, for its owner only; an existing folder's mode is set right. */
export function ensurePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}

/** Readers see the old content or the new one, never a part; mode 0600. Follows a symbolic link instead of replacing it. */
export function writePrivateFile(path: string, content: string | Uint8Array, encoding: BufferEncoding = 'utf8'): void {
  const target = realTarget(path);
  const draft = `${target}.${shortId()}.tmp`;
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  try {
    const file = openSync(draft, 'wx', 0o600);
    try {
      writeFileSync(file, content, encoding);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function realTarget(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
