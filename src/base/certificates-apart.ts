import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type CertificateOrder, type MadeCertificates, makeCertificates } from './certificates.js';

/** Found from dist/chunks as from src/base. The single-file executable has none. */
const PROGRAM = new URL('../base/certificates-child.js', import.meta.url);
/** It takes a quarter of a second. */
const PATIENCE_MS = 20_000;

/**
 * As `makeCertificates`, in a process of its own: what the library takes (10 MiB of a daemon that has 72) goes with it,
 * where a daemon would hold it for good.
 */
export async function makeCertificatesApart(order: CertificateOrder, program = PROGRAM): Promise<MadeCertificates> {
  if (!existsSync(program)) return await makeCertificates(order);
  try {
    return JSON.parse(await answerOf(fileURLToPath(program), order)) as MadeCertificates;
  } catch {
    // Where no process can be had it is done here; where the order is wrong, it says here why.
    return await makeCertificates(order);
  }
}

function answerOf(program: string, order: CertificateOrder): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [program],
      { timeout: PATIENCE_MS, windowsHide: true },
      (error, stdout) => {
        if (error !== null) reject(error);
        else resolve(stdout);
      },
    );
    // What it has left unread is told by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(JSON.stringify(order));
  });
}
