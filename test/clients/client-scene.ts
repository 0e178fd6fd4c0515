import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';

/** Streaming calls are cut this often, in another form each time, as long as a story is told. */
const CUT_AFTER_MS = 400;
const FORMS = ['reset', 'fin', 'clean-end'] as const;
const TOLD_WITHIN_MS = 90_000;

export interface ClientScene {
  readonly daemon: DemoDaemon;
  readonly folder: string;
  /** Watches and followed logs that have been cut so far. */
  cuts(): number;
  /** Lists of this resource that the gateway has seen. */
  lists(resource: string): number;
  end(): Promise<void>;
}

/** A daemon on the demo fleet whose gateway keeps cutting watches and followed logs. */
export async function openClientScene(): Promise<ClientScene> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-clients-'));
  const daemon = await startDemoDaemon({ folder });
  const { faults, requests } = daemon.emulator;
  let round = 0;
  let cuts = 0;
  const cutting = setInterval(() => {
    cuts += faults.cutNow(FORMS[round++ % FORMS.length] ?? 'reset', { match: 'watch' });
  }, CUT_AFTER_MS);
  return {
    daemon,
    folder,
    cuts: () => cuts,
    lists: (resource) =>
      requests.filter(
        ({ method, target }) =>
          method === 'GET' &&
          new RegExp(`/${resource}(?:\\?|$)`).test(target) &&
          !/[?&]watch=|\/v1\/watch\//.test(target),
      ).length,
    end: async () => {
      clearInterval(cutting);
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Runs a program to its end with the daemon's kubeconfig and nothing else of this environment. */
export function runStory(scene: ClientScene, command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        env: environment(scene),
        timeout: TOLD_WITHIN_MS,
        killSignal: 'SIGKILL',
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${command} ended with ${error.code ?? error.signal}: ${stderr}${stdout}`));
      },
    );
    child.stdin?.end();
  });
}

export interface FollowedStory {
  /** The whole lines so far. */
  lines(): string[];
  /** Looks again with every line; rejects when the program ends before. */
  until(done: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

/** A program that goes on until it is stopped. */
export function followStory(scene: ClientScene, command: string, args: readonly string[]): FollowedStory {
  const child = spawn(command, args, { env: environment(scene), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  const closed = once(child, 'close');
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString('utf8');
  });
  return {
    lines: () => output.split('\n').slice(0, -1),
    until: async (done) => {
      const ended = closed.then(() => true);
      while (!done()) {
        if (await Promise.race([ended, once(child.stdout, 'data').then(() => false)])) {
          if (done()) return;
          throw new Error(`${command} ended: ${errors}${output}`);
        }
      }
    },
    stop: async () => {
      child.kill();
      await closed;
    },
  };
}

function environment(scene: ClientScene): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', HOME: scene.folder, KUBECONFIG: scene.daemon.kubeconfig, LANG: 'C.UTF-8' };
}

/** True when a command ends well, such as the import of a library. */
export function works(command: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => execFile(command, args, (error) => resolve(error === null)));
}

/** What a client without a kubeconfig needs. */
export function plainAccess(scene: ClientScene): { server: string; token: string; caFile: string; ca: string } {
  const text = readFileSync(scene.daemon.kubeconfig, 'utf8');
  const { clusters, users } = parse(text) as {
    clusters: { name: string; cluster: { server: string; 'certificate-authority-data': string } }[];
    users: { name: string; user: { token: string } }[];
  };
  const cluster = clusters.find(({ name }) => name === 'prod')?.cluster;
  const user = users.find(({ name }) => name === 'prod')?.user;
  if (cluster === undefined || user === undefined) throw new Error(`no context prod in ${scene.daemon.kubeconfig}`);
  const ca = Buffer.from(cluster['certificate-authority-data'], 'base64').toString('utf8');
  return { server: cluster.server, token: user.token, ca, caFile: join(scene.folder, 'ca.pem') };
}

export const PODS = ['box', 'hello', 'hello', 'two'];
export const COUNTED = Array.from({ length: 31 }, (_item, number) => number);
