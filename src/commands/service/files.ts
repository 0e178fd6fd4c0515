import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { CodedError } from '../../base/errors.js';
import { writePrivateFile } from '../../daemon/files.js';
import type { Outcome, ServiceHost } from './host.js';
import type { RenderedFile } from './manager.js';

/** Answers what was done, or undefined where the file already says so. */
export function writeRendered(file: RenderedFile): string | undefined {
  const encoding = file.encoding ?? 'utf8';
  const content = file.encoding === undefined ? file.content : `\uFEFF${file.content.replaceAll('\n', '\r\n')}`;
  const existing = readIfThere(file.path, encoding);
  if (existing === content) return undefined;
  mkdirSync(dirname(file.path), { recursive: true });
  writePrivateFile(file.path, content, encoding);
  return `${existing === undefined ? 'wrote' : 'updated'} ${file.path}`;
}

/** Answers what was done, or nothing where the file is not there. */
export function removeFile(path: string): string[] {
  if (readIfThere(path) === undefined) return [];
  rmSync(path, { force: true });
  return [`removed ${path}`];
}

export function readIfThere(path: string, encoding: BufferEncoding = 'utf8'): string | undefined {
  try {
    return readFileSync(path, encoding);
  } catch {
    return undefined;
  }
}

/** Throws a CodedError `service-command-failed` with the command and its own words. */
export async function must(
  host: ServiceHost,
  command: string,
  args: readonly string[],
  input?: string,
): Promise<Outcome> {
  const outcome = await host.run(command, args, input);
  if (outcome.code === 0) return outcome;
  const words = (outcome.stderr.trim() || outcome.stdout.trim()).slice(0, 2000);
  throw new CodedError({
    code: 'service-command-failed',
    message: `${[command, ...args].join(' ')} failed (exit code ${outcome.code})${words === '' ? '' : `: ${words}`}`,
  });
}
