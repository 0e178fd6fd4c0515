import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Put in by the single-file build (`npm run build:sea`), which has no folder of its own to read from. */
declare const CGP_EMBEDDED_FILES: Readonly<Record<string, string>> | undefined;

/** Whether this is the single-file executable. */
export function isSingleFile(): boolean {
  return typeof CGP_EMBEDDED_FILES !== 'undefined';
}

/** The text of a file of the package, by its path from the package's folder. */
export function packageFile(path: string): string {
  if (typeof CGP_EMBEDDED_FILES !== 'undefined') {
    const text = CGP_EMBEDDED_FILES[path];
    if (text === undefined) throw new Error(`the executable was built without ${path}`);
    return text;
  }
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

/** How this very program is started again: node and the script, or the executable alone. */
export function ownCommand(): readonly string[] {
  if (isSingleFile()) return [process.execPath];
  return [process.execPath, fileURLToPath(new URL('../main.js', import.meta.url))];
}
