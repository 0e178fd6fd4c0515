import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import type { Clock } from '../../../src/base/clock.js';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { createPodRuntime } from '../../../src/emulator/pods/local-pod-runtime.js';
import type { ContainerSpec, ContainerStatus, PodRuntime, PodSpec } from '../../../src/emulator/pods/pod-runtime.js';

/** Time that passes only by `advance`. */
export class FakeClock implements Clock {
  #now = Date.UTC(2026, 10, 23, 20, 28, 25, 342);
  #timers: { at: number; fn: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = next.at;
      next.fn();
    }
    this.#now = until;
  }
}

export interface Bench {
  readonly rootDir: string;
  readonly runtime: PodRuntime;
  readonly port: number;
  /** Starts a pod of one container `main` and waits until it runs. */
  startPod(container?: Partial<ContainerSpec>, pod?: Partial<PodSpec>): Promise<string>;
  /** Resolves when the first container's status satisfies `test`. */
  until(uid: string, test: (status: ContainerStatus) => boolean): Promise<ContainerStatus>;
  url(uid: string, subresource: 'exec' | 'attach' | 'portforward', query?: Record<string, string | string[]>): string;
  /** Ends every upgraded connection as a fault does: through the signal. */
  cut(): void;
}

/** A pod runtime behind a real loopback server; all of it goes with the test. */
export async function createBench(t: Test, options: { clock?: Clock } = {}): Promise<Bench> {
  const rootDir = mkdtempSync(join(tmpdir(), 'cgp-pods-'));
  const runtime = createPodRuntime({
    rootDir,
    clock: options.clock ?? systemClock,
    log: silentLogger,
    env: { PATH: process.env.PATH ?? '' },
  });
  const cutter = new AbortController();
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((_request, response) => response.end());
  server.on('upgrade', (request, socket, head) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const url = new URL(request.url ?? '/', 'http://bench');
    const [, podUid = '', subresource = ''] = url.pathname.split('/');
    const container = url.searchParams.get('container');
    runtime.upgrade({
      request,
      socket,
      head,
      podUid,
      subresource: subresource as 'exec',
      ...(subresource === 'portforward' ? {} : { container: container ?? 'main' }),
      query: url.searchParams,
      signal: cutter.signal,
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await runtime.close();
    rmSync(rootDir, { recursive: true, force: true });
  });
  let count = 0;
  const bench: Bench = {
    rootDir,
    runtime,
    port,
    async startPod(container = {}, pod = {}) {
      const uid = `uid-${++count}`;
      runtime.start({
        uid,
        namespace: 'default',
        name: `pod-${count}`,
        restartPolicy: 'Always',
        containers: [{ name: 'main', image: 'hello', ...container }],
        ...pod,
      });
      await bench.until(uid, ({ state }) => state.kind === 'running');
      return uid;
    },
    until(uid, test) {
      return new Promise((resolve) => {
        const look = (): void => {
          const [status] = runtime.statuses(uid);
          if (status !== undefined && test(status)) resolve(status);
        };
        runtime.onChange(look);
        look();
      });
    },
    url(uid, subresource, query = {}) {
      const params = new URLSearchParams();
      for (const [name, value] of Object.entries(query)) for (const one of [value].flat()) params.append(name, one);
      return `ws://127.0.0.1:${port}/${uid}/${subresource}?${params}`;
    },
    cut: () => cutter.abort(),
  };
  return bench;
}

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Every message as it came. */
  readonly messages: readonly Buffer[];
  readonly status: Record<string, unknown> | undefined;
  readonly statusText: string;
  readonly code: number;
}

/** A client of exec or attach. */
export class RemoteClient {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  readonly result: Promise<ExecResult>;
  readonly #messages: Buffer[] = [];
  #watchers: (() => void)[] = [];

  constructor(url: string, protocols: string | string[] = 'v5.channel.k8s.io') {
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    this.opened.catch(() => {});
    this.socket.on('message', (data) => {
      this.#messages.push(data as Buffer);
      for (const watcher of this.#watchers) watcher();
    });
    this.result = new Promise((resolve) => {
      this.socket.once('close', (code) => {
        const statusText = this.channel(3).toString();
        let status: Record<string, unknown> | undefined;
        try {
          status = JSON.parse(statusText) as Record<string, unknown>;
        } catch {
          status = undefined;
        }
        resolve({
          stdout: this.channel(1),
          stderr: this.channel(2),
          messages: this.#messages,
          status,
          statusText,
          code,
        });
      });
    });
  }

  channel(number: number): Buffer {
    return Buffer.concat(
      this.#messages.filter((message) => message[0] === number).map((message) => message.subarray(1)),
    );
  }

  async send(channel: number, payload: Buffer | string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const message = Buffer.concat([Buffer.of(channel), Buffer.from(payload)]);
      this.socket.send(message, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
  }

  endStdin(): void {
    this.socket.send(Buffer.of(255, 0));
  }

  /** Resolves when stdout contains `text`. */
  async sees(text: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.channel(1).toString().includes(text)) resolve();
      };
      this.#watchers.push(look);
      look();
    });
  }
}

/** Sends an upgrade by hand and gives back the whole answer. */
export async function rawUpgrade(port: number, path: string, protocol: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
          `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
      );
    });
    const parts: Buffer[] = [];
    socket.on('data', (data) => {
      parts.push(data);
      if (Buffer.concat(parts).includes(' 101 ')) socket.destroy();
    });
    socket.on('close', () => resolve(Buffer.concat(parts).toString()));
    socket.on('error', reject);
  });
}
