import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { WebSocket } from 'ws';
import type { Clock } from '../../src/base/clock.js';
import type { CutForm } from '../../src/emulator/google/faults.js';
import { type ToolSet, toolPath } from './container-tools.js';
import { DaemonClient } from './daemon-client.js';
import { type DemoDaemon, startDemoDaemon } from './demo-daemon.js';

/** A daemon and an emulator whose pods are named after the tools that their images hold. */
export class HeldScene {
  readonly folder: string;
  readonly daemon: DemoDaemon;
  client: DaemonClient;

  private constructor(folder: string, daemon: DemoDaemon) {
    this.folder = folder;
    this.daemon = daemon;
    this.client = new DaemonClient(daemon.kubeconfig, 'prod');
  }

  async restart(...how: Parameters<DemoDaemon['restart']>): Promise<void> {
    await this.daemon.restart(...how);
    this.client = new DaemonClient(this.daemon.kubeconfig, 'prod');
  }

  static async open(
    t: Test,
    sets: readonly ToolSet[],
    o: {
      folder?: string;
      flags?: Record<string, string>;
      /** The daemon's; the cluster has the system's. */
      clock?: Clock;
      /** Programs of this machine that are in every pod. */
      programs?: readonly string[];
      restartPolicy?: 'Always' | 'Never';
    } = {},
  ): Promise<HeldScene> {
    const folder = o.folder ?? mkdtempSync(join(tmpdir(), 'cgp-held-'));
    const daemon = await startDemoDaemon({
      folder,
      flags: { 'exec.onCutoff': 'survive', ...o.flags },
      ...(o.clock === undefined ? {} : { clock: o.clock }),
    });
    t.teardown(async () => {
      await daemon.close();
      // What ran in the pods may still be ending.
      if (o.folder === undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    });
    const scene = new HeldScene(folder, daemon);
    await Promise.all(sets.map((set) => scene.#create(set, o)));
    return scene;
  }

  async #create(
    set: ToolSet,
    { programs = [], restartPolicy = 'Never' }: { programs?: readonly string[]; restartPolicy?: 'Always' | 'Never' },
  ): Promise<void> {
    const path = toolPath(this.folder, set, ['sleep', ...programs]);
    const created = await this.client.request('/api/v1/namespaces/default/pods', {
      method: 'POST',
      body: {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: set },
        spec: {
          terminationGracePeriodSeconds: 0,
          restartPolicy,
          containers: [
            { name: 'main', image: 'x', command: ['sleep', '100000'], env: [{ name: 'PATH', value: path }] },
          ],
        },
      },
    });
    if (created.status !== 201) throw new Error(`no pod: ${created.body}`);
    await this.untilContainerRuns(set);
  }

  async untilContainerRuns(set: ToolSet): Promise<void> {
    for (;;) {
      const { body } = await this.client.request(`/api/v1/namespaces/default/pods/${set}`);
      if (JSON.parse(body).status?.containerStatuses?.[0]?.state?.running !== undefined) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  exec(set: ToolSet, command: readonly string[], o: { tty?: boolean; protocol?: string } = {}): ExecClient {
    const query = new URLSearchParams(command.map((word): [string, string] => ['command', word]));
    query.set('container', 'main');
    for (const flag of ['stdin', 'stdout', o.tty ? 'tty' : 'stderr']) query.set(flag, 'true');
    const target = `/api/v1/namespaces/default/pods/${set}/exec?${query}`;
    return new ExecClient(this.client.webSocket(target, o.protocol));
  }

  /** Ends the first process of every container, as the end of its node would. */
  endContainers(): void {
    for (const pid of this.#running('sleep', '100000')) process.kill(pid, 'SIGKILL');
  }

  /** Resolves once as many processes with this command line run in the containers. */
  async untilRunning(count: number, ...command: string[]): Promise<void> {
    while (this.#running(...command).length !== count) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  #running(...command: string[]): number[] {
    const wanted = `${command.join('\0')}\0`;
    const numbers = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return numbers.map(Number).filter((pid) => {
      try {
        const isOurs = readlinkSync(`/proc/${pid}/cwd`).startsWith(this.folder);
        return isOurs && readFileSync(`/proc/${pid}/cmdline`, 'latin1') === wanted;
      } catch {
        // It has ended, or is not ours to look at.
        return false;
      }
    });
  }

  cut(form: CutForm): number {
    return this.daemon.emulator.faults.cutNow(form, { match: 'upgrade' });
  }

  /** Folders of sessions in all the pods. */
  leftovers(): string[] {
    const pods = join(this.folder, 'emulator', 'prod');
    return readdirSync(pods)
      .flatMap((uid) => readdirSync(join(pods, uid)).map((container) => join(pods, uid, container, 'tmp')))
      .filter(existsSync)
      .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  }

  /** Folders may be left, but nothing in them. */
  async untilEmpty(): Promise<void> {
    const isEmpty = (folder: string): boolean => !existsSync(folder) || readdirSync(folder).length === 0;
    while (!this.leftovers().every(isEmpty)) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async untilClean(): Promise<void> {
    while (this.leftovers().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** An exec's client: what it has been sent, and how it ended. */
export class ExecClient {
  readonly webSocket: WebSocket;
  readonly closed: Promise<number>;
  readonly opened: Promise<unknown>;
  out = '';
  err = '';
  status: { status?: string; reason?: string; message?: string; details?: { causes?: { message?: string }[] } } = {};
  #wake = (): void => {};
  #over = false;

  constructor(webSocket: WebSocket) {
    this.webSocket = webSocket;
    this.opened = once(webSocket, 'open');
    this.opened.catch(() => {});
    this.closed = once(webSocket, 'close').then(([code]) => {
      this.#over = true;
      this.#wake();
      return code as number;
    });
    webSocket.on('message', (data) => {
      const message = data as Buffer;
      const text = message.toString('latin1', 1);
      if (message[0] === 1) this.out += text;
      else if (message[0] === 2) this.err += text;
      else if (message[0] === 3) this.status = JSON.parse(message.toString('utf8', 1));
      this.#wake();
    });
  }

  async type(text: string | Buffer): Promise<void> {
    await this.opened;
    this.webSocket.send(Buffer.concat([Buffer.of(0), Buffer.from(text as string, 'latin1')]));
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.opened;
    this.webSocket.send(Buffer.from(`\x04{"Width":${columns},"Height":${rows}}`));
  }

  async endInput(): Promise<void> {
    await this.opened;
    this.webSocket.send(Buffer.of(255, 0));
  }

  /** Resolves when `out` matches, or is as long as that. */
  async until(wanted: RegExp | number): Promise<void> {
    for (;;) {
      if (typeof wanted === 'number' ? this.out.length >= wanted : wanted.test(this.out)) return;
      if (this.#over)
        throw new Error(`ended without ${wanted}: ${this.out.slice(-200)} ${JSON.stringify(this.status)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** As kubectl would exit. */
  async exitCode(): Promise<number> {
    await this.closed;
    if (this.status.status === 'Success') return 0;
    return this.status.reason === 'NonZeroExitCode' ? Number(this.status.details?.causes?.[0]?.message) : 1;
  }
}
