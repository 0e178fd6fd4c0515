import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type CertificateOrder, type MadeCertificates, makeCertificates } from './certificates.js';

/** There is none in the single-file executable. */
const PROGRAM = new URL('../base/certificates-child.js', import.meta.url);
/** It takes a quarter of a second. */
const PATIENCE_MS = 20_000;

/**
 * As `makeCertificates`, in a process of its own: what the library takes (7 MiB of a daemon that has 72) goes with it,
 * where this process, and with a thread the most of it too, would hold it for good.
 */
export async function makeCertificatesApart(order: CertificateOrder, program = PROGRAM): Promise<MadeCertificates> {
  if (!existsSync(program)) return await makeCertificates(order);
  try {
    return await inProcess(fileURLToPath(program), order);
  } catch {
    // Where no process can be had it is done here; where the order is wrong, it says here why.
    return await makeCertificates(order);
  }
}

function inProcess(program: string, order: CertificateOrder): Promise<MadeCertificates> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [program],
      { timeout: PATIENCE_MS, windowsHide: true },
      (error, stdout) => {
        if (error !== null) reject(error);
        else resolve(JSON.parse(stdout) as MadeCertificates);
      },
    );
    // What it has left unread is told by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(JSON.stringify(order));
  });
}
