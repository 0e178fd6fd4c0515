import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The newest there is on this machine. */
export function newestKubectl(): string | undefined {
  const given = process.env['CGP_TEST_NEWEST_KUBECTL'];
  if (given) return given;
  for (const command of ['gcloud', 'kubectl']) {
    try {
      const path = realpathSync(execFileSync('which', [command], { encoding: 'utf8' }).trim());
      if (command === 'kubectl') return path;
      const minor = [33, 32, 31].find((version) => {
        try {
          return realpathSync(join(dirname(path), `kubectl.1.${version}`));
        } catch {
          return false;
        }
      });
      if (minor !== undefined) return join(dirname(path), `kubectl.1.${minor}`);
    } catch {
      // Not on this machine: look for the next.
    }
  }
  return undefined;
}

/** The Cloud SDK's kubectl of this minor version, if it is there. */
export function findKubectl(version: string): string | undefined {
  try {
    const gcloud = realpathSync(execFileSync('which', ['gcloud'], { encoding: 'utf8' }).trim());
    return realpathSync(join(dirname(gcloud), `kubectl.${version}`));
  } catch {
    return undefined;
  }
}
