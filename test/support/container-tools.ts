import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

/** What an image holds, as far as a holder or a test cares; each a PATH of its own. */
export type ToolSet = 'debian' | 'python' | 'script' | 'busybox' | 'bash' | 'none';

const FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'];

export function findProgram(name: string): string {
  // Not what stands first on a developer's PATH: a version manager's shim needs more than itself.
  const path = FOLDERS.map((folder) => join(folder, name)).find(existsSync);
  if (path === undefined) throw new Error(`no ${name} in ${FOLDERS.join(', ')}: .ci/run installs what tests need`);
  return path;
}

/** What every image of the Debian kind has. */
const COREUTILS = [
  ...['cat', 'chmod', 'cp', 'cut', 'date', 'dd', 'echo', 'env', 'expr', 'false', 'head', 'id', 'kill', 'ls', 'mkdir'],
  ...[
    'mkfifo',
    'mv',
    'nohup',
    'od',
    'printf',
    'pwd',
    'rm',
    'rmdir',
    'sed',
    'seq',
    'sha256sum',
    'sleep',
    'sort',
    'stat',
  ],
  ...['stty', 'tail', 'tee', 'test', 'touch', 'tr', 'true', 'tty', 'uname', 'wc', 'yes', 'grep', 'find', 'xargs', 'ps'],
  ...['bash', 'setsid', 'tar', 'awk', 'timeout'],
];
const SETS: Record<Exclude<ToolSet, 'busybox'>, { sh?: string; tools: readonly string[] }> = {
  debian: { sh: 'dash', tools: [...COREUTILS, 'perl', 'script'] },
  python: { sh: 'dash', tools: [...COREUTILS, 'python3'] },
  script: { sh: 'dash', tools: [...COREUTILS, 'script'] },
  // As images of the Red Hat kind have it.
  bash: { sh: 'bash', tools: [...COREUTILS, 'script'] },
  none: { tools: ['sleep', 'cat', 'env', 'echo'] },
};
const APPLETS = [
  ...COREUTILS.filter((name) => !['bash'].includes(name)),
  ...['sh', 'ash', 'vi', 'top', 'less', 'usleep'],
];

/** Makes a PATH with nothing on it but what such an image has, below `folder`. `extra` are programs of this machine. */
export function toolPath(folder: string, set: ToolSet, extra: readonly string[] = []): string {
  const path = join(folder, `tools-${set}`);
  if (existsSync(path)) return path;
  mkdirSync(path, { recursive: true });
  if (set === 'busybox') {
    for (const applet of APPLETS) symlinkSync(findProgram('busybox'), join(path, applet));
  } else {
    const { sh, tools } = SETS[set];
    if (sh !== undefined) symlinkSync(findProgram(sh), join(path, 'sh'));
    for (const tool of tools) symlinkSync(findProgram(tool), join(path, tool));
  }
  for (const tool of extra) if (!existsSync(join(path, tool))) symlinkSync(findProgram(tool), join(path, tool));
  return path;
}
