import { execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';

/** Every kubectl the product is judged by. 1.36 comes from Debian's sid suite, the others from the Cloud SDK. */
export const PLAIN_VERSIONS = ['1.27', '1.28', '1.29', '1.30'] as const;
export const STREAM_VERSIONS = ['1.31', '1.32', '1.33', '1.36'] as const;

/** The path of a kubectl of this minor version, or the reason why there is none. */
export function findKubectl(version: string): { path: string } | { missing: string } {
  const newest = process.env['CGP_TEST_NEWEST_KUBECTL'];
  const folder = cloudSdkFolder();
  const candidates = [
    ...(folder === undefined ? [] : [join(folder, `kubectl.${version}`)]),
    ...(newest ? [newest] : []),
    ...(process.env['PATH'] ?? '').split(':').map((part) => join(part, 'kubectl')),
  ];
  for (const path of candidates) if (isExecutable(path) && versionOf(path) === version) return { path };
  return {
    missing: `no kubectl ${version}: it is looked for beside gcloud (Google Cloud SDK), in CGP_TEST_NEWEST_KUBECTL and on PATH`,
  };
}

/** The newest kubectl at hand. */
export function findNewestKubectl(): { path: string; version: string } | { missing: string } {
  for (const version of [...PLAIN_VERSIONS, ...STREAM_VERSIONS].reverse()) {
    const found = findKubectl(version);
    if ('path' in found) return { path: found.path, version };
  }
  const path = (process.env['PATH'] ?? '')
    .split(':')
    .map((part) => join(part, 'kubectl'))
    .find(isExecutable);
  const version = path === undefined ? undefined : versionOf(path);
  if (path !== undefined && version !== undefined) return { path, version };
  return { missing: 'no kubectl found: install one, or the Google Cloud SDK' };
}

function cloudSdkFolder(): string | undefined {
  const gcloud = (process.env['PATH'] ?? '')
    .split(':')
    .map((part) => join(part, 'gcloud'))
    .find(isExecutable);
  return gcloud === undefined ? undefined : dirname(realpathSync(gcloud));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return existsSync(path);
  } catch {
    return false;
  }
}

const versions = new Map<string, string | undefined>();

function versionOf(path: string): string | undefined {
  if (!versions.has(path)) {
    try {
      const json = JSON.parse(
        execFileSync(path, ['version', '--client', '-o', 'json'], { encoding: 'utf8', stdio: 'pipe' }),
      );
      versions.set(path, `${json.clientVersion.major}.${String(json.clientVersion.minor).replace(/\D/g, '')}`);
    } catch {
      versions.set(path, undefined);
    }
  }
  return versions.get(path);
}

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One kubectl against one context, with caches of its own. Never inherits KUBECONFIG or a home folder's kubeconfig. */
export class Kubectl {
  readonly path: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #context: readonly string[];

  constructor(o: { path: string; kubeconfig: string; context?: string; home: string }) {
    this.path = o.path;
    this.#env = {
      PATH: '/usr/bin:/bin',
      HOME: o.home,
      KUBECONFIG: o.kubeconfig,
      KUBECACHEDIR: join(o.home, 'cache'),
      TERM: 'xterm',
    };
    this.#context = o.context === undefined ? [] : [`--context=${o.context}`];
  }

  get env(): NodeJS.ProcessEnv {
    return this.#env;
  }

  args(args: readonly string[]): string[] {
    return [...this.#context, ...args];
  }

  /** Runs to the end; never rejects for an exit code. */
  run(args: readonly string[], o: { input?: string | Buffer; timeoutMs?: number } = {}): Promise<KubectlResult> {
    return new Promise((resolve) => {
      const child = execFile(
        this.path,
        this.args(args),
        { env: this.#env, maxBuffer: 256 * 1024 * 1024, timeout: o.timeoutMs ?? 60_000, killSignal: 'SIGKILL' },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
          resolve({ code, stdout, stderr });
        },
      );
      child.stdin?.on('error', () => {});
      child.stdin?.end(o.input ?? '');
    });
  }

  /** A kubectl that goes on until it is stopped; its output is read with `until`. */
  start(args: readonly string[]): RunningKubectl {
    return new RunningKubectl(spawn(this.path, this.args(args), { env: this.#env, stdio: ['pipe', 'pipe', 'pipe'] }));
  }
}

export class RunningKubectl {
  readonly child: ReturnType<typeof spawn>;
  readonly exit: Promise<number>;
  readonly stderr: Promise<string>;
  stdout = '';
  #stderrSoFar = '';
  #waiting: (() => void)[] = [];
  #over = false;

  constructor(child: ReturnType<typeof spawn>) {
    this.child = child;
    this.stderr = child.stderr === null ? Promise.resolve('') : text(child.stderr);
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderrSoFar += chunk.toString('latin1');
      this.#wake();
    });
    child.stdin?.on('error', () => {});
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString('latin1');
      this.#wake();
    });
    this.exit = new Promise((resolve) =>
      child.on('close', (code) => {
        this.#over = true;
        this.#wake();
        resolve(code ?? 255);
      }),
    );
  }

  /** Resolves with the first match in standard output; rejects when the process ends without one. */
  until(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(pattern, () => this.stdout);
  }

  /** The same of standard error. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(pattern, () => this.#stderrSoFar);
  }

  async #until(pattern: RegExp, output: () => string): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(output());
      if (match !== null) return match;
      if (this.#over) throw new Error(`kubectl ended without ${pattern}: ${this.stdout}${await this.stderr}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number> {
    this.child.kill(signal);
    return this.exit;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
